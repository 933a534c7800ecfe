"""The journal: what it keeps over kills, damage, reboots and strangers; and the set of bytes that it fills."""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import LocalError, NoSpace, TargetBusy, WherryError
from wherry.stretches import Stretches
from wherry.testing.faultydisk import FaultyDisk
from wherry.transfer.journal import Journal

WHO = {"cid": "bafy", "selection": ""}
RECORD = 20
pairs = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=40)


@given(pairs, st.integers(0, 240), st.integers(0, 40))
def test_stretches_are_a_set_of_bytes(added, start, length):
    stretches, bytes_in = Stretches(), set()
    for first, count in added:
        stretches.add(first, first + count)
        bytes_in.update(range(first, first + count))
    assert stretches.total == len(bytes_in)
    assert stretches.covers(start, start + length) == bytes_in.issuperset(range(start, start + length))
    gaps = list(zip(stretches._ends, stretches._starts[1:], strict=False))
    assert all(end < begin for end, begin in gaps)  # none touch: a million neighbours are one


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal")


def written(path, *records, rebooted=False):
    """A journal of a run that was killed: with these records, of this boot or another."""
    journal = Journal(path, WHO)
    journal.begin()
    for record in records:
        if record == "sync":
            journal.mark_synced(journal.position())
        else:
            journal.append([record])
    journal.close()
    if rebooted:
        reboot(path)


def reboot(path):
    """Makes the journal one of an earlier boot; its header keeps its length, for marks of syncs are positions."""
    line, rest = Path(path).read_bytes().split(b"\n", 1)
    header = json.loads(line)
    Path(path).write_bytes(json.dumps({**header, "boot": "x" * len(header["boot"])}).encode() + b"\n" + rest)


def opened(path, who=WHO):
    journal = Journal(path, who)
    journal.begin()
    journal.close()
    return journal


def test_what_was_recorded_is_there_after_a_kill(path):
    written(path, (0, 100), (300, 400), (100, 150))
    journal = opened(path)
    assert (journal.found, journal.intact, journal.done.total) == (True, True, 250)
    assert journal.done.covers(0, 150)
    assert not journal.done.covers(0, 151)
    again = opened(path)
    assert again.done.total == 250  # opening it changes nothing


def test_a_run_goes_on_behind_what_is_there(path):
    written(path, (0, 100))
    written(path, (100, 200))
    assert opened(path).done.total == 200


def test_a_record_of_nothing_is_none(path):
    written(path, (7, 7), (0, 1))
    assert opened(path).done.total == 1


@pytest.mark.parametrize("cut", range(1, 2 * RECORD + 1, 6))
def test_a_journal_that_is_cut_off_keeps_what_stands_before(path, cut):
    written(path, (0, 100), (100, 200), (200, 300))
    os.truncate(path, os.path.getsize(path) - cut)
    journal = opened(path)
    assert journal.done.total == 300 - 100 * -(-cut // RECORD)
    assert journal.intact == (cut % RECORD == 0)
    written(path, (500, 600))  # and what is written behind it is read
    assert opened(path).done.covers(500, 600)


@pytest.mark.parametrize("place", range(0, 3 * RECORD, 7))
def test_a_flipped_bit_ends_what_is_taken(path, place):
    written(path, (0, 100), (100, 200), (200, 300))
    data = bytearray(Path(path).read_bytes())
    data[len(data) - 3 * RECORD + place] ^= 4
    Path(path).write_bytes(data)
    journal = opened(path)
    assert journal.done.total == place // RECORD * 100
    assert not journal.intact


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'"text"\n',
        b"[" * 4000 + b"\n",
        b"{" * 100_000,
        b"\xff\xfe\0\n" * 1000,
        b'{"wherry": "journal/2", "cid": "bafy", "selection": ""}\n',
        b'{"wherry": "journal/1", "cid": "bafy"}\n',
        b'{"wherry": "journal/1", "cid": "other", "selection": ""}\n',
        b'{"wherry": "journal/1", "cid": ["bafy"], "selection": 0}\n',
    ],
)
def test_a_journal_of_something_else_is_no_journal(path, data):
    record = struct.pack(">QQ", 0, 100)
    Path(path).write_bytes(data + record + zlib.crc32(record).to_bytes(4, "big"))
    journal = opened(path)
    assert (journal.found, journal.intact, journal.done.total) == (False, False, 0)
    written(path, (0, 5))
    assert opened(path).done.total == 5


def test_records_that_overflow_are_not_taken(path):
    written(path, (0, 100))
    for start, length in ((1 << 63, 5), (5, (1 << 64) - 1), ((1 << 62) - 1, 1)):
        record = struct.pack(">QQ", start, length)
        with open(path, "ab") as file:
            file.write(record + zlib.crc32(record).to_bytes(4, "big"))
        assert opened(path).done.total == 100


def test_after_a_reboot_only_what_was_synced_counts(path):
    written(path, (0, 100), (100, 200), "sync", (200, 300), rebooted=True)
    journal = opened(path)
    assert (journal.found, journal.intact, journal.done.total) == (True, False, 200)
    assert opened(path).done.total == 200  # of this boot now
    written(path, (200, 300), rebooted=True)
    assert opened(path).done.total == 200  # the old mark still holds, and no more than it


