"""Settling: what is verified, what is written, and what counts, whatever arrives."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path

import pytest

from wherry.abc.transport import Arrival, Laid
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import IntegrityError, NoSpace, Unwritable
from wherry.limits import PB_BYTES_MAX
from wherry.manifest import DIR, PLAIN, Attrs, Entry
from wherry.store.store import Store
from wherry.testing.faultydisk import FaultyDisk
from wherry.transfer.jobs import LeafJob, NodeJob
from wherry.transfer.record import Recorder
from wherry.transfer.sink import FileSink, Piece, Sink, Slot
from wherry.transfer.target import Target

MIB = 1 << 20


@pytest.fixture
def pool():
    return BufferPool(8 * MIB)


@pytest.fixture
def made(tmp_path):
    """A sink that writes, and what it writes to."""
    (tmp_path / "home").mkdir()
    store = Store(tmp_path / "home", None)
    target = Target(str(tmp_path / "target"), Entry("", DIR, CID.of(RAW, b""), 0, 1), {"cid": "x"})
    sink = FileSink(target, store, Recorder(store), direct=False, sync=True)
    yield sink, target
    sink.close()
    target.close()
    store.close()


def file_of(data, path="file", leaf=MIB, attrs=PLAIN, base=0):
    slot = Slot(path, CID.of(RAW, data), len(data), attrs, base, len(data))
    pieces = [Piece(slot, CID.of(RAW, data[at : at + leaf]), at, len(data[at : at + leaf])) for at in range(0, len(data), leaf)]
    return slot, pieces


def arrive(pool, job, chunks, at=ROOM, order=None):
    """Settles an arrival that has ``chunks`` (want, bytes) one behind the other."""
    buffer = pool.take()
    blocks = []
    for want, data in chunks:
        buffer.view[at : at + len(data)] = data
        blocks.append(Laid(want, at, at + len(data)))
        at += len(data)
    if order is not None:
        order.shuffle(blocks)
    arrival = Arrival(buffer, blocks)
    job.settle(arrival, "the peer")
    buffer.release()
    assert arrival.settled
    return arrival


def parts(data, leaf=MIB):
    return [data[at : at + leaf] for at in range(0, len(data), leaf)]


def read(target, name):
    with open(f"{target.part}/{name}", "rb") as file:
        return file.read()


def test_a_small_file_of_several_leaves_is_written_whole(made, pool):
    sink, target = made
    data = random.Random(1).randbytes(3 * MIB + 7)
    _, pieces = file_of(data, attrs=Attrs(executable=True))
    job = LeafJob(sink, pieces)
    arrive(pool, job, list(enumerate(parts(data))), order=random.Random(2))
    assert read(target, "file") == data
    assert os.stat(f"{target.part}/file").st_mode & 0o100
    assert (sink.done_bytes, job.rest(set())) == (len(data), (None, None))
    assert target.journal.position() > 0


def test_a_part_of_a_small_file_is_not_written(made, pool):
    sink, target = made
    data = random.Random(1).randbytes(3 * MIB)
    _, pieces = file_of(data)
    job = LeafJob(sink, pieces)
    arrive(pool, job, list(enumerate(parts(data)))[:2])
    assert sink.done_bytes == 0
    assert not os.path.exists(f"{target.part}/file")
    absent, left = job.rest({2})
    assert (left, len(absent.wants)) == (None, 3)  # one leaf that is missing makes all of it missing
    arrive(pool, job, list(enumerate(parts(data))))
    assert read(target, "file") == data


def test_bytes_that_are_not_the_block_are_rejected_and_the_others_count(made, pool):
    sink, target = made
    data = random.Random(1).randbytes(6 * MIB)
    slot, pieces = file_of(data)
    sink.begin(slot)
    job = LeafJob(sink, pieces)
    chunks = dict(enumerate(parts(data)))
    chunks[1] = b"\0" + chunks[1][1:]
    arrival = arrive(pool, job, [(want, chunks[want]) for want in (0, 1, 2)])
    assert [want for want, _ in arrival.rejected] == [1]
    assert isinstance(arrival.rejected[0][1], IntegrityError)
    assert "the peer" in str(arrival.rejected[0][1])
    assert sink.done_bytes == 2 * MIB
    _, left = job.rest(set())
    assert [piece.offset // MIB for piece in left.pieces] == [1, 3, 4, 5]
    arrive(pool, left, [(0, parts(data)[1]), (1, parts(data)[3])])
    _, left = left.rest(set())
    assert sink.done_files == 0
    arrive(pool, left, list(enumerate(parts(data)[4:])))
    assert sink.done_files == 1
    assert read(target, "file") == data
    assert slot.fd == -1


def test_a_block_of_another_length_is_rejected(made, pool):
    sink, _ = made
    data = b"x" * 100
    _, pieces = file_of(data)
    for wrong in (data[:-1], data + b"x", b""):
        job = LeafJob(sink, pieces)
        assert len(arrive(pool, job, [(0, wrong)]).rejected) == 1
        assert sink.done_bytes == 0


@pytest.mark.parametrize("size", [5000, 5 * MIB])
def test_what_arrives_twice_counts_once(made, pool, size):
    sink, target = made
    data = random.Random(1).randbytes(size)
    slot, pieces = file_of(data)
    if not slot.small:
        sink.begin(slot)
    job = LeafJob(sink, pieces[:4])
    first = list(enumerate(parts(data)))[:4]
    arrive(pool, job, [*first[:2], first[0]])
    arrive(pool, job, first)
    assert sink.done_bytes == min(size, 4 * MIB)
    if size > 4 * MIB:
        assert slot.left == MIB
        arrive(pool, LeafJob(sink, pieces[4:]), [(0, parts(data)[4])])
    assert read(target, "file") == data


def test_a_fault_of_this_machine_is_noted_not_raised(made, pool, monkeypatch):
    sink, _ = made
    data = b"x" * 100
    _, pieces = file_of(data)
    job = LeafJob(sink, pieces)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    arrival = arrive(pool, job, [(0, data)])
    assert isinstance(arrival.failure, NoSpace)
    assert sink.done_bytes == 0
    assert job.rest(set())[1] is not None


def test_a_file_that_is_left_unfinished_is_closed(made):
    sink, _ = made
    slots = [file_of(bytes(5 * MIB), f"file-{number}")[0] for number in range(3)]
    for slot in slots:
        sink.begin(slot)
        assert slot.fd >= 0
    sink.close()
    assert [slot.fd for slot in slots] == [-1] * 3


def test_an_empty_file_replaces_what_is_there(made):
    sink, target = made
    with open(f"{target.part}/file", "w") as file:
        file.write("left")
    sink.begin(file_of(b"")[0])
    assert read(target, "file") == b""
    assert sink.done_files == 1


def test_a_file_is_done_with_the_last_of_its_bytes(made, pool):
    for sink in (Sink(), made[0]):
        small, large = random.Random(1).randbytes(5000), random.Random(2).randbytes(5 * MIB)
        arrive(pool, LeafJob(sink, file_of(small, "small")[1]), [(0, small)])
        assert sink.done_files == 1
        slot, pieces = file_of(large)
        sink.begin(slot)
        arrive(pool, LeafJob(sink, pieces[:4]), list(enumerate(parts(large)))[:4])
        assert (sink.done_files, slot.left) == (1, MIB)
        sink.known(pieces[4])  # an earlier run wrote it
        assert sink.done_files == (1 if type(sink) is Sink else 2)


def test_nowhere_verifies_and_counts_all_the_same(pool):
    sink = Sink()
    data = random.Random(1).randbytes(2 * MIB)
    _, pieces = file_of(data)
    job = LeafJob(sink, pieces)
    assert len(arrive(pool, job, [(0, data[:MIB]), (1, bytes(MIB))]).rejected) == 1
    assert sink.done_bytes == 0
    arrive(pool, job, list(enumerate(parts(data))))
    assert sink.done_bytes == 2 * MIB


def test_nodes_are_hashed_and_bounded(pool):
    wants = [CID.of(0x71, b"one"), CID.of(0x71, b"two"), CID.of(0x71, bytes(PB_BYTES_MAX + 1))]

    async def job_of():
        return NodeJob(wants, asyncio.get_running_loop().create_future())

    job = asyncio.run(job_of())
    arrival = arrive(pool, job, [(0, b"0ne"), (1, b"two"), (2, bytes(PB_BYTES_MAX + 1))])
    assert [want for want, _ in arrival.rejected] == [0, 2]
    assert [block.data for block in job.found.values()] == [b"two"]
    assert job.rest({0}) == (job, None)
    assert job.rest(set()) == (None, job)
    arrive(pool, job, [(0, b"one")])
    assert job.rest(set()) == (None, None)


@pytest.mark.parametrize("fails", [False, True])
def test_a_long_file_counts_as_whole_when_it_is_on_the_disk(made, pool, fails):
    sink, target = made
    data = bytes(9 * MIB)
    slot, pieces = file_of(data)
    sink.begin(slot)
    with FaultyDisk(Path(target.part)) as disk:
        if fails:
            disk.fail("fdatasync", errno.EIO)
        arrivals = [arrive(pool, LeafJob(sink, [piece]), [(0, part)]) for piece, part in zip(pieces, parts(data), strict=True)]
        assert disk.calls["fdatasync"] == 1
    assert [isinstance(arrival.failure, Unwritable) for arrival in arrivals] == [False] * 8 + [fails]
    place = target.final("file")
    assert (sink._store.index.files([place])[place].cid == slot.cid) is not fails


def test_what_was_written_before_the_disk_was_full_is_journalled(made, pool):
    sink, target = made
    data = random.Random(1).randbytes(10 * MIB)
    slot, pieces = file_of(data)
    sink.begin(slot)
    job = LeafJob(sink, pieces)
    with FaultyDisk(Path(target.part)) as disk:
        disk.fail("pwrite", errno.ENOSPC, at=2)
        arrival = arrive(pool, job, [(0, parts(data)[0]), (5, parts(data)[5])])
    assert isinstance(arrival.failure, NoSpace)
    assert (sink.done_bytes, slot.left, list(job.done)) == (MIB, 9 * MIB, [1, *[0] * 9])
    target.close()
    again = Target(target.path, Entry("", DIR, CID.of(RAW, b""), 0, 1), {"cid": "x"})
    assert list(again.journal.done) == [(0, MIB)]
    again.close()


@pytest.mark.parametrize("what", ["small", "empty", "long", "small in place"])
def test_what_others_hold_of_a_file_is_not_written_into(made, pool, tmp_path, what):
    """A copy of hard links (`cp -al`), and who has it open."""
    sink, target = made
    held, place = tmp_path / "held", Path(target.part) / "file"
    data = random.Random(1).randbytes({"small": MIB, "empty": 0, "long": 10 * MIB}[what.split()[0]])
    old = data + b"more" if "in place" in what else b"old" * 1000
    held.write_bytes(old)
    os.link(held, place)
    held.chmod(0o600)
    before = held.stat()
    slot, pieces = file_of(data, attrs=Attrs(executable=True, mtime=(1, 0)))
    if not slot.small or not data:
        sink.begin(slot)
    if data:
        for number in range(0, len(pieces), 4):
            job = LeafJob(sink, pieces[number : number + 4], in_place="in place" in what)
            arrive(pool, job, list(enumerate(parts(data)[number : number + 4])))
    assert place.read_bytes() == data
    after = held.stat()
    assert held.read_bytes() == old
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)
