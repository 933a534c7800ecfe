"""Verbs that wait for buffers leave the loop's threads to whoever holds the buffers, and needs one to give them back."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from wherry.offload import in_thread

_THREADS = 2  # of the loop


async def verifies(session, tree):
    cid = (await session.add(str(tree))).cid
    return [lambda: session.verify(cid, str(tree))]


async def compares_targets(session, tree):
    cid = (await session.add(str(tree))).cid
    targets = [tree.with_name(f"there-{number}") for number in range(_THREADS)]
    for target in targets:
        shutil.copytree(tree, target, symlinks=True)
    return [lambda target=target: session.get(cid, output=str(target)) for target in targets]


async def adds(session, tree):
    return [lambda: session.add(str(tree))] * _THREADS


@pytest.mark.parametrize("prepare", [verifies, compares_targets, adds])
async def test_who_waits_for_a_buffer_keeps_no_thread_from_who_gives_it_back(world, large, prepare):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))  # named otherwise than asyncio's: the wait itself is looked at
    async with world.node() as session:
        verbs = await prepare(session, large)
        pool = session._wiring.pool
        held = [await pool.lend() for _ in range(pool.count)]
        running = [asyncio.create_task(verb()) for verb in verbs]
        await asyncio.sleep(0.3)  # they wait by now
        try:
            assert not any(task.done() for task in running)
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.shield(asyncio.gather(*[in_thread(buffer.release) for buffer in held]))
                    held.clear()
            assert not held, "nobody can give a buffer back"
        finally:
            for buffer in held:
                buffer.release()
            await asyncio.gather(*running)
