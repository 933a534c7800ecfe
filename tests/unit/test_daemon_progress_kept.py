"""What is on the disk of a transfer that runs: a daemon that is killed, or ended, forgets little of what it counted."""

from __future__ import annotations

import asyncio
import random

import pytest

from wherry.daemon import runner as runner_module
from wherry.daemon.record import Asked, Record
from wherry.daemon.runner import Runner, running
from wherry.daemon.states import after
from wherry.errors import StoreError, UsageError
from wherry.observe import Progress
from wherry.store.state import StateDB

FAR = Progress(verb="get", phase="fetch", bytes_done=500, bytes_total=1000, wire_bytes=400)


class Disk(StateDB):
    """A state.db that may be full."""

    full = False

    def put_transfers(self, records):
        if self.full:
            raise StoreError("no space")
        super().put_transfers(records)


@pytest.fixture
def keeper(tmp_path):
    state = Disk(tmp_path)
    yield state
    state.close()


def kept(keeper):
    """What a daemon that was started now would find."""
    ((number, text),) = keeper.transfers()
    record = Record.of_text(number, text)
    return record.state, record.bytes_done, record.fetched_bytes


async def fetches(entry, observe):
    observe(FAR)
    await asyncio.sleep(3600)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def test_how_far_one_is_outlives_a_daemon_that_is_killed(keeper, monkeypatch):
    monkeypatch.setattr(runner_module, "KEEP_S", 0.01)
    keeper.full = True
    runner = Runner(fetches, keeper, most=1, retries=3, rng=random.Random(1))
    async with running(runner):
        await runner.add(Asked(what="c", output="/a"))
        await until(lambda: runner.show("t1").fetched_bytes == 400)
        await asyncio.sleep(0.05)
        assert kept(keeper) == ("queued", 0, 0)
        keeper.full = False  # it is tried again
        await until(lambda: kept(keeper) == ("queued", 500, 400))
        assert runner.show("t1").state == "running"


async def test_how_far_one_is_is_written_when_the_daemon_ends_and_counted_on(keeper):
    for run in (1, 2):
        runner = Runner(fetches, keeper, most=1, retries=3, rng=random.Random(1))
        async with running(runner):
            if run == 1:
                await runner.add(Asked(what="c", output="/a"))
            await until(lambda: runner.show("t1").fetched_bytes == 400 * run)  # noqa: B023 - it is awaited here
        assert kept(keeper) == ("queued", 500, 400 * run)


def test_of_one_that_seeds_it_is_said_how_to_end_it():
    with pytest.raises(UsageError, match="is seeding, so it cannot pause") as problem:
        after("seeding", "pause", "t7")
    assert "`wherry transfers cancel t7`" in problem.value.hint