def test_a_mark_counts_for_what_stood_before_the_sync_began(path):
    journal = Journal(path, WHO)
    journal.begin()
    journal.append([(0, 100)])
    position = journal.position()
    journal.append([(100, 200)])  # while the sync is under way
    journal.mark_synced(position)
    journal.close()
    reboot(path)
    assert opened(path).done.total == 100


def test_after_a_reboot_without_any_sync_nothing_counts(path):
    written(path, (0, 100), (100, 200), rebooted=True)
    assert opened(path).done.total == 0


def test_one_transfer_at_a_time(path):
    journal = Journal(path, WHO)
    with pytest.raises(TargetBusy) as found:
        Journal(path, WHO)
    assert found.value.exit_code == 9
    journal.close(remove=True)
    assert not os.path.exists(path)
    Journal(path, WHO).close()


def test_one_that_is_finished_between_open_and_lock_is_opened_anew(path, monkeypatch):
    """The other run removes its journal when we have it open: we must not lock, and fill, a file without a name."""
    import fcntl

    real, first = fcntl.flock, [True]

    def flock(fd, how):
        if first.pop() if first else False:
            os.unlink(path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    journal = Journal(path, WHO)
    assert os.path.exists(path)
    journal.close()


@pytest.mark.parametrize("there", ["directory", "link", "fifo"])
def test_what_is_no_file_is_an_error_of_wherrys(path, there):
    {"directory": os.mkdir, "link": lambda p: os.symlink("/etc/hostname", p), "fifo": os.mkfifo}[there](path)
    with pytest.raises((LocalError, WherryError)):
        Journal(path, WHO)


def test_a_full_disk_is_no_space(path, monkeypatch):
    journal = Journal(path, WHO)
    journal.begin()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:9]))
    with pytest.raises(NoSpace):
        journal.append([(0, 100)])
    monkeypatch.undo()
    journal.close()
    assert opened(path).done.total == 0


def test_threads_append_side_by_side(path):
    journal = Journal(path, WHO)
    journal.begin()

    def append(offset):
        for number in range(200):
            journal.append([(offset + 10 * number, offset + 10 * number + 10)])
            if number % 50 == 0:
                journal.mark_synced(journal.position())

    threads = [threading.Thread(target=append, args=(10_000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    again = opened(path)
    assert (again.intact, again.done.total) == (True, 4 * 2000)


def test_a_part_that_was_written_after_the_last_record_is_changed(path):
    written(path, (0, 100))
    journal = opened(path)
    last = os.stat(path).st_mtime_ns
    assert journal.unchanged(last)
    assert journal.unchanged(last - 10**12)
    assert not journal.unchanged(last + 5 * 10**9)


def test_forgetting_takes_nothing_as_done(path):
    written(path, (0, 100))
    journal = Journal(path, WHO)
    journal.forget()
    journal.begin()
    journal.close()
    assert journal.done.total == 0
    assert opened(path).done.total == 0


def test_a_mark_is_on_the_disk_when_the_call_returns(path):
    journal = Journal(path, WHO)
    journal.begin()
    journal.append([(0, 10)])
    with FaultyDisk(Path(path)) as disk:
        journal.mark_synced(journal.position())
        assert disk.calls["fdatasync"] == 1
        disk.fail("fdatasync", errno.EIO)
        with pytest.raises(LocalError, match="cannot bring the journal to disk"):
            journal.mark_synced(journal.position())
    journal.close()


def test_after_a_sync_that_failed_only_what_was_synced_before_counts(path):
    """The kernel goes on to show what it could not write, until it drops it: the same boot tells nothing then."""
    journal = Journal(path, WHO)
    journal.begin()
    journal.append([(0, 100)])
    journal.mark_synced(journal.position())
    journal.append([(100, 200)])
    journal.distrust()
    journal.append([(200, 300)])  # of a thread that was on its way
    journal.mark_synced(journal.position())  # and of a sync that was: it says nothing of what failed
    journal.close()
    again = opened(path)
    assert (again.found, again.intact, again.done.total) == (True, False, 100)
    written(path, (100, 200))
    assert (opened(path).intact, opened(path).done.total) == (True, 200)  # what came since counts as ever


def test_one_that_goes_on_can_be_distrusted_too(path):
    written(path, (0, 100), "sync", (100, 200))
    journal = Journal(path, WHO)
    journal.begin()
    journal.distrust()
    journal.close()
    assert opened(path).done.total == 100


@pytest.mark.parametrize("call", ["fdatasync", "pwrite", "unlink"])
def test_what_the_disk_refuses_is_said_in_words(path, call):
    journal = Journal(path, WHO)
    journal.begin()
    does = {
        "fdatasync": lambda: journal.mark_synced(0),
        "pwrite": journal.distrust,
        "unlink": lambda: journal.close(remove=True),
    }
    with FaultyDisk(Path(path).parent) as disk:
        disk.fail(call, errno.EIO)
        with pytest.raises(LocalError, match="the journal .*Input/output error"):
            does[call]()
    journal.close()
    Journal(path, WHO).close()  # it is free again


def test_one_that_somebody_cleared_away_need_not_be_removed(path):
    journal = Journal(path, WHO)
    os.unlink(path)
    journal.close(remove=True)
    assert not os.path.exists(path)
