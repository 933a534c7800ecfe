"""SafeTree: nothing it is asked for leads out of its directory, with the kernel's help and without."""

from __future__ import annotations

import os
import stat

import pytest

from wherry.errors import LocalError, WherryError
from wherry.safetree import SafeTree, exchange, rename_new, sync_dir


@pytest.fixture(params=["kernel", "walk"])
def tree(request, tmp_path):
    """A tree with links that lead out, opened both ways."""
    root = tmp_path / "root"
    (root / "dir/deep").mkdir(parents=True)
    (root / "dir/file").write_bytes(b"file")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (root / "to-file").symlink_to(tmp_path / "secret")
    (root / "to-dir").symlink_to(tmp_path / "outside")
    (root / "up").symlink_to("..")
    (root / "inner").symlink_to("dir")
    with SafeTree(str(root)) as opened:
        if request.param == "walk":
            opened._libc = None
        yield opened


def test_it_opens_what_is_beneath(tree):
    fd = tree.open("dir/deep/new", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x")
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert os.path.getsize(f"{tree.path}/dir/deep/new") == 1


@pytest.mark.parametrize("path", ["to-file", "to-dir/new", "up/secret", "inner/file", "up/root/dir/file", "dir/file/x"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC])
def test_it_opens_nothing_through_a_link(tree, path, flags, tmp_path):
    with pytest.raises(OSError):
        tree.open(path, flags)
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert os.listdir(tmp_path / "outside") == []


def test_the_kernel_keeps_dots_and_absolute_paths_beneath(tree):
    if not tree.beneath():
        return  # names are checked before; only the kernel checks them again
    for path in ("../secret", "dir/../../secret", "/etc/passwd"):
        with pytest.raises(OSError):
            tree.open(path, os.O_RDONLY)


def test_directories(tree, tmp_path):
    tree.make_dir("new")
    tree.make_dir("new/inner")
    tree.make_dir("new/inner")
    for path in ("to-dir", "to-dir/x", "up/x", "dir/file", "missing/x"):
        with pytest.raises(WherryError):
            tree.make_dir(path)
    assert os.listdir(tmp_path / "outside") == []
    assert not (tmp_path / "x").exists()


def test_links(tree, tmp_path):
    tree.make_link("dir/link", "file")
    tree.make_link("dir/link", "file")
    assert os.readlink(f"{tree.path}/dir/link") == "file"
    tree.make_link("dir/link", "other")
    assert os.readlink(f"{tree.path}/dir/link") == "other"
    with pytest.raises(WherryError):
        tree.make_link("to-dir/x", "y")
    with pytest.raises(LocalError):
        tree.make_link("dir/file", "y")
    assert os.listdir(tmp_path / "outside") == []


def test_clearing_removes_what_is_of_another_kind_and_never_through_a_link(tree, tmp_path):
    (tmp_path / "outside/kept").write_bytes(b"x")
    tree.clear("dir/file", stat.S_IFREG)
    tree.clear("dir", stat.S_IFDIR)
    assert os.path.exists(f"{tree.path}/dir/file")
    tree.clear("to-dir")
    tree.clear("to-file", stat.S_IFREG)
    tree.clear("dir", stat.S_IFREG)
    tree.clear("missing")
    tree.clear("missing/deeper")
    assert sorted(os.listdir(tree.path)) == ["inner", "up"]
    with pytest.raises(WherryError):
        tree.clear("up/secret")
    assert os.listdir(tmp_path / "outside") == ["kept"]
    assert (tmp_path / "secret").exists()


def test_listing(tree):
    assert sorted(tree.names("dir")) == ["deep", "file"]
    assert "dir" in tree.names("")
    with pytest.raises(WherryError):
        tree.names("to-dir")


def test_no_descriptor_is_left_after_errors(tree):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("to-dir/x/y", "dir/file/x", "missing/x/y"):
        with pytest.raises(OSError):
            tree.open(path, os.O_RDONLY)
        with pytest.raises(WherryError):
            tree.make_dir(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tree_is_a_directory_and_no_link(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(".")
    for name in ("file", "link", "missing"):
        with pytest.raises(WherryError):
            SafeTree(str(tmp_path / name))


@pytest.mark.parametrize("way", ["kernel", "walk"])
def test_only_the_way_that_was_given_is_followed(tree, tmp_path, way):
    (tmp_path / "way").symlink_to("root")
    with SafeTree(str(tmp_path / "way"), follow=True) as opened:
        if way == "walk":
            opened._libc = None
        os.close(opened.open("dir/new", os.O_WRONLY | os.O_CREAT))
        for path in ("to-file", "to-dir/new", "up/secret", "inner/file"):
            with pytest.raises(OSError):
                opened.open(path, os.O_WRONLY | os.O_CREAT)
            with pytest.raises(WherryError):
                opened.make_dir(path)
        (tmp_path / "way").unlink()
        (tmp_path / "way").symlink_to("outside")
        os.close(opened.open("dir/newer", os.O_WRONLY | os.O_CREAT))  # it is held, and not looked for again
    assert {"new", "newer"} < set(os.listdir(f"{tree.path}/dir"))
    assert os.listdir(tmp_path / "outside") == []
    for name in ("secret", "missing"):
        with pytest.raises(WherryError):
            SafeTree(str(tmp_path / name), follow=True)


def test_renames(tmp_path):
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    for path in (one, two):
        with open(path, "w") as file:
            file.write(path)
    with pytest.raises(FileExistsError):
        rename_new(one, two)
    rename_new(one, three)
    exchange(two, three)
    assert (tmp_path / "two").read_text() == one
    with pytest.raises(OSError):
        exchange(two, one)
    sync_dir(str(tmp_path))
    (tmp_path / "way").symlink_to(".")
    sync_dir(str(tmp_path / "way"))
    with pytest.raises(WherryError):
        sync_dir(one)


def test_renames_where_the_kernel_cannot(tmp_path, monkeypatch):
    monkeypatch.setattr("wherry.safetree.sys.platform", "other")
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    os.mkdir(one)
    rename_new(one, two)
    os.mkdir(one)
    with pytest.raises(FileExistsError):
        rename_new(one, two)
    with pytest.raises(OSError):
        exchange(one, two)


def test_syncing(tree):
    tree.sync()
