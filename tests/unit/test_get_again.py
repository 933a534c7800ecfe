"""`get` from end to end inside one process: going on after interruptions, and sources of every sort."""

from __future__ import annotations

import asyncio
import json
import os
import random

import pytest
from getting import MIB, A, Odd, Slow, beside, files_in, interrupted, write

from wherry.errors import (
    BlockNotFound,
    IntegrityError,
    NoSource,
    PeerDenied,
    PeerProtocolError,
    UnsafeName,
)
from wherry.observe import Progress
from wherry.testing.memory import MemoryOptions, MemoryTransport
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare

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


async def test_a_file_that_is_going_on_is_not_done(world, large, tmp_path):
    target, events = tmp_path / "copy", []
    world.ways[A] = Slow(world.network)
    async with world.shared(large / "long.bin") as cid:
        done = await interrupted(world, cid, target, after_bytes=4 * MIB)
        async with world.node() as session:
            size = (await session.get(cid, sources=[A], output=str(target), observe=events.append)).bytes
    far = [event for event in events if isinstance(event, Progress)]
    assert max(event.bytes_done - event.wire_bytes for event in far) >= done - 30_000  # what was here did not come again
    assert any(0 < event.bytes_done < size - 4 * MIB for event in far)
    assert not any(event.files_done for event in far if event.bytes_done < size - 4 * MIB)
    assert (far[-1].files_done, far[-1].bytes_done) == (1, size)


@pytest.mark.parametrize("single", [False, True])
async def test_where_the_target_lies_may_be_a_link(world, large, tmp_path, single):
    source, real = large / "long.bin" if single else large, tmp_path / "real"
    real.mkdir()
    (tmp_path / "way").symlink_to("real")
    world.ways[A] = Slow(world.network)
    async with world.shared(source) as cid:
        done = await interrupted(world, cid, tmp_path / "way/copy", after_bytes=4 * MIB)
        async with world.node() as session:
            got = await session.get(cid, sources=[A], output=str(real / "copy"))  # the same part by another way
            assert got.fetched_bytes <= source.stat().st_size + 24 * MIB * (not single) + 30_000 - done
            again = await session.get(cid, sources=[A], output=str(tmp_path / "way/copy"))
            assert again.fetched_bytes == 0
            (real / "copy").rename(real / "old")
            await session.get(cid, sources=[A], output=str(tmp_path / "way/copy"))
    assert list(compare(source, real / "copy")) == []
    assert sorted(os.listdir(real)) == ["copy", "old"]


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


async def test_a_source_that_answers_nothing_to_everything_ends_it(world, large, tmp_path):
    async def nothing(_plain, _wants, _lender):
        return
        yield

    async with world.shared(large) as cid, world.node() as session:
        world.ways[A] = Odd(world.network, nothing)
        async with asyncio.timeout(20):
            with pytest.raises(PeerProtocolError, match="no source gives.*nothing that was asked for") as caught:
                await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert caught.value.exit_code == 7
    assert "its transport (getting.Odd), breaks its contract" in caught.value.message  # and nothing was damaged
    assert "damaged" not in caught.value.message


@pytest.mark.parametrize(("hint", "said"), [(None, "WHERRY_TOKEN"), ("name it yourself", "name it yourself")])
async def test_a_source_that_refuses_us(world, tmp_path, hint, said):
    def refuse():
        raise PeerDenied("no token", peer=A, hint=hint)

    async with world.node() as session:
        world.ways[A] = Odd(world.network, None, connect=refuse)
        async with asyncio.timeout(5):
            with pytest.raises(PeerDenied, match="no token") as caught:
                await session.get("bafkreie7ohywtosou76tasm7j63yigtzxe7d5zqus4zu3j6oltvgtibeom", sources=[A])
    assert said in caught.value.hint


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
