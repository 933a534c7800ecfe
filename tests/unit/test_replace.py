"""What even ``--force`` does not replace (specs/0010 §1)."""

from __future__ import annotations

import os

import pytest
from getting import A, files_in, write

from wherry.errors import TargetError, TargetExists
from wherry.manifest import DIR, FILE
from wherry.transfer.replace import check_replace


@pytest.mark.parametrize("kind", [DIR, FILE])
def test_neither_the_directory_one_is_in_nor_one_above_it_is_replaced(tmp_path, monkeypatch, kind):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    monkeypatch.chdir(tmp_path / "a" / "b")
    for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(TargetError, match="the directory that you are in, or above it"):
            check_replace(str(path), kind)
    check_replace(str(tmp_path / "ab"), kind)


def test_nor_is_the_home_directory(tmp_path, monkeypatch):
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for path in (tmp_path / "user", tmp_path):
        with pytest.raises(TargetError, match="your home directory"):
            check_replace(str(path), DIR)


def test_nor_is_the_root_of_a_file_system(monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == "/mnt")
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    with pytest.raises(TargetError, match="the root of a file system"):
        check_replace("/mnt", DIR)


def test_whoever_is_in_a_directory_that_is_gone_may_replace_another(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    check_replace(str(tmp_path / "other"), DIR)


async def test_a_single_file_replaces_no_directory_that_holds_anything(world, tmp_path):
    write(tmp_path / "one", {"file": b"content"})
    target = write(tmp_path / "target", {"mine": b"precious"})
    async with world.shared(tmp_path / "one" / "file") as cid, world.node() as session:
        with pytest.raises(TargetExists) as caught:
            await session.get(cid, sources=[A], output=str(target))
        assert caught.value.hint == f"give -o {target}/NAME to put it there"
        with pytest.raises(TargetError, match="and the content is a single file") as refused:
            await session.get(cid, sources=[A], output=str(target), force=True)
        assert refused.value.hint == caught.value.hint
        assert files_in(target) == ["mine"]
        (target / "mine").unlink()
        await session.get(cid, sources=[A], output=str(target), force=True)
        assert target.read_bytes() == b"content"
