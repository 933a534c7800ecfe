"""What `scan` sees of a tree, and in which order."""

from __future__ import annotations

import errno
import os
import resource
import socket
import tempfile
from contextlib import closing
from functools import partial

import pytest

from wherry.errors import LimitExceeded, LocalError, NoSpace, SourceChanged, UnsafeName, UsageError
from wherry.limits import TREE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK
from wherry.transfer import scan as scan_module
from wherry.transfer.scan import Found, Left, Skipped, root_kind, scan


def seen(root, **options):
    with closing(scan(str(root), **options)) as items:
        return list(items)


def names(items):
    return [item.name for item in items if isinstance(item, Found)]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_names_come_in_the_order_of_their_bytes_with_directories_in_their_place(root):
    for name in ("b", "a.b", "a", "B", "ä", ".h", "日", "🚢", "a-"):
        (root / name).write_bytes(b"")
    (root / "a b").mkdir()
    (root / "a b/x").write_bytes(b"")
    found = seen(root)
    assert names(found) == [".h", "B", "a", "a b", "x", "a-", "a.b", "b", "ä", "日", "🚢"]
    assert isinstance(found[5], Left)
    top = [name for name in names(found) if name != "x"]
    assert top == sorted(top, key=str.encode)


def test_kinds(root):
    (root / "d").mkdir()
    (root / "f").write_bytes(b"")
    (root / "l").symlink_to("f")
    (root / "m").symlink_to("nowhere")
    (root / "n").symlink_to("d")  # not walked into
    kinds = {item.name: (item.kind, item.target) for item in seen(root) if isinstance(item, Found)}
    assert kinds == {"d": (DIR, ""), "f": (FILE, ""), "l": (LINK, "f"), "m": (LINK, "nowhere"), "n": (LINK, "d")}


def test_special_files_are_left_out(root):
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        found = seen(root)
    assert {item.path for item in found} == {f"{root}/fifo", f"{root}/socket"}
    assert all(isinstance(item, Skipped) for item in found)


def test_a_directory_can_be_left_out(root):
    (root / "home/inside").mkdir(parents=True)
    (root / "homework").mkdir()
    found = seen(root, leave_out=f"{root}/home")
    assert names(found) == ["homework"]
    assert isinstance(found[0], Skipped)


@pytest.mark.parametrize("count", [10, 11, 20, 21, 57])
def test_large_directories_are_sorted_in_runs(root, monkeypatch, count):
    monkeypatch.setattr(scan_module, "_RUN_NAMES", 10)
    wanted = sorted((f"{number * 7919 % 1000:03}-ß\n" for number in range(count)), key=str.encode)
    for name in wanted:
        (root / name).write_bytes(b"")
    (root / "sub").mkdir()
    (root / "sub/x").write_bytes(b"")
    assert names(seen(root)) == [*wanted, "sub", "x"]


@pytest.mark.parametrize("taken", [0, 1, 30])
def test_runs_on_disk_are_closed_however_the_scan_ends(root, monkeypatch, taken):
    """The check for leaks around each test counts descriptors; this one looks before anything is collected."""
    monkeypatch.setattr(scan_module, "_RUN_NAMES", 10)
    for number in range(40):
        (root / f"{number}").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    with closing(scan(str(root))) as items:
        for _ in range(taken):
            next(items)
        if taken:
            assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_of_more_names_than_a_run_holds(root):
    origin = root.parent / "origin"
    origin.write_bytes(b"")
    count = scan_module._RUN_NAMES + 5_000
    for number in range(count):
        if number % 50_000 == 0:  # file systems bound the links of one file (ext4: 65,000)
            origin = root.parent / f"origin-{number}"
            origin.write_bytes(b"")
        os.link(origin, root / f"{number * 7919 % count}")
    found = names(seen(root))
    assert len(found) == count
    assert found == sorted(found)


