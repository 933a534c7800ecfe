"""What `get --force` replaces: it is the user's, so nothing is written into it, and it goes, now or later."""

from __future__ import annotations

import errno
import os
import random

import pytest
from getting import MIB, A, beside, write

from wherry.errors import LocalError
from wherry.observe import Note
from wherry.safetree import remove_tree
from wherry.transfer import into, replaced
from wherry.transfer import target as targets
from wherry_cli.demo import compare

NOBODY = 65534


def fails(*_):
    raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def trees(tmp_path):
    """Two datasets, and a target of the user's with a copy of hard links and one file that is open."""
    one = write(tmp_path / "one", {"z/a": b"one", "z/long": random.Random(1).randbytes(6 * MIB), "z/empty": b""})
    two = write(tmp_path / "two", {"z/a": b"two", "z/long": random.Random(2).randbytes(6 * MIB), "z/empty": b""})
    old = write(tmp_path / "copy", {"z/a": b"old", "z/long": bytes(6 * MIB), "z/empty": b"old", "z/open": bytes(5 * MIB)})
    write(one, {"z/open": random.Random(3).randbytes(5 * MIB)})
    write(two, {"z/open": random.Random(4).randbytes(5 * MIB)})
    keep = tmp_path / "keep"
    keep.mkdir()
    for name in ("a", "long", "empty"):
        os.link(old / "z" / name, keep / name)
    return one, two, old, keep


def all_of(folder):
    return {
        path.name: (path.stat().st_ino, path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("second", ["another", "the same, and the target was changed"])
@pytest.mark.parametrize("step", ["before the exchange", "behind it", "while it is removed"])
async def test_what_was_replaced_is_never_written_into(world, trees, monkeypatch, step, second):
    """Whatever a get that was killed there left, and whatever is got next."""
    one, two, target, keep = trees
    kept, opened = all_of(keep), (target / "z/open").open("rb")
    async with world.shared(one) as first, world.node() as session:
        with monkeypatch.context() as failing:
            if step == "while it is removed":
                failing.setattr(replaced, "remove_tree", fails)
                await session.get(first, sources=[A], output=str(target), force=True)
                assert list(compare(one, target)) == []
            else:
                failing.setattr(targets, "swap_in" if step == "before the exchange" else "set_aside", fails)
                with pytest.raises(LocalError):
                    await session.get(first, sources=[A], output=str(target), force=True)
        (target / "z/a").unlink()
        (target / "z/a").write_bytes(b"two")
    async with world.shared(two if second == "another" else one) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target), force=True)
    assert list(compare(two if second == "another" else one, target)) == []
    with opened:
        assert (opened.read() == bytes(5 * MIB), all_of(keep)) == (True, kept)
    assert beside(target) == []


async def test_what_is_whole_is_not_fetched_again_after_a_kill_before_the_exchange(world, trees, monkeypatch):
    one, _, target, _ = trees
    async with world.shared(one) as cid, world.node() as session:
        with monkeypatch.context() as failing:
            failing.setattr(targets, "swap_in", fails)
            with pytest.raises(LocalError):
                await session.get(cid, sources=[A], output=str(target), force=True)
        got = await session.get(cid, sources=[A], output=str(target), force=True)
    assert got.fetched_bytes == 0
    assert list(compare(one, target)) == []


async def test_what_cannot_be_removed_is_said_and_the_target_is_got(world, trees, monkeypatch):
    one, _, target, _ = trees
    async with world.shared(one) as cid, world.node() as session:
        told, left = [], f"{target.parent}/.copy.wherry-removed"

        async def get(**options):
            told.clear()
            await session.get(cid, sources=[A], output=str(target), observe=told.append, **options)
            return [(event.level, event.text) for event in told if isinstance(event, Note)]

        with monkeypatch.context() as failing:
            failing.setattr(replaced, "remove_tree", fails)
            stays = ("warning", f"what was replaced stays at {left!r}: Input/output error")
            assert await get(force=True) == [stays]
            assert [row.path for row in session._store.state.roots()] == [str(target)]
            clears = ("info", f"removing what an earlier get replaced: {left!r}")
            assert await get() == [clears, stays]
            (target / "z/a").unlink()
            assert [level for level, _ in await get(force=True)] == ["info", "warning", "warning"]  # and has another name
            assert len(beside(target)) == 2

        ((level, text),) = await get()
        assert (level, text.startswith("removing"), beside(target)) == ("info", True, [])
        assert await get() == []
    assert list(compare(one, target)) == []


async def test_while_it_clears_it_does_not_say_that_it_fetches(world, trees, monkeypatch):
    one, _, target, _ = trees
    write(target.parent / ".copy.wherry-removed", {"left": b""})
    fills, phases = [], []

    def removing(path):
        phases.append(fills[0].progress().phase)
        remove_tree(path)

    async def fill(filling, *given, real=into.fill_target):
        fills.append(filling)
        return await real(filling, *given)

    monkeypatch.setattr(replaced, "remove_tree", removing)
    monkeypatch.setattr(into, "fill_target", fill)
    async with world.shared(one) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target), force=True)
    assert phases == ["finish", "finish"]  # what was left, and what it replaced itself
    assert fills[0].progress().phase == "fetch"


def test_only_what_was_replaced_at_that_name_is_left_of_it(tmp_path):
    part = f"{tmp_path}/.a.wherry-part"
    other = [
        ".a.wherry-removed-b.wherry-removed",
        ".a.wherry-removed-1",
        ".b.wherry-removed",
        "xa.wherry-removed",
        ".axwherry-removed",
    ]
    for name in (".a.wherry-removed", ".a.wherry-removed-0123456789ab", *other):
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in replaced.left_beside(part)] == [
        ".a.wherry-removed", ".a.wherry-removed-0123456789ab",
    ]  # fmt: skip
    assert replaced.left_beside("/not/there/.a.wherry-part") == []


def test_folders_that_are_read_only_go_and_no_link_is_followed(tmp_path, monkeypatch):
    """By who is not root, who may do it all."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "old", {"a/b/c": b"x", "shut/d": b"x"})
    write(tmp_path / "else", {"stays": b"x"})
    (tmp_path / "old/a/link").symlink_to("../../else")
    (tmp_path / "file").write_bytes(b"x")
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, *([NOBODY, NOBODY] if os.geteuid() == 0 else [-1, -1]), follow_symlinks=False)
    for path, mode in (("old/a/b", 0o555), ("old/a", 0o500), ("old/shut", 0), ("else", 0o555), ("old", 0o555)):
        os.chmod(path, mode)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        for name in ("old", "file", "not there"):
            remove_tree(name)
    finally:
        if root:
            os.seteuid(0)
    assert sorted(os.listdir()) == ["else"]
    assert (os.stat("else").st_mode & 0o777, os.listdir("else")) == (0o555, ["stays"])
    os.chmod("else", 0o755)
