"""Runs of leaves whose file is gone, of which some lie elsewhere too: sent whole, or said to be missing, and never cut off."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from contextlib import closing

import pytest

from wherry.block import named
from wherry.buffers import BufferPool
from wherry.cid import RAW
from wherry.outlet import CutShort, Outlet, Pump
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.lostfiles import LostFiles
from wherry.store.store import Store
from wherry.wire.frames import HEADER_BYTES, MISSING, RUN, plan

SIZE = 80 * 1024  # longer than what is gathered
LEAVES = [named(RAW, bytes([number]) * SIZE) for number in range(3)]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"".join(leaf.data for leaf in LEAVES))
    rows = [LeafRow(leaf.cid.digest, number * SIZE, SIZE) for number, leaf in enumerate(LEAVES)]
    with closing(Store(tmp_path, None)) as opened:
        opened.index.record([FileRecord(str(path), Signature.of(path.stat()), None, "c", rows)])
        yield opened


def sent(frames):
    """All that an outlet sends."""
    mine, other = socket.socketpair()
    got = bytearray()
    pool = BufferPool()
    with mine, other:
        mine.setblocking(False)
        outlet = Outlet(mine, frames, pool)
        try:
            while (state := outlet.pump(0)) is not Pump.DONE:
                if state is Pump.BUFFER:
                    outlet.buffer = pool.take()
                got += other.recv(1 << 20)
        finally:
            outlet.close()
        mine.shutdown(socket.SHUT_WR)
        while piece := other.recv(1 << 20):
            got += piece
    return bytes(got)


@pytest.mark.parametrize("elsewhere", [*itertools.chain(*(itertools.combinations(range(3), count) for count in range(4)))])
@pytest.mark.parametrize("gone", [False, True])
def test_a_run_is_whole_or_missing_wherever_its_blocks_lie(tmp_path, store, elsewhere, gone):
    store.nodes.put_many([LEAVES[number] for number in elsewhere])
    frames = plan(store.find([leaf.cid for leaf in LEAVES]), 1 << 24)
    assert len(frames) == 1
    if gone:
        os.unlink(tmp_path / "data")
    answer = sent(frames)
    assert len(answer) == len(frames[0].head) + frames[0].size  # as it was promised
    if gone and len(elsewhere) < 3:
        assert answer[0] == MISSING
    else:
        assert answer[0] == RUN
        assert answer[HEADER_BYTES + 4 * 3 :] == b"".join(leaf.data for leaf in LEAVES)


def failing(monkeypatch, at, problem):
    """Lets sendfile give the first ``at`` bytes of a run, and then fail: None is the end of the file."""
    real, start = os.sendfile, []

    def sendfile(out, fd, offset, count):
        start.append(offset)
        left = at - (offset - start[0])
        if left > 0:
            return real(out, fd, offset, min(count, left))
        if problem is None:
            return 0
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(os, "sendfile", sendfile)


def run(store, lost):
    held = store.find([leaf.cid for leaf in LEAVES])
    for one in held:
        one.lost = lost
    return plan(held, 1 << 24)


@pytest.mark.parametrize("at", [0, 1, SIZE - 1, SIZE, SIZE + 7, 3 * SIZE - 1])
@pytest.mark.parametrize("problem", [errno.EIO, errno.ESTALE, errno.EINVAL, None])
def test_what_the_kernel_cannot_send_is_read_block_by_block(store, monkeypatch, at, problem):
    """By a file system without sendfile, or a disk that gives it when it is asked again."""
    failing(monkeypatch, at, problem)
    assert sent(run(store, LostFiles()))[HEADER_BYTES + 4 * 3 :] == b"".join(leaf.data for leaf in LEAVES)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_cannot_be_read_on_is_told_and_ends_the_answer_unless_its_blocks_lie_elsewhere(
    tmp_path, store, monkeypatch, caplog, elsewhere
):
    real = os.preadv
    failing(monkeypatch, SIZE + 7, errno.EIO)

    def preadv(fd, buffers, offset):
        if offset // SIZE == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    if elsewhere:
        store.nodes.put_many(LEAVES)
    lost = LostFiles()
    frames = run(store, lost)
    if elsewhere:
        assert sent(frames)[HEADER_BYTES + 4 * 3 :] == b"".join(leaf.data for leaf in LEAVES)
    else:
        with pytest.raises(CutShort):
            sent(frames)
    assert lost.doubtful(str(tmp_path / "data"))
    (said,) = caplog.messages
    assert "cannot read" in said
    assert "Input/output error" in said
    monkeypatch.setattr(os, "sendfile", lambda *_: pytest.fail("what is in doubt is read before it is promised"))
    kinds = [sent([frame])[0] for frame in run(store, lost)]
    assert kinds == [RUN, RUN if elsewhere else MISSING, RUN]  # each alone


def test_a_peer_that_is_gone_is_no_fault_of_the_file(store, monkeypatch, caplog):
    failing(monkeypatch, 5, errno.EPIPE)
    with pytest.raises(BrokenPipeError):
        sent(run(store, LostFiles()))
    assert caplog.messages == []


def test_a_file_that_was_cut_while_it_was_sent_is_told(tmp_path, store, monkeypatch, caplog):
    real = os.sendfile

    def sendfile(out, fd, offset, count):
        got = real(out, fd, offset, min(count, 100))
        os.truncate(tmp_path / "data", 100)
        return got

    monkeypatch.setattr(os, "sendfile", sendfile)
    with pytest.raises(CutShort):
        sent(run(store, LostFiles()))
    assert "has changed since it was added" in caplog.messages[0]
