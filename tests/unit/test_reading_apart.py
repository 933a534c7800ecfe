"""Readings that lack a block end with its name, whatever their reader does by then."""

from __future__ import annotations

import asyncio
import random

import pytest
from getting import A
from unixfs_dags import Dag, offered

from wherry.errors import NotFound

LEAF = 32 << 10
DATA = random.Random(2).randbytes(20 * LEAF + 1)


@pytest.mark.parametrize("think_s", [0, 0.1])
async def test_a_reading_that_lacks_a_block_ends_with_its_name_wherever_the_reader_is(world, think_s):
    dag = Dag()
    leaves = [dag.raw(piece) for piece in [DATA[at : at + LEAF] for at in range(0, len(DATA), LEAF)]]
    what = str(dag.directory([("file", dag.file(leaves))])[0])
    lost = leaves[9][0]  # behind those that are read ahead of the first
    del dag.blocks[lost.block()]
    read = []

    async def reading(session):
        async for piece in session.cat(f"{what}/file", sources=[A]):
            read.append(piece)
            await asyncio.sleep(think_s)

    async with offered(world, dag), world.node() as session:
        with pytest.raises(NotFound, match=str(lost)):
            await reading(session)
    assert DATA.startswith(b"".join(read))
    assert asyncio.current_task().cancelling() == 0


async def test_a_listing_that_lacks_a_block_ends_with_its_name(world):
    dag = Dag()
    entries = [(f"file {number}", dag.leaf(b"%d" % number)) for number in range(300)]
    what = str(dag.directory(entries)[0])
    lost = entries[200][1][0]
    del dag.blocks[lost.block()]

    async def reading(session):
        async for _ in session.ls(what, sources=[A]):
            await asyncio.sleep(0.01)

    async with offered(world, dag), world.node() as session:
        with pytest.raises(NotFound, match=str(lost)):
            await reading(session)
