"""`get` from end to end inside one process: real homes and files, blocks over the memory transport."""

from __future__ import annotations

import asyncio
import json
import os
import random
import stat
from contextlib import asynccontextmanager

import pytest

from wherry.errors import (
    BlockNotFound,
    IntegrityError,
    LimitExceeded,
    NoSource,
    PeerDenied,
    TargetBusy,
    TargetChanged,
    TargetExists,
    UnsafeName,
)
from wherry.results import GetPlan
from wherry.session import Session
from wherry.testing.memory import MemoryNetwork, MemoryOptions, MemoryTransport
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare

MIB = 1 << 20
A = "memory://a"


class World:
    """Nodes that reach each other by the memory transport. ``ways``: how an address is reached, where not plainly."""

    def __init__(self, base):
        self.base = base
        self.network = MemoryNetwork()
        self.ways = {}

    def transport(self, address, **_):
        return self.ways.get(address) or MemoryTransport(self.network)

    @asynccontextmanager
    async def node(self, name="b"):
        async with Session.open(home=self.base / f"home-{name}", environ={}) as session:
            session._wiring.transport = self.transport
            yield session

    @asynccontextmanager
    async def shared(self, path, address=A, **options):
        """Adds ``path`` to a home of its own, and serves it; gives the CID."""
        async with self.node(address.removeprefix("memory://")) as session:
            added = await session.add(str(path), **options)
            async with MemoryTransport(self.network).listen(address, session._store):
                yield added.cid


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def beside(target):
    """What lies in the target's directory and is hidden as wherry hides things."""
    return [name for name in os.listdir(target.parent) if "wherry" in name]


async def interrupted(world, cid, target, *, after_bytes, **options):
    """Runs a get and cancels it when so many bytes are done; gives the bytes that it says are done."""
    async with world.node() as session:
        done = 0

        def observe(event):
            nonlocal done
            done = getattr(event, "bytes_done", done)
            if done >= after_bytes:
                running.cancel()

        running = asyncio.create_task(session.get(cid, sources=[A], output=str(target), observe=observe, **options))
        with pytest.raises(asyncio.CancelledError):
            await running
    return done


@pytest.fixture
def large(tmp_path):
    """A tree with a long file and some small ones, in all 24 MiB and a bit."""
    rng = random.Random(3)
    files = {f"small/{number:02}": rng.randbytes(1000 + number) for number in range(20)}
    return write(tmp_path / "large", {"long.bin": rng.randbytes(24 * MIB + 5), **files})


class Slow(MemoryTransport):
    """One fetch at a time, so that there is a middle to be interrupted in."""

    def __init__(self, network):
        super().__init__(network, MemoryOptions(latency=0.1))

    @asynccontextmanager
    async def connect(self, address):
        async with super().connect(address) as channel:
            channel.parallel = 1
            yield channel


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


