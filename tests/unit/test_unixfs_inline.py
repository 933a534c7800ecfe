"""Files of UnixFS that CIDs carry, alone and beside blocks: nobody has what is in a name as a block (specs/0002 §8)."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from getting import A
from unixfs_dags import Dag, offered

from wherry.cid import DAG_PB, RAW
from wherry.dagpb import PBNode
from wherry.dagpb import encode as encode_node
from wherry.publiccid import PublicCID
from wherry.unixfs.data import FILE, Data, encode

KIB = 1 << 10


def inlined(data):
    """A leaf in a name, as `Dag` gives links."""
    return PublicCID.inlined(RAW, data), len(data), len(data)


def wrapped(data):
    """The same as dag-pb, where leaves are not raw."""
    block = encode_node(PBNode((), encode(Data(FILE, data, len(data)))))
    return PublicCID.inlined(DAG_PB, block), len(data), len(block)


async def all_of(generator):
    async with aclosing(generator) as items:
        return b"".join([item async for item in items])


@pytest.mark.parametrize("tail", [inlined, wrapped])
@pytest.mark.parametrize("leaves", [[b"AAA"], [b"A" * 256 * KIB, b"B" * 256 * KIB], [b"C" * 1024 * KIB] * 5])
async def test_a_file_whose_last_leaf_is_in_a_name(world, tmp_path, tail, leaves):
    dag = Dag()
    file = dag.file([*map(dag.raw, leaves), tail(b"tail")])
    what, data = str(dag.directory([("file", file), ("other", dag.raw(b"other"))])[0]), b"".join(leaves) + b"tail"
    copy, again = tmp_path / "copy", tmp_path / "again"
    async with world.node() as session:
        async with offered(world, dag):
            await session.get(what, sources=[A], output=str(copy))
        assert (copy / "file").read_bytes() == data
        assert (copy / "other").read_bytes() == b"other"
        assert (await session.verify(what, str(copy))).ok
        assert (await session.get(what, output=str(copy))).fetched_bytes == 0
        await session.get(what, output=str(again))  # from what is here alone
        assert (again / "file").read_bytes() == data
        assert await all_of(session.cat(f"{what}/file")) == data


@pytest.mark.parametrize("tail", [inlined, wrapped])
async def test_nothing_is_kept_and_all_is_verified_where_a_leaf_is_in_a_name(world, tail):
    dag = Dag()
    what = str(dag.file([dag.raw(b"AAA"), tail(b"tail")])[0])
    async with offered(world, dag), world.node() as session:
        assert (await session.get(what, sources=[A], output="null:")).bytes == 7


@pytest.mark.parametrize("link", [inlined, wrapped])
async def test_a_path_that_ends_in_a_name(world, tmp_path, link):
    dag = Dag()
    inner = dag.directory([("i", link(b"hello"))])
    what = f"{dag.directory([('inner', inner)])[0]}/inner/i"
    async with offered(world, dag), world.node() as session:
        assert await all_of(session.cat(what, sources=[A])) == b"hello"
    async with world.node("c") as session:
        async with offered(world, dag):
            await session.get(what, sources=[A], output=str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == b"hello"
        assert (await session.stat(what)).bytes == 5
        assert await all_of(session.cat(what)) == b"hello"
        assert (await session.verify(what, str(tmp_path / "copy"))).ok


@pytest.mark.parametrize("link", [inlined, wrapped])
async def test_a_path_in_a_sharded_directory_that_ends_in_a_name(world, link):
    dag = Dag()
    entries = [(f"file {number}", dag.raw(b"%d" % number)) for number in range(700)]
    what = f"{dag.shard([*entries, ('i', link(b'hello'))])[0]}/i"
    async with offered(world, dag), world.node() as session:
        assert await all_of(session.cat(what, sources=[A])) == b"hello"
