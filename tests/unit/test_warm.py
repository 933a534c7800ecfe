"""`cache warm`: a dataset comes into the cache in batches, once, in order, and can be served from there."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import asynccontextmanager, nullcontext

import pytest
from getting import MIB, A, write
from unixfs_dags import Dag, offered

from wherry.abc.transport import Arrival, Laid
from wherry.block import named
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import BlockNotFound, NoSource, NoSpace, UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.publiccid import PublicCID
from wherry.session import Encryption, Session
from wherry.testing.memory import MemoryOptions, MemoryTransport
from wherry.transfer.warm import KeepJob, Wanted


def some_files():
    rng = random.Random(7)
    return {
        "large.bin": rng.randbytes(9 * MIB + 5),
        "text/a.txt": b"many words " * 300_000,
        "text/same.txt": b"many words " * 300_000,
        "zeros": bytes(3 * MIB),
        "empty": b"",
        **{f"small/{number:03}": rng.randbytes(rng.randint(1, 5000)) for number in range(200)},
    }


def files_of(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


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


@asynccontextmanager
async def node(world, name="b", **overrides):
    options = {"cache.use": "disk", **overrides}
    async with Session.open(home=world.base / f"home-{name}", environ={}, overrides=options) as session:
        session._wiring.transport = world.transport
        yield session


def run(work):
    return asyncio.run(work)


def test_it_brings_all_into_the_cache_and_a_third_node_gets_it_from_there(world, data, tmp_path):
    async def work():
        async with world.shared(data) as cid:
            async with node(world) as session:
                warmed = await session.cache_warm(cid, sources=[A])
                total = sum(len(content) for content in some_files().values())
                assert (warmed.bytes, warmed.held_bytes, warmed.complete) == (total, 0, True)
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


# UnixFS


def test_the_unixfs_twin_of_a_dataset_comes_into_the_cache_and_is_served_from_there(world, data, tmp_path):
    async def work():
        async with node(world, "a") as there, MemoryTransport(world.network).listen(A, there._store):
            cid = (await there.add(str(data))).unixfs_cid
            async with node(world) as session:
                seen = []
                warmed = await session.cache_warm(cid, sources=[A], observe=seen.append)
                assert (warmed.bytes, warmed.complete) == (sum(map(len, some_files().values())), True)
                assert seen[-1].bytes_total is None  # nothing says it beforehand
                again = await session.cache_warm(cid)
                assert (again.held_bytes, again.fetched_bytes) == (warmed.bytes, 0)
                part = await session.cache_warm(cid, max_bytes=5 * MIB)
                assert (part.complete, part.bytes <= 5 * MIB) == (False, True)
        shutil.rmtree(data)
        async with node(world) as session, MemoryTransport(world.network).listen("memory://b", session._store):
            async with node(world, "c") as third:
                await third.get(cid, sources=["memory://b"], output=str(tmp_path / "got"))
        assert files_of(tmp_path / "got") == some_files()

    run(work())


def test_leaves_in_dag_pb_links_that_lie_and_names_that_hold_bytes(world, tmp_path):
    rng = random.Random(3)
    dag = Dag(version=0)
    leaves = [dag.leaf(rng.randbytes(200_000)) for _ in range(30)]
    raw = dag.raw(b"x" * 5000)
    lying = (raw[0], raw[1], 17)
    inline = (PublicCID.inlined(RAW, b"in the name"), 11, 11)
    nested = dag.file([dag.file(leaves[:15]), dag.file(leaves[15:])], inline=b"first bytes")
    root = dag.directory([("a", lying), ("b", nested), ("c", dag.leaf(b"small")), ("d", inline), ("e", dag.raw(b""))])

    async def work():
        async with offered(world, dag):
            async with node(world) as session:
                warmed = await session.cache_warm(str(root[0]), sources=[A])
                assert warmed.complete
                assert warmed.bytes > 30 * 200_000 + 5000
                one = await session.cache_warm(str(PublicCID.inlined(RAW, b"alone")))
                assert (one.bytes, one.fetched_bytes) == (5, 0)
                with pytest.raises(UsageError, match="without a path"):
                    await session.cache_warm(f"{root[0]}/a", sources=[A])
        async with node(world) as session:  # nobody else is there any more
            await session.get(str(root[0]), output=str(tmp_path / "got"))
        found = files_of(tmp_path / "got")
        assert (found["a"], found["c"], found["d"], found["e"]) == (b"x" * 5000, b"small", b"in the name", b"")
        assert found["b"] == dag.read(nested)

    run(work())


def test_more_of_unixfs_than_the_cache_keeps_ends_when_it_forgets_the_beginning(world, data):
    async def work():
        async with node(world, "a") as there, MemoryTransport(world.network).listen(A, there._store):
            cid = (await there.add(str(data))).unixfs_cid
            async with node(world, **{"cache.disk.max_bytes": "5MiB"}) as session:
                with pytest.raises(NoSpace, match="does not keep all"):
                    await session.cache_warm(cid, sources=[A])

    run(work())
