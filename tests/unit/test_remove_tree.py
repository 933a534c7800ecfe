"""Trees that are removed: deep ones, wide ones, and such as change meanwhile. Nothing outside of them goes."""

from __future__ import annotations

import os
import resource
import tracemalloc

import pytest

from wherry import safetree
from wherry.safetree import SafeTree, remove_tree


def deep(path, levels, beside=("file", "link", "folder")):
    """Makes folders in folders, in each of which lies something else, too. Gives the innermost, open."""
    os.mkdir(path)
    at = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        if "file" in beside:
            os.close(os.open("a file", os.O_CREAT, dir_fd=at))
        if "link" in beside:
            os.symlink("../..", "a link", dir_fd=at)
        if "folder" in beside:
            os.mkdir("a folder", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    return at


@pytest.fixture
def few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("levels", [1, 15, 16, 17, 40, 3000])
def test_however_deep(tmp_path, few_descriptors, levels):
    os.close(deep(tmp_path / "deep", levels))
    before = os.listdir("/proc/self/fd")
    remove_tree(str(tmp_path / "deep"))
    assert (os.listdir(tmp_path), os.listdir("/proc/self/fd")) == ([], before)


def test_what_a_part_has_beyond_its_manifest_goes_however_deep(tmp_path):
    (tmp_path / "part/in").mkdir(parents=True)
    os.close(deep(tmp_path / "part/in/deep", 1200))
    with SafeTree(str(tmp_path / "part")) as tree:
        tree.clear("in/deep")
    assert os.listdir(tmp_path / "part/in") == []


def test_folders_with_many_names_take_no_memory(tmp_path):
    """As many as are held at once go at once: those of files one by one, those of folders so many at a time."""
    os.makedirs(tmp_path / "wide")
    at = os.open(tmp_path / "wide", os.O_RDONLY)
    for number in range(30_000):
        os.close(os.open(f"{number:0200}", os.O_CREAT, dir_fd=at))
    for number in range(9_000):
        os.mkdir(f"folder {number:0200}", dir_fd=at)
    os.close(at)
    tracemalloc.start()
    try:
        remove_tree(str(tmp_path / "wide"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert os.listdir(tmp_path) == []
    assert peak < 2_500_000  # the names alone are 9.7 MB


def test_the_deeper_it_is_the_fewer_names_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(safetree, "_NAMES_HELD", 8)
    for path in ("a", "b", "c"):
        for inner in range(9):
            for innermost in range(9):
                os.makedirs(tmp_path / f"tree/{path}/{inner}/{innermost}/x/y")
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_moved_out_meanwhile_leads_nowhere(tmp_path, monkeypatch):
    """What lies beside the place that it went to stays: the way up is the way that was come."""
    os.close(deep(tmp_path / "tree", 40, beside=()))
    (tmp_path / "else/inner").mkdir(parents=True)
    (tmp_path / "else/mine").write_text("stays")
    (tmp_path / "else/d").mkdir()
    middle, real, seen = str(tmp_path / "tree" / "/".join("d" * 20)), os.rmdir, []

    def rmdir(name, **options):
        real(name, **options)
        if not seen:
            os.rename(middle, tmp_path / "else/inner/d")
        seen.append(name)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(OSError, match="moved while it was removed"):
        remove_tree(str(tmp_path / "tree"))
    assert sorted(os.listdir(tmp_path / "else")) == ["d", "inner", "mine"]


def test_what_others_remove_meanwhile_is_fine(tmp_path, monkeypatch):
    os.close(deep(tmp_path / "tree", 40))
    real, left = os.scandir, [10]

    def scandir(at):
        left[0] -= 1
        if not left[0]:
            remove_tree(str(tmp_path / "tree"))
        return real(at)

    monkeypatch.setattr(os, "scandir", scandir)
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []


def test_names_that_a_system_passes_over_while_others_go_are_seen_again(tmp_path, monkeypatch):
    for name in "abcdef":
        (tmp_path / f"tree/{name}").mkdir(parents=True)
        (tmp_path / f"tree/{name}.txt").touch()

    class Skipping:
        """Passes over each second name."""

        def __init__(self, at):
            self._entries = real(at)

        def __enter__(self):
            return list(self._entries)[::2]

        def __exit__(self, *_):
            self._entries.close()

    real = os.scandir
    monkeypatch.setattr(os, "scandir", Skipping)
    remove_tree(str(tmp_path / "tree"))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_what_stays_though_it_is_said_to_be_gone_ends_it(tmp_path, monkeypatch):
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/file").touch()
    real = os.open

    def opening(path, flags, *rest, **options):
        if path == "d":
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, flags, *rest, **options)

    def gone(path, **_):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "unlink", gone)
    with pytest.raises(OSError, match="not empty"):
        remove_tree(str(tmp_path / "tree"))
