"""Files that appear when they are whole, and what killed runs leave beside them."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys

import pytest

from wherry.errors import LocalError, NoSpace, NotFound, TargetExists
from wherry.transfer import outfile


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_it_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "x"
    outfile.whole(lambda write: [write(b"a"), write(memoryview(b"b"))], str(place), force=False)
    assert place.read_bytes() == b"ab"

    def fails(write):
        write(b"part of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outfile.whole(fails, str(place), force=True)
    with pytest.raises(TargetExists):
        outfile.whole(fails, str(place), force=False)
    assert (os.listdir(tmp_path), place.read_bytes()) == (["x"], b"ab")
    with pytest.raises(NotFound):
        outfile.whole(fails, str(tmp_path / "absent" / "x"), force=False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetExists, match="is no file"):
        outfile.whole(lambda write: write(b"a"), str(tmp_path / "folder"), force=True)
    assert sorted(os.listdir(tmp_path)) == ["folder", "x"]


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path, gone, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left = f"x.part-{gone}"
    stay = [
        f"y.part-{gone}",
        f"x.part-{os.getppid()}",
        "x.part-1",
        "x.part-",
        "x.part-abc",
        f"x.part-{gone}.more",
        "x.part-007",
    ]
    for name in [left, *stay]:
        (tmp_path / name).write_bytes(b"")
    outfile.whole(lambda write: write(b"a"), "x", force=False)
    assert sorted(os.listdir(tmp_path)) == sorted([*stay, "x"])


def test_a_part_that_somebody_holds_or_that_is_no_file_stays(tmp_path, gone):
    part, place = tmp_path / f"x.part-{gone}", str(tmp_path / "x")
    with part.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outfile.remove_stale(place)
        assert part.exists()
    outfile.remove_stale(place)
    assert not part.exists()
    (tmp_path / "other").write_bytes(b"not to be touched")
    part.symlink_to(tmp_path / "other")
    outfile.remove_stale(place)
    assert part.is_symlink()
    part.unlink()
    part.mkdir()
    outfile.remove_stale(place)
    assert part.is_dir()


def test_an_own_part_of_a_process_with_the_same_number_is_no_obstacle(tmp_path):
    (tmp_path / f"x.part-{os.getpid()}").write_bytes(b"of one that had this number before")
    outfile.whole(lambda write: write(b"a"), str(tmp_path / "x"), force=False)
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_that_appeared_meanwhile_is_not_replaced_unless_forced(tmp_path):
    place = tmp_path / "x"

    def slow(write):
        write(b"mine")
        place.write_bytes(b"theirs")

    with pytest.raises(TargetExists):
        outfile.whole(slow, str(place), force=False)
    assert (os.listdir(tmp_path), place.read_bytes()) == (["x"], b"theirs")
    outfile.whole(slow, str(place), force=True)
    assert (os.listdir(tmp_path), place.read_bytes()) == (["x"], b"mine")


@pytest.mark.parametrize("force", [False, True])
def test_its_bytes_are_on_the_disk_before_it_has_its_name_and_then_the_name(tmp_path, monkeypatch, force):
    place, done = tmp_path / "x", []
    sync, replace, rename_new = os.fsync, os.replace, outfile.rename_new

    def syncing(fd):
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"{os.fstat(fd).st_size} bytes")
        sync(fd)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", lambda *names: done.append("name") or replace(*names))
    monkeypatch.setattr(outfile, "rename_new", lambda *names: done.append("name") or rename_new(*names))
    outfile.whole(lambda write: write(b"content"), str(place), force=force)
    assert done == ["7 bytes", "name", "folder"]


def test_a_folder_that_cannot_be_synced_is_what_is_said(tmp_path, monkeypatch):
    def fails(path):
        raise LocalError(f"cannot bring to disk {path!r}")

    monkeypatch.setattr(outfile, "sync_dir", fails)
    with pytest.raises(LocalError, match="bring to disk"):
        outfile.whole(lambda write: write(b"content"), str(tmp_path / "x"), force=False)
    assert (os.listdir(tmp_path), (tmp_path / "x").read_bytes()) == (["x"], b"content")


def test_what_is_no_file_is_replaced_by_nobody(tmp_path):
    place, calls = tmp_path / "x", []
    os.mkfifo(place)  # as a device is none, which only root could make
    with pytest.raises(TargetExists, match="is no file"):
        outfile.whole(calls.append, str(place), force=True)
    assert (calls, place.is_fifo(), os.listdir(tmp_path)) == ([], True, ["x"])


def test_a_full_disk_keeps_nothing_and_says_so():
    with open("/dev/full", "wb", buffering=0) as full:
        for path, named in (("x.car", "writing 'x.car': "), (None, "writing to standard output: ")):
            with pytest.raises(NoSpace) as caught:
                outfile.writing(full, path)(b"a")
            assert caught.value.message.startswith(named)
            assert "is kept" not in caught.value.hint