def files_in(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


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
            got = await session.get(cid, sources=[A], output=str(target), **options)
            assert files_in(target) == expected
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


# Going on


async def test_what_was_done_is_not_fetched_again(world, large, tmp_path):
    target = tmp_path / "copy"
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid:
        done = await interrupted(world, cid, target, after_bytes=8 * MIB)
        assert not target.exists()
        async with world.node() as session:
            got = await session.get(cid, sources=[A], output=str(target))
    assert got.fetched_bytes <= 24 * MIB + 30_000 - done
    assert list(compare(large, target)) == []


async def test_a_part_whose_journal_is_damaged_is_hashed_not_fetched(world, large, tmp_path):
    target = tmp_path / "copy"
    part, journal = map(type(tmp_path), hidden_names(str(target)))
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid:
        for damage in (
            lambda data: data[:-7],
            lambda data: os.urandom(len(data)),
            lambda data: b"[" * 4000 + b"\n",
            lambda data: data.replace(b'"boot": "', b'"boot": "other'),
            lambda data: data.replace(cid.encode(), b"x" * len(cid)),
            lambda _: b"",
        ):
            done = await interrupted(world, cid, target, after_bytes=8 * MIB)
            journal.write_bytes(damage(journal.read_bytes()))
            async with world.node() as session:
                got = await session.get(cid, sources=[A], output=str(target))
            assert got.fetched_bytes <= 24 * MIB + 30_000 - done
            assert list(compare(large, target)) == []
            assert beside(target) == []
            os.rename(target, tmp_path / "aside")
            (tmp_path / "home-b").rename(tmp_path / f"gone-{random.random()}")  # so that nothing comes from there
            os.system(f"rm -r {tmp_path / 'aside'}")
    assert not part.exists()


async def test_a_chunk_that_was_changed_in_the_part_is_found_and_fetched_again(world, large, tmp_path):
    target = tmp_path / "copy"
    part, journal = map(type(tmp_path), hidden_names(str(target)))
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid:
        done = await interrupted(world, cid, target, after_bytes=12 * MIB)
        with (part / "long.bin").open("r+b") as file:
            file.seek(MIB + 10)
            file.write(b"changed")
        later = journal.stat().st_mtime_ns + 10 * 10**9
        os.utime(part / "long.bin", ns=(later, later))
        async with world.node() as session:
            got = await session.get(cid, sources=[A], output=str(target))
    assert list(compare(large, target)) == []
    assert got.fetched_bytes <= 24 * MIB + 30_000 - done + MIB


async def test_a_part_that_is_gone_begins_anew(world, large, tmp_path):
    target = tmp_path / "copy"
    part, _ = map(type(tmp_path), hidden_names(str(target)))
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid:
        await interrupted(world, cid, target, after_bytes=8 * MIB)
        os.rename(part, tmp_path / "away")
        async with world.node() as session:
            await session.get(cid, sources=[A], output=str(target))
    assert list(compare(large, target)) == []


async def test_files_that_are_gone_or_grew_in_the_part_are_made_right(world, tree, tmp_path):
    """With a journal that says nothing, so that all is looked at where it lies."""
    target = tmp_path / "copy"
    part, journal = map(type(tmp_path), hidden_names(str(target)))
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
        os.rename(target, part)
        journal.write_bytes(b"garbage\n")
        (part / "readme.txt").write_bytes(b"hello\nand more")
        (part / "empty").write_bytes(b"not empty")
        (part / "data/large.bin").write_bytes((tree / "data/large.bin").read_bytes() + b"more")
        (part / "many/000.json").unlink()
        (part / "many/001.json").chmod(0o755)
        (part / "bin/run.sh").chmod(0o644)
        got = await session.get(cid, sources=[A], output=str(target))
    assert list(compare(tree, target)) == []
    assert got.fetched_bytes < 100


async def test_what_another_transfer_left_in_the_part_is_not_in_the_target(world, tree, tmp_path):
    target = tmp_path / "copy"
    part, journal = map(type(tmp_path), hidden_names(str(target)))
    write(part, {"stranger": b"x", "deep/more/strange": b"x", "many": b"a file where a directory goes", "latest/x": b"y"})
    (part / "readme.txt").mkdir()
    (part / "empty").symlink_to("/etc/passwd")
    (part / "data").symlink_to("/tmp")
    os.mkfifo(part / ".hidden")
    journal.write_bytes(json.dumps({"wherry": "journal/1", "cid": "another", "boot": "x"}).encode() + b"\n")
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
    assert list(compare(tree, target)) == []
    assert not (tmp_path / "large.bin").exists()


async def test_a_selection_does_not_keep_what_an_earlier_one_left(world, large, tmp_path):
    target = tmp_path / "copy"
    world.ways[A] = Slow(world.network)
    async with world.shared(large) as cid:
        await interrupted(world, cid, target, after_bytes=8 * MIB)
        async with world.node() as session:
            await session.get(cid, sources=[A], output=str(target), include=["small/0*"])
    assert files_in(target) == ["small", *(f"small/0{number}" for number in range(10))]


@pytest.mark.parametrize("there", ["directory", "link", "fifo"])
async def test_a_part_of_the_wrong_kind(world, tmp_path, there):
    source = tmp_path / "file"
    source.write_bytes(b"x" * 5000)
    target = tmp_path / "copy"
    part = hidden_names(str(target))[0]
    {"directory": os.mkdir, "link": lambda path: os.symlink("/etc/passwd", path), "fifo": os.mkfifo}[there](part)
    async with world.shared(source) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target))
    assert target.read_bytes() == source.read_bytes()
    assert beside(target) == []


