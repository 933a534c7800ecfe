"""`cache warm`: a dataset comes into the cache in batches, once, in order, and can be served from there."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import asynccontextmanager, nullcontext

import pytest
from getting import MIB, A, write
from warming import files_of, node, some_files

from wherry.abc.transport import Arrival, Laid
from wherry.block import named
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import BlockNotFound, NoSource, NoSpace, UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.session import Encryption
from wherry.testing.memory import MemoryOptions, MemoryTransport
from wherry.transfer.warm import KeepJob, Wanted


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data", some_files())


class Counting(MemoryTransport):
    """Notes how many wants each request has."""

    def __init__(self, network, options=None):
        super().__init__(network, options or MemoryOptions())
        self.requests = []

    @asynccontextmanager
    async def connect(self, address):
        async with super().connect(address) as channel:
            fetch = channel.fetch

            def counted(wants, lender):
                self.requests.append(len(wants))
                return fetch(wants, lender)

            channel.fetch = counted
            yield channel


def run(work):
    return asyncio.run(work)


def test_it_brings_all_into_the_cache_and_a_third_node_gets_it_from_there(world, data, tmp_path):
    async def work():
        async with world.shared(data) as cid:
            async with node(world) as session:
                warmed = await session.cache_warm(cid, sources=[A])
                total = sum(len(content) for content in some_files().values())
                assert (warmed.bytes, warmed.complete) == (total, True)
                # Leaves of the second text are in the next batch: each is fetched for both, or found when that has its turn,
                # for what arrives is put in parts.
                full, end = divmod(len(some_files()["text/same.txt"]), MIB)
                assert warmed.held_bytes in {whole * MIB + part for whole in range(full + 1) for part in (0, end)}
                assert warmed.fetched_bytes < total  # equal leaves of a batch come once
                stat = await session.cache_stat()
                assert (stat.name, stat.plugin) == ("disk", "disk")
                assert 0 < stat.blocks <= warmed.blocks
        shutil.rmtree(data)
        async with node(world) as session, MemoryTransport(world.network).listen("memory://b", session._store):
            async with node(world, "c") as third:
                await third.get(cid, sources=["memory://b"], output=str(tmp_path / "got"))
        found = {
            str(path.relative_to(tmp_path / "got")): path.read_bytes()
            for path in (tmp_path / "got").rglob("*")
            if path.is_file()
        }
        assert found == some_files()
        async with node(world) as session:  # and this node itself needs nobody
            await session.get(cid, output=str(tmp_path / "own"))

    run(work())


def test_nothing_is_held_of_what_was_not_here_and_does_not_repeat_itself(world, tmp_path):
    async def work():
        files = {"one": random.Random(1).randbytes(20 * MIB + 3), "two": random.Random(2).randbytes(20 * MIB)}
        async with world.shared(write(tmp_path / "data", files)) as cid, node(world) as session:
            warmed = await session.cache_warm(cid, sources=[A])
        assert (warmed.bytes, warmed.held_bytes) == (40 * MIB + 3, 0)

    run(work())


def test_leaves_come_in_batches(world, data):
    async def work():
        world.ways[A] = counting = Counting(world.network)
        async with world.shared(data) as cid, node(world) as session:
            await session.cache_warm(cid, sources=[A])
        assert max(counting.requests) >= 200  # the small files: one request
        assert len(counting.requests) < 30

    run(work())


def test_what_is_held_is_not_fetched_again(world, data):
    async def work():
        async with world.shared(data) as cid, node(world) as session:
            first = await session.cache_warm(cid, sources=[A])
            again = await session.cache_warm(cid, sources=[A])
            assert (again.fetched_bytes, again.bytes, again.held_bytes) == (0, first.bytes, first.bytes)
            assert (again.blocks, again.complete) == (first.blocks, True)

    run(work())


def test_an_interrupted_run_goes_on(world, data):
    async def work():
        world.ways[A] = MemoryTransport(world.network, MemoryOptions(latency=0.05))
        async with world.shared(data) as cid, node(world) as session:

            def observe(event):
                if getattr(event, "bytes_done", 0) > MIB:
                    running.cancel()

            running = asyncio.create_task(session.cache_warm(cid, sources=[A], observe=observe))
            with pytest.raises(asyncio.CancelledError):
                await running
            again = await session.cache_warm(cid, sources=[A])
            assert again.held_bytes > 0
            assert again.complete

    run(work())


def test_files_of_this_machine_are_copied_not_fetched(world, data):
    async def work():
        async with node(world) as session:
            added = await session.add(str(data))
            warmed = await session.cache_warm(added.cid)
            assert warmed.fetched_bytes == 0
            assert warmed.bytes == sum(len(content) for content in some_files().values())
            shutil.rmtree(data)
            held = session._store.cache.sizes([CID.of(RAW, some_files()["small/000"])])
            assert held == [len(some_files()["small/000"])]

    run(work())


def test_what_cannot_fit_is_refused_before_anything_is_fetched(world, data):
    async def work():
        async with world.shared(data) as cid, node(world, **{"cache.disk.max_bytes": "8MiB"}) as session:
            with pytest.raises(NoSpace, match="at most 8.0 MiB") as caught:
                await session.cache_warm(cid, sources=[A])
            assert "--bytes" in caught.value.hint
            assert (await session.cache_stat()).blocks == 0

    run(work())


def test_the_beginning_alone(world, data):
    async def work():
        async with world.shared(data) as cid, node(world, **{"cache.disk.max_bytes": "8MiB"}) as session:
            warmed = await session.cache_warm(cid, sources=[A], max_bytes=5 * MIB)
            assert not warmed.complete
            assert 4 * MIB < warmed.bytes <= 5 * MIB
            nothing = await session.cache_warm(cid, sources=[A], max_bytes=0)
            assert (nothing.bytes, nothing.complete) == (0, False)
            with pytest.raises(UsageError):
                await session.cache_warm(cid, sources=[A], max_bytes=-1)

    run(work())


def test_more_than_the_cache_keeps_ends_when_it_forgets_the_beginning(world, data):
    async def work():
        async with world.shared(data) as cid, node(world, **{"cache.disk.max_bytes": "4MiB"}) as session:
            with pytest.raises(NoSpace, match="does not keep all"):
                await session.cache_warm(cid, sources=[A], max_bytes=15 * MIB)

    run(work())


def test_a_full_cache_gives_up_others_blocks_and_keeps_what_is_held_of_the_dataset(world, data, tmp_path):
    """What an earlier run brought is the oldest by now; it must not go first."""

    async def work():
        others = write(tmp_path / "others", {"noise": random.Random(8).randbytes(12 * MIB)})
        quota = {"cache.disk.max_bytes": "22MiB"}
        async with world.shared(data) as cid, world.shared(others, "memory://o") as other, node(world, **quota) as session:
            await session.cache_warm(cid, sources=[A], max_bytes=9 * MIB)
            await session.cache_warm(other, sources=["memory://o"])
            warmed = await session.cache_warm(cid, sources=[A])
            assert warmed.held_bytes >= 8 * MIB
            again = await session.cache_warm(cid, sources=[A])
            assert again.held_bytes == again.bytes == warmed.bytes

    run(work())


def test_a_cache_that_keeps_nothing_is_said(world, data):
    async def work():
        options = {"cache.disk.min_free": "1000TiB"}
        async with world.shared(data) as cid, node(world, **options) as session:
            with pytest.raises(NoSpace, match="does not keep"):
                await session.cache_warm(cid, sources=[A])

    run(work())


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_dataset_that_is_one_leaf(world, tmp_path, size):
    async def work():
        file = tmp_path / "one"
        file.write_bytes(b"x" * size)
        async with world.shared(file) as cid, node(world) as session:
            warmed = await session.cache_warm(cid, sources=[A])
            assert (warmed.bytes, warmed.complete) == (size, True)
            again = await session.cache_warm(cid, sources=[A])
            assert (again.held_bytes, again.fetched_bytes) == (size, 0)
            if size:
                assert not (await session.cache_warm(cid, max_bytes=size - 1)).complete

    run(work())


def test_without_a_source_it_says_so(world, data):
    async def work():
        async with world.shared(data) as cid:
            pass
        async with node(world) as session:
            with pytest.raises((NoSource, BlockNotFound)):
                await session.cache_warm(cid)

    run(work())


class Keeper:
    """Stands for a run of warming."""

    def __init__(self, problem=None):
        self.kept = []
        self.turn = nullcontext()
        self.problem = problem

    def keep(self, blocks, leaves):
        if self.problem is not None:
            raise self.problem
        self.kept += list(zip(blocks, leaves, strict=True))


def arrived(blocks):
    """Makes wants of the first six ``blocks``, and an arrival in which some of them are not as they should be."""
    buffer = BufferPool().take()
    laid, at = [], ROOM
    for want, data in blocks:
        buffer.view[at : at + len(data)] = data
        laid.append(Laid(want, at, at + len(data)))
        at += len(data)
    return Arrival(buffer, laid, [5])


BLOCKS = [named(RAW, bytes([number]) * 100) for number in range(6)]
LEAVES = [Wanted(block.cid, 100, "path", number) for number, block in enumerate(BLOCKS)]


def test_what_does_not_verify_is_not_kept_and_asked_for_again():
    keeper = Keeper()
    job = KeepJob(keeper, LEAVES)
    good = BLOCKS[0].data
    arrival = arrived([(0, good), (0, good), (1, good), (2, BLOCKS[2].data + b"x"), (4, bytes(LEAF_BYTES_MAX - 1000))])
    job.settle(arrival, "a peer")
    assert arrival.settled
    assert keeper.kept == [(BLOCKS[0], LEAVES[0])]
    assert [want for want, _ in arrival.rejected] == [1, 2, 4]
    assert all("a peer" in str(problem) for _, problem in arrival.rejected)
    assert job.progress == 1
    absent, left = job.rest({5})
    assert [want.cid for want in absent.wants] == [BLOCKS[5].cid]
    assert [(want.cid, want.size, want.offset) for want in left.wants] == [
        (BLOCKS[1].cid, 100, 1), (BLOCKS[2].cid, 100, 2), (BLOCKS[3].cid, 100, 3), (BLOCKS[4].cid, 100, 4)
    ]  # fmt: skip
    job.settle(arrived([(0, good), *((number, BLOCKS[number].data) for number in range(1, 6))]), "a peer")
    assert [block for block, _ in keeper.kept] == BLOCKS
    assert job.rest(set()) == (None, None)


def test_a_cache_that_fails_ends_the_run_by_the_transports_thread():
    job = KeepJob(Keeper(NoSpace("full")), LEAVES)
    arrival = arrived([(0, BLOCKS[0].data)])
    job.settle(arrival, "a peer")
    assert isinstance(arrival.failure, NoSpace)
    assert job.progress == 0
    job.settle(Arrival(None, [], [0]), "a peer")


@pytest.mark.parametrize("options", [{}, {"random_keys": True}, {"pad": True}, {"compress": True}], ids=str)
def test_an_encrypted_dataset_is_kept_sealed_without_its_key_and_served_from_there(world, data, tmp_path, options):
    async def work():
        async with world.node("a") as session:
            await session.new_key("team")
            exported = await session.export_key("team", plain=True)
            added = await session.add(str(data), encryption=Encryption(key="team", **options))
            async with MemoryTransport(world.network).listen(A, session._store):
                async with node(world) as relay:
                    warmed = await relay.cache_warm(added.cid, sources=[A])
                    assert warmed.complete
                    assert warmed.held_bytes < warmed.bytes  # equal leaves are held already when they come again
                    again = await relay.cache_warm(added.cid, sources=[A])
                    assert (again.fetched_bytes, again.held_bytes) == (0, again.bytes)
                    plain = CID.of(RAW, some_files()["small/000"])
                    assert relay._store.cache.sizes([plain]) == [None]
        for path in (world.base / "home-b").rglob("*"):
            assert not path.is_file() or b"many words many words" not in path.read_bytes()
            assert not path.is_file() or b"large.bin" not in path.read_bytes()
        async with node(world) as reader:  # the publisher is gone
            await reader.import_key("team", exported)
            await reader.get(added.cid, output=str(tmp_path / "got"))
        assert files_of(tmp_path / "got") == some_files()

    run(work())


def test_clearing(world, data):
    async def work():
        async with world.shared(data) as cid, node(world) as session:
            await session.cache_warm(cid, sources=[A], max_bytes=2 * MIB)
            blocks = (await session.cache_stat()).blocks
            assert (await session.cache_clear()).blocks == blocks > 0
            assert (await session.cache_stat()).blocks == 0

    run(work())
