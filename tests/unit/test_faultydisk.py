"""The disk that fails: where it is told to, how it is told to, and nowhere else."""

from __future__ import annotations

import errno
import os

import pytest

from wherry.testing.faultydisk import FaultyDisk, small_disk


def write(path, *parts):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for part in parts:
            os.write(descriptor, part)
    finally:
        os.close(descriptor)


def test_the_call_that_was_named_fails_once(tmp_path):
    with FaultyDisk(tmp_path) as disk:
        disk.fail("write", errno.ENOSPC, at=2)
        with pytest.raises(OSError, match="space") as caught:
            write(tmp_path / "a", b"one", b"two", b"three")
        assert caught.value.errno == errno.ENOSPC
        assert (tmp_path / "a").read_bytes() == b"one"
        write(tmp_path / "a", b"one", b"two")
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert (disk.calls["write"], disk.failed) == (4, 1)


def test_a_torn_write_leaves_half(tmp_path):
    with FaultyDisk(tmp_path) as disk:
        disk.fail("write", errno.EIO, torn=True)
        with pytest.raises(OSError):
            write(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"01234"


def test_several_times_and_for_good_until_it_heals(tmp_path):
    with FaultyDisk(tmp_path) as disk:
        disk.fail("mkdir", errno.EROFS, times=2)
        for _ in range(2):
            with pytest.raises(OSError):
                os.mkdir(tmp_path / "d")
        os.mkdir(tmp_path / "d")
        disk.fail("rmdir", errno.EIO, times=None)
        for _ in range(3):
            with pytest.raises(OSError):
                (tmp_path / "d").rmdir()
        disk.heal()
        (tmp_path / "d").rmdir()


def test_other_places_are_as_they_were(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "mine2"
    mine.mkdir()
    other.mkdir()
    folder = os.open(mine, os.O_RDONLY)
    with FaultyDisk(mine) as disk:
        for call in ("open", "write", "stat", "unlink"):
            disk.fail(call, errno.EIO, times=None)
        write(other / "a", b"x")
        assert os.stat(other / "a").st_size == 1
        os.unlink(other / "a")
        with pytest.raises(OSError):
            os.open("a", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
        with pytest.raises(OSError):
            os.stat(f"{other}/../mine/a")
        os.fstat(folder)
    os.close(folder)


def test_afterwards_the_module_is_as_it_was(tmp_path):
    before = {name: getattr(os, name) for name in dir(os)}
    with FaultyDisk(tmp_path), pytest.raises(ZeroDivisionError):
        _ = 1 / 0
    assert {name: getattr(os, name) for name in dir(os)} == before


def test_a_call_that_it_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="chmod"):
        FaultyDisk(tmp_path).fail("chmod", errno.EIO)


def test_a_small_disk_is_full_soon(tmp_path):
    with small_disk(tmp_path / "disk", 256 << 10) as folder:
        with pytest.raises(OSError) as caught:
            (folder / "large").write_bytes(bytes(1 << 20))
        assert caught.value.errno == errno.ENOSPC
    assert list((tmp_path / "disk").iterdir()) == []