async def test_what_a_run_killed_at_the_very_end_left_is_cleared(world, tree, tmp_path):
    target = tmp_path / "copy"
    part, journal = map(type(tmp_path), hidden_names(str(target)))
    async with world.shared(tree) as cid:
        async with world.node() as session:
            await session.get(cid, sources=[A], output=str(target))
        header = {"wherry": "journal/1", "cid": cid, "selection": "", "boot": "any"}
        journal.write_bytes(json.dumps(header).encode() + b"\n")
        write(part, {"what": b"was replaced"})
        async with world.node("c") as session:
            got = await session.get(cid, sources=[A], output=str(target))
            assert got.fetched_bytes < 20_000
            assert [row.path for row in session._store.state.roots()] == [str(target)]
    assert beside(target) == []


async def test_a_get_that_does_nothing_leaves_nothing(world, tree, tmp_path):
    (tree / "out").symlink_to("/etc/passwd")
    only = tmp_path / "only"
    only.mkdir()
    (only / "out").symlink_to("/etc/passwd")
    async with world.shared(only) as cid, world.node() as session:
        with pytest.raises(UnsafeName):
            await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert beside(tmp_path / "copy") == []


# Sources


async def test_the_second_version_of_a_dataset_comes_from_this_machine(world, large, tmp_path):
    async with world.shared(large) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(tmp_path / "one"))
    with (large / "long.bin").open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"new")
    write(large, {"small/added": b"added"})
    async with world.shared(large) as cid, world.node() as session:
        got = await session.get(cid, sources=[A], output=str(tmp_path / "two"))
    assert list(compare(large, tmp_path / "two")) == []
    assert got.fetched_bytes < MIB + 20_000
    assert got.bytes > 24 * MIB


async def test_sources_that_each_hold_half(world, large, tmp_path):
    half = write(tmp_path / "half", {"long.bin": (large / "long.bin").read_bytes()[: 12 * MIB]})
    rest = write(tmp_path / "rest", {"long.bin": (large / "long.bin").read_bytes()[12 * MIB :]})
    for number in range(20):
        write(rest, {f"small/{number}": (large / f"small/{number:02}").read_bytes()})
    async with world.shared(large) as cid, world.node() as session:
        await session.get(cid, sources=[A], output="null:")  # its nodes are here now, which neither of the others has
    async with world.shared(half, "memory://half"), world.shared(rest, "memory://rest"):
        async with world.node() as session:
            got = await session.get(cid, sources=["memory://half", "memory://rest"], output=str(tmp_path / "copy"))
            assert all(source.bytes > 0 for source in got.sources)
            assert list(compare(large, tmp_path / "copy")) == []
        async with world.node() as session:
            with pytest.raises(BlockNotFound):
                await session.get(cid, sources=["memory://half"], output="null:")


async def test_a_liar_beside_an_honest_source(world, large, tmp_path):
    async with world.shared(large) as cid, world.shared(large, "memory://liar"), world.node() as session:
        world.ways["memory://liar"] = MemoryTransport(world.network, MemoryOptions(lies=0.5, seed=1))
        got = await session.get(cid, sources=["memory://liar", A], output=str(tmp_path / "copy"))
        assert got.sources[0].errors > 0
    assert list(compare(large, tmp_path / "copy")) == []


async def test_only_liars(world, large, tmp_path):
    async with world.shared(large) as cid, world.node() as session:
        world.ways[A] = MemoryTransport(world.network, MemoryOptions(lies=1.0))
        with pytest.raises(IntegrityError, match="memory://a"):
            await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    assert beside(tmp_path / "copy") == []


async def test_a_source_that_lacks_it_all(world, large, tree, tmp_path):
    async with world.shared(large) as cid, world.shared(tree, "memory://b"), world.node() as session:
        with pytest.raises(BlockNotFound, match=cid):
            await session.get(cid, sources=["memory://b"], output=str(tmp_path / "copy"))


@pytest.mark.parametrize("sources", [[], ["memory://nobody"], ["memory://nobody", "memory://noone"]])
async def test_no_source_ever(world, sources, tmp_path):
    async with world.node() as session:
        with pytest.raises(NoSource):
            await session.get("bafkreie7ohywtosou76tasm7j63yigtzxe7d5zqus4zu3j6oltvgtibeom", sources=sources, wait_s=0.4)