def test_a_name_that_is_not_utf_8_is_refused_by_its_path(root):
    with open(os.fsencode(root) + b"/ok-\xff", "wb"):
        pass
    with pytest.raises(UnsafeName, match="ok-") as caught:
        seen(root)
    assert str(root) in caught.value.message
    assert caught.value.exit_code == 5


def test_a_target_that_is_not_utf_8_is_refused(root):
    os.symlink(b"\xff", os.fsencode(root) + b"/l")
    with pytest.raises(UnsafeName, match="target is not UTF-8"):
        seen(root)


def test_directories_nest_no_deeper_than_a_manifest_may(root):
    deepest = root / "/".join(["d"] * (TREE_DEPTH_MAX - 1))
    deepest.mkdir(parents=True)
    assert len(names(seen(root))) == TREE_DEPTH_MAX - 1
    (deepest / "d").mkdir()
    with pytest.raises(LimitExceeded, match="nested"):
        seen(root)


def test_of_a_tree_that_is_too_deep_the_place_is_shown_and_what_to_do(root):
    (root / "/".join(["d"] * (TREE_DEPTH_MAX - 1)) / "the-last").mkdir(parents=True)
    with pytest.raises(LimitExceeded) as caught:
        seen(root)
    assert "/d/d/the-last': directories are nested" in caught.value.message
    assert len(caught.value.message) < 300
    assert "archive" in caught.value.hint


def test_a_directory_that_cannot_be_read(root, monkeypatch):
    (root / "closed").mkdir()
    real = os.scandir

    def scandir(path):
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(LocalError, match="closed.*Permission denied"):
        seen(root)


def test_a_directory_that_vanishes_is_a_source_that_changed(root):
    (root / "a").mkdir()
    items = scan(str(root))
    assert next(items).name == "a"  # listed when the scan goes on
    (root / "a").rmdir()
    with pytest.raises(SourceChanged, match="vanished"):
        next(items)


def test_what_can_be_added(root, tmp_path):
    (root / "f").write_bytes(b"")
    (root / "to-dir").symlink_to(".")
    os.mkfifo(tmp_path / "fifo")
    assert root_kind(str(root)) == DIR
    assert root_kind(str(root / "f")) == FILE
    assert root_kind(str(root / "to-dir")) == DIR
    with pytest.raises(UsageError):
        root_kind(str(tmp_path / "fifo"))
    with pytest.raises(UnsafeName, match=r"cannot add '/nowhere/\\xff': it is not UTF-8"):
        root_kind("/nowhere/\udcff")


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.ENOENT, LocalError), (errno.EACCES, LocalError)])
def test_a_large_directory_that_cannot_be_sorted_is_not_called_unreadable(root, monkeypatch, number, kind):
    monkeypatch.setattr(scan_module, "_RUN_NAMES", 10)
    for name in range(30):
        (root / str(name)).write_bytes(b"")

    def full(*given, **named):
        raise OSError(number, "no usable place")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(LocalError, match="cannot sort the names in .*root.*no usable place") as caught:
        seen(root)
    assert type(caught.value) is kind
    assert "TMPDIR" in caught.value.hint


def test_a_disk_that_is_full_of_names_is_said(root, monkeypatch):
    monkeypatch.setattr(scan_module, "_RUN_NAMES", 10)
    for name in range(30):
        (root / str(name)).write_bytes(b"")
    full = partial(open, "/dev/full", "w", encoding="ascii")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: full())
    with pytest.raises(NoSpace, match="cannot sort the names in .*root.*No space left"):
        seen(root)


def test_more_runs_than_files_may_be_open_say_which_limit_to_raise(root, monkeypatch):
    monkeypatch.setattr(scan_module, "_RUN_NAMES", 2)
    for name in range(400):
        (root / str(name)).write_bytes(b"")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir("/proc/self/fd")}
    free = [number for number in range(2 * len(used) + 20) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[20], hard))
    try:
        with pytest.raises(LocalError, match="cannot sort .*open files") as caught:
            seen(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in caught.value.hint
