"""The parts of the demonstration that must not be wrong: the tree it makes, and the comparison it believes."""

from __future__ import annotations

import os
import shutil

import pytest

from wherry_cli.demo import compare, links_leading_out, make_tree

MiB = 1 << 20


@pytest.fixture
def pair(tmp_path):
    left, right = tmp_path / "left", tmp_path / "right"
    make_tree(left, MiB)
    (left / "link").symlink_to("run.sh")
    shutil.copytree(left, right, symlinks=True)
    return left, right


def test_the_tree_is_of_about_the_size_and_the_same_each_time(tmp_path):
    make_tree(tmp_path / "a", 4 * MiB)
    make_tree(tmp_path / "b", 4 * MiB)
    size = sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert 3 * MiB < size < 5 * MiB
    assert list(compare(tmp_path / "a", tmp_path / "b")) == []


def test_a_true_copy_has_no_difference(pair):
    assert list(compare(*pair)) == []


def change_byte(root):
    path = root / "model/weights.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def relink(root):
    (root / "link").unlink()
    (root / "link").symlink_to(".hidden")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (change_byte, "model/weights.bin: other bytes"),
        (lambda root: (root / "train/empty.txt").write_text("x"), "train/empty.txt: other bytes"),
        (lambda root: (root / "train/empty.txt").unlink(), "train/empty.txt: not there"),
        (lambda root: (root / "extra").touch(), "extra: should not be there"),
        (lambda root: (root / "empty").rmdir(), "empty: not there"),
        (lambda root: (root / "run.sh").chmod(0o644), "run.sh: executable in one place only"),
        (lambda root: ((root / "empty").rmdir(), (root / "empty").touch()), "empty: another kind of file"),
        (relink, "link: links to another place"),
        (shutil.rmtree, ".: not there"),
    ],
)
def test_each_kind_of_difference_is_found_and_named(pair, change, found):
    change(pair[1])
    assert list(compare(*pair)) == [found]


def test_links_that_lead_out_are_left_out_and_must_not_appear(pair):
    left, right = pair
    (left / "train/out").symlink_to("/etc/passwd")
    left_out = links_leading_out(left)
    assert left_out == {"train/out"}
    assert list(compare(left, right, left_out)) == []
    os.symlink("/etc/passwd", right / "train/out")
    assert list(compare(left, right, left_out)) == ["train/out: should not be there"]


def test_files_are_compared_as_well_as_trees(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert list(compare(tmp_path / "a", tmp_path / "a")) == []
    assert list(compare(tmp_path / "a", tmp_path / "b")) == [".: other bytes"]