class Odd(MemoryTransport):
    """A source that behaves as its ``fetch`` is told to, some of the time."""

    def __init__(self, network, fetch, *, connect=None):
        super().__init__(network)
        self.fetch, self.connecting = fetch, connect

    @asynccontextmanager
    async def connect(self, address):
        if self.connecting is not None:
            self.connecting()
        async with super().connect(address) as channel:
            plain = channel.fetch
            channel.fetch = lambda wants, lender: self.fetch(plain, wants, lender)
            yield channel


async def test_a_source_that_answers_nothing_to_everything_ends_it(world, large, tmp_path):
    async def nothing(_plain, _wants, _lender):
        return
        yield

    async with world.shared(large) as cid, world.node() as session:
        world.ways[A] = Odd(world.network, nothing)
        async with asyncio.timeout(20):
            with pytest.raises(IntegrityError, match="nothing that was asked for"):
                await session.get(cid, sources=[A], output=str(tmp_path / "copy"))


async def test_a_source_that_refuses_us(world, tmp_path):
    def refuse():
        raise PeerDenied("no token", peer=A)

    async with world.node() as session:
        world.ways[A] = Odd(world.network, None, connect=refuse)
        async with asyncio.timeout(5):
            with pytest.raises(PeerDenied, match="no token"):
                await session.get("bafkreie7ohywtosou76tasm7j63yigtzxe7d5zqus4zu3j6oltvgtibeom", sources=[A])


async def test_blocks_that_come_twice_count_once(world, large, tmp_path):
    async def twice(plain, wants, lender):
        for _ in range(2):
            async for arrival in plain(wants, lender):
                arrival.blocks = [*arrival.blocks, *arrival.blocks]
                yield arrival

    async with world.shared(large) as cid, world.node() as session:
        world.ways[A] = Odd(world.network, twice)
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert list(compare(large, tmp_path / "copy")) == []


async def test_sources_that_never_answer_do_not_keep_an_honest_one_from_working(world, large, tmp_path):
    """Each holds the buffer that it was to fill; there are fewer buffers than they would take."""
    stuck = [f"memory://stuck-{number}" for number in range(4)]

    async def silence(_plain, _wants, lender):
        buffer = await lender.lend()
        try:
            await asyncio.sleep(3600)
            yield
        finally:
            buffer.release()

    async with world.shared(large) as cid, world.node() as session:
        for address in stuck:
            world.network.listeners[address.removeprefix("memory://")] = world.network.listeners["a"]
        await session.get(cid, sources=[A], output="null:")  # its nodes are here now
        for address in stuck:
            world.ways[address] = Odd(world.network, silence)
        enough = asyncio.Event()

        def observe(event):
            if getattr(event, "bytes_done", 0) > 5 * MIB:  # of seven jobs, four are stuck
                enough.set()

        running = asyncio.create_task(session.get(cid, sources=[*stuck, A], output=str(tmp_path / "copy"), observe=observe))
        async with asyncio.timeout(10):
            await enough.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        for address in stuck:
            del world.network.listeners[address.removeprefix("memory://")]


async def test_a_source_that_comes_back_is_gone_on_with(world, large, tmp_path):
    target = tmp_path / "copy"
    world.ways[A] = Slow(world.network)
    half = asyncio.Event()

    def observe(event):
        if getattr(event, "bytes_done", 0) > 4 * MIB:
            half.set()

    async with world.node() as session:
        async with world.shared(large) as cid:
            running = asyncio.create_task(session.get(cid, sources=[A], output=str(target), observe=observe, wait_s=20))
            await half.wait()
        await asyncio.sleep(0.5)
        async with world.shared(large):
            await running
    assert list(compare(large, target)) == []


async def test_a_source_that_does_not_come_back_ends_it(world, large, tmp_path):
    target = tmp_path / "copy"
    world.ways[A] = Slow(world.network)
    half = asyncio.Event()

    def observe(event):
        if getattr(event, "bytes_done", 0) > 4 * MIB:
            half.set()

    async with world.node() as session:
        async with world.shared(large) as cid:
            running = asyncio.create_task(session.get(cid, sources=[A], output=str(target), observe=observe, wait_s=1))
            await half.wait()
        async with asyncio.timeout(10):
            with pytest.raises(NoSource, match="memory://a"):
                await running
        world.ways.clear()
        async with world.shared(large):
            got = await session.get(cid, sources=[A], output=str(target))
    assert list(compare(large, target)) == []
    assert got.fetched_bytes < 21 * MIB
