"""Which transfers a daemon keeps, and as what: those that are over are forgotten in the end, those that run are begun again."""

from __future__ import annotations

import asyncio

import pytest
from transfers import asked, started, states, until

from wherry.daemon import runner as runner_module
from wherry.daemon.requests import Change
from wherry.errors import LimitExceeded
from wherry.store.state import StateDB


@pytest.fixture
def keeper(tmp_path):
    state = StateDB(tmp_path)
    yield state
    state.close()


async def test_old_ones_are_forgotten(keeper, monkeypatch):
    monkeypatch.setattr(runner_module, "TRANSFERS_OVER_MAX", 2)
    monkeypatch.setattr(runner_module, "TRANSFERS_MAX", 3)
    async with started(keeper, most=1) as (runner, _):
        for number in range(5):
            await runner.add(asked(f"/{number}"))
            await runner.act(f"t{number + 1}", "cancel")
        assert [one.id for one in runner.listing()] == ["t5", "t4"]
        assert [number for number, _ in keeper.transfers()] == [4, 5]
        for number in range(3):
            await runner.add(asked(f"/{number}"))
        with pytest.raises(LimitExceeded):
            await runner.add(asked("/9"))


async def test_what_was_over_first_is_forgotten_first_and_nothing_that_still_ends(keeper, monkeypatch):
    monkeypatch.setattr(runner_module, "TRANSFERS_OVER_MAX", 1)
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.01)
    async with started(keeper, most=1) as (runner, get):
        get.slow_end = asyncio.Event()
        for name in "abcd":
            await runner.add(asked(f"/{name}"))
        await until(lambda: get.now == {"/a"})
        await runner.act("t1", "cancel")  # it is over, and what it writes is not
        await runner.act("t3", "cancel")
        await runner.act("t2", "cancel")
        assert states(runner) == {"/a": "cancelled", "/d": "queued"}
        assert get.now == {"/a"}  # its place is not free yet
        get.slow_end.set()
        await until(lambda: get.now == {"/d"})
        assert [number for number, _ in keeper.transfers()] == [1, 4]


async def test_of_two_that_are_over_the_one_that_ended_last_is_kept(keeper, monkeypatch):
    monkeypatch.setattr(runner_module, "TRANSFERS_OVER_MAX", 1)
    async with started(keeper, most=1) as (runner, _):
        for name in "abc":
            await runner.add(asked(f"/{name}"))
        await runner.act("t3", "cancel")
        await runner.act("t2", "cancel")
        assert [number for number, _ in keeper.transfers()] == [1, 2]


async def test_what_runs_while_its_settings_change_is_begun_by_the_next_daemon(keeper):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.now)
        await runner.change("t1", Change(priority=5))
        assert states(runner) == {"/a": "running"}
        killed = keeper.transfers()  # as it is when nobody has time to write
    keeper.put_transfer(*killed[0])
    async with started(keeper) as (runner, get):
        await until(lambda: get.now == {"/a"})
        assert runner.show("t1").priority == 5
