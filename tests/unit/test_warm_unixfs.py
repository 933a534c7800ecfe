"""`cache warm` of UnixFS, whose directories say no sizes that are sure (specs/0005 §7)."""

from __future__ import annotations

import asyncio
import random
import shutil

import pytest
from getting import MIB, A, write
from unixfs_dags import Dag, offered
from warming import files_of, node, some_files

from wherry.cid import RAW
from wherry.errors import NoSpace, UsageError
from wherry.publiccid import PublicCID
from wherry.testing.memory import MemoryTransport


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data", some_files())


def run(work):
    return asyncio.run(work)


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
