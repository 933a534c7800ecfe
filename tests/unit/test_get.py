"""`get` from end to end inside one process: what it writes, what is chosen, what is there already."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import stat

import pytest
from getting import MIB, A, Slow, beside, files_in, write

from wherry.errors import (
    LimitExceeded,
    TargetBusy,
    TargetChanged,
    TargetError,
    TargetExists,
    UnsafeName,
)
from wherry.observe import Note
from wherry.results import GetPlan
from wherry_cli.demo import compare

# What is written


async def test_a_tree_arrives_as_it_is(world, tree, tmp_path):
    target = tmp_path / "out" / "copy"
    async with world.shared(tree) as cid, world.node() as session:
        got = await session.get(cid, sources=[A], output=str(target))
    assert list(compare(tree, target)) == []
    assert beside(target) == []
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert got.bytes == size
    assert size <= got.fetched_bytes < size + 64 * 1024
    assert got.sources[0].bytes == got.fetched_bytes


async def test_a_path_that_is_no_text_is_said_before_anything_is_fetched(world, tmp_path):
    (tmp_path / "file").write_bytes(bytes(3 * MIB))
    target = os.fsdecode(os.fsencode(tmp_path) + b"/\xff/copy")
    async with world.shared(tmp_path / "file") as cid, world.node() as session:
        with pytest.raises(TargetError, match="is not UTF-8"):
            await session.get(cid, sources=[A], output=target)
    assert not os.path.lexists(os.path.dirname(target))


@pytest.mark.parametrize("force", [True, False])
async def test_the_root_is_no_target_and_nobody_is_told_to_force_it(world, tmp_path, force):
    (tmp_path / "file").write_bytes(b"some")
    async with world.shared(tmp_path / "file") as cid, world.node() as session:
        with pytest.raises(TargetError, match="cannot be a target") as found:
            await session.get(cid, sources=[A], output="/tmp/..", force=force)
    assert "--force" not in found.value.hint


@pytest.mark.parametrize("chunker", ["fixed:1MiB", "fixed:4MiB"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB + 1])
async def test_a_file_of_any_size(world, tmp_path, size, chunker):
    source, target = tmp_path / "file", tmp_path / "copy"
    source.write_bytes(random.Random(size).randbytes(size))
    async with world.shared(source, chunker=chunker) as cid, world.node() as session:
        got = await session.get(cid, sources=[A], output=str(target))
        assert target.read_bytes() == source.read_bytes()
        assert size <= got.fetched_bytes < size + 4096  # a lone leaf too comes once
        again = await session.get(cid, sources=[A], output=str(target))
        assert (again.fetched_bytes, again.bytes) == (0, size)
    async with world.shared(source, "memory://other", chunker=chunker) as cid, world.node("c") as session:
        elsewhere = await session.get(cid, sources=["memory://other"], output=str(target))
        assert elsewhere.fetched_bytes < 4096


async def test_a_file_of_zeros_whose_leaves_are_all_the_same(world, tmp_path):
    source, target = tmp_path / "file", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(21 * MIB + 3)
    async with world.shared(source) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
    assert target.read_bytes() == source.read_bytes()


async def test_the_loop_goes_on_while_a_disk_takes_its_time_to_make_room(world, tmp_path, monkeypatch):
    """A file system without room at hand fills a large file with zeros: nobody else is to wait for that."""
    loops, allocate = [], os.posix_fallocate

    def slow(fd, offset, size):
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)  # comes back only if the loop runs meanwhile
        future.result(20)
        loops.append(size)
        allocate(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", slow)
    loop = asyncio.get_running_loop()
    source = tmp_path / "file"
    source.write_bytes(bytes(9 * MIB))
    async with world.shared(source) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert loops == [9 * MIB]


async def test_modes_times_and_links(world, tmp_path):
    source = write(tmp_path / "tree", {"run.sh": b"#!/bin/sh\n", "plain": b"x"})
    (source / "run.sh").chmod(0o750)
    (source / "link").symlink_to("plain")
    os.utime(source / "plain", ns=(0, 1_234_567_890_123_456_789))
    target = tmp_path / "copy"
    before = os.umask(0o027)
    try:
        async with world.shared(source, mtime=True) as cid, world.node() as session:
            await session.get(cid, sources=[A], output=str(target))
    finally:
        os.umask(before)
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o750  # who may read may execute; the umask holds
    assert stat.S_IMODE((target / "plain").stat().st_mode) == 0o640
    assert (target / "plain").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert os.readlink(target / "link") == "plain"


# What is chosen


@pytest.fixture
def chosen_from(tmp_path):
    return write(
        tmp_path / "tree", {"a/x.txt": b"1", "a/y.bin": b"2", "b/deep/z.txt": b"3", "c/only.bin": b"4", "top.txt": b"5"}
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"include": ["*.txt"]}, ["a", "a/x.txt", "b", "b/deep", "b/deep/z.txt", "top.txt"]),
        ({"include": ["b/*"]}, ["b", "b/deep", "b/deep/z.txt"]),
        ({"exclude": ["*.bin"]}, ["a", "a/x.txt", "b", "b/deep", "b/deep/z.txt", "top.txt"]),
        ({"exclude": ["b", "c"]}, ["a", "a/x.txt", "a/y.bin", "top.txt"]),
        ({"include": ["*.txt"], "exclude": ["a"]}, ["b", "b/deep", "b/deep/z.txt", "top.txt"]),
        ({"include": ["nothing"]}, []),
    ],
)
async def test_a_selection(world, chosen_from, tmp_path, options, expected):
    target = tmp_path / "copy"
    async with world.shared(chosen_from) as cid:
        async with world.node() as session:
            events = []
            got = await session.get(cid, sources=[A], output=str(target), observe=events.append, **options)
            assert files_in(target) == expected
            said = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
            assert any("no file is selected" in text for text in said) == (not expected)
            assert got.bytes == sum(not (target / name).is_dir() for name in expected)
            again = await session.get(cid, sources=[A], output=str(target), **options)
            assert (again.fetched_bytes, again.bytes) == (0, got.bytes)
        async with world.node("c") as session:  # a home that never saw the target
            assert (await session.get(cid, sources=[A], output=str(target), **options)).bytes == got.bytes


async def test_a_selection_that_was_changed_since_is_seen(world, chosen_from, tmp_path):
    target = tmp_path / "copy"
    async with world.shared(chosen_from) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target), include=["*.txt"])
        (target / "top.txt").write_bytes(b"!")
        with pytest.raises(TargetChanged):
            await session.get(cid, sources=[A], output=str(target), include=["*.txt"])
        with pytest.raises(TargetExists):
            await session.get(cid, sources=[A], output=str(target), include=["*.bin"])
        await session.get(cid, sources=[A], output=str(tmp_path / "whole"))
        with pytest.raises(TargetExists):
            await session.get(cid, sources=[A], output=str(tmp_path / "whole"), include=["*.txt"])
    assert (target / "top.txt").read_bytes() == b"!"


async def test_a_plan_writes_nothing_and_says_what_it_would_take(world, chosen_from, tmp_path):
    write(chosen_from, {"a/ZZ": b"6", "zz": b"7"})  # alike, in two directories: no collision
    target = tmp_path / "copy"
    async with world.shared(chosen_from) as cid, world.node() as session:
        plan = await session.get(cid, sources=[A, "memory://gone"], output=str(target), exclude=["b"], dry_run=True)
        assert isinstance(plan, GetPlan)
        assert (plan.files, plan.bytes, plan.want_bytes, plan.have_bytes) == (6, 6, 6, 0)
        assert [source.reachable for source in plan.sources] == [True, False]
    assert not target.exists()
    assert beside(target) == []


async def test_a_plan_counts_on_no_file_that_is_gone(world, tree, tmp_path):
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(tmp_path / "first"))
        plan = await session.get(cid, sources=[A], output=str(tmp_path / "second"), dry_run=True)
        assert (plan.want_bytes, plan.have_bytes > 6 * MIB) == (0, True)
        shutil.rmtree(tmp_path / "first")
        plan = await session.get(cid, sources=[A], output=str(tmp_path / "second"), dry_run=True)
        assert (plan.have_bytes, plan.want_bytes > 6 * MIB) == (0, True)


async def test_nowhere_fetches_everything_and_writes_nothing(world, tree, tmp_path):
    before = set(os.listdir(tmp_path))
    async with world.shared(tree) as cid, world.node() as session:
        got = await session.get(cid, sources=[A], output="null:")
        assert got.bytes == (await session.get(cid, sources=[A], output="null:")).fetched_bytes > 6 * MIB
    assert set(os.listdir(tmp_path)) - before == {"home-a", "home-b"}


async def test_a_dataset_larger_than_is_taken_is_refused_before_anything_is_written(world, tree, tmp_path):
    async with world.shared(tree) as cid, world.node() as session:
        with pytest.raises(LimitExceeded):
            await session.get(cid, sources=[A], output=str(tmp_path / "x" / "copy"), max_bytes=1000)
    assert not (tmp_path / "x").exists()


async def test_links_that_lead_out(world, tree, tmp_path):
    (tree / "out").symlink_to("/etc/passwd")
    target = tmp_path / "copy"
    async with world.shared(tree) as cid, world.node() as session:
        with pytest.raises(UnsafeName):
            await session.get(cid, sources=[A], output=str(target))
        assert not target.exists()
        await session.get(cid, sources=[A], output=str(target), links="skip")
        assert not os.path.lexists(target / "out")
        again = await session.get(cid, sources=[A], output=str(target), links="skip")
        assert again.fetched_bytes == 0
        await session.get(cid, sources=[A], output=str(tmp_path / "kept"), links="keep")
        assert os.readlink(tmp_path / "kept/out") == "/etc/passwd"


async def test_names_that_other_systems_cannot_write(world, tmp_path):
    source = write(tmp_path / "tree", {"a:b": b"1", "README": b"2", "readme": b"3"})
    async with world.shared(source) as cid, world.node() as session:
        with pytest.raises(UnsafeName):
            await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"), names="posix")
        await session.get(cid, sources=[A], output=str(tmp_path / "other"), exclude=["a:b", "readme"])  # these are not written
    assert list(compare(source, tmp_path / "copy")) == []
    assert files_in(tmp_path / "other") == ["README"]


# What is there already


async def test_a_target_with_other_content_stays_unless_forced(world, tree, tmp_path):
    target = write(tmp_path / "copy", {"mine": b"precious"})
    async with world.shared(tree) as cid, world.node() as session:
        with pytest.raises(TargetExists):
            await session.get(cid, sources=[A], output=str(target))
        assert files_in(target) == ["mine"]
        await session.get(cid, sources=[A], output=str(target), force=True)
    assert list(compare(tree, target)) == []
    assert beside(target) == []


@pytest.mark.parametrize("there", ["file", "link", "dangling", "fifo"])
async def test_whatever_is_there_is_replaced_when_forced(world, tree, tmp_path, there):
    target, elsewhere = tmp_path / "copy", write(tmp_path / "elsewhere", {"mine": b"precious"})
    {
        "file": lambda: target.write_bytes(b"x"),
        "link": lambda: target.symlink_to(elsewhere),
        "dangling": lambda: target.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(target),
    }[there]()
    async with world.shared(tree) as cid, world.node() as session:
        with pytest.raises(TargetExists):
            await session.get(cid, sources=[A], output=str(target))
        await session.get(cid, sources=[A], output=str(target), force=True)
    assert list(compare(tree, target)) == []
    assert not target.is_symlink()
    assert files_in(elsewhere) == ["mine"]
    assert beside(target) == []


async def test_a_target_that_the_user_changed_stays_unless_forced(world, tree, tmp_path):
    target = tmp_path / "copy"
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
        (target / "readme.txt").write_bytes(b"edited")
        with pytest.raises(TargetChanged):
            await session.get(cid, sources=[A], output=str(target))
        assert (target / "readme.txt").read_bytes() == b"edited"
        got = await session.get(cid, sources=[A], output=str(target), force=True)
        assert got.fetched_bytes < 1000  # the rest is taken from what is replaced
    assert list(compare(tree, target)) == []


async def test_what_is_more_in_a_target_counts_as_a_change(world, tree, tmp_path):
    target = tmp_path / "copy"
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
        (target / "many/new").write_bytes(b"")
        with pytest.raises(TargetChanged):
            await session.get(cid, sources=[A], output=str(target))


async def test_two_gets_of_one_target_at_once(world, large, tmp_path):
    target = tmp_path / "copy"
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid, world.node() as one, world.node("c") as two:
        results = await asyncio.gather(
            *(session.get(cid, sources=[A], output=str(target)) for session in (one, two)), return_exceptions=True
        )
    assert sorted(type(result).__name__ for result in results) == ["GetResult", "TargetBusy"]
    assert any(isinstance(result, TargetBusy) for result in results)
    assert list(compare(large, target)) == []
    assert beside(target) == []
