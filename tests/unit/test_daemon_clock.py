"""Transfers that wait for their next try, on a machine whose clock is put forward and back (specs/0027 §5)."""

from __future__ import annotations

import time

import pytest
from transfers import asked, started, states, until

from wherry.daemon import queue, retry
from wherry.daemon.record import Failure, Record
from wherry.errors import UsageError
from wherry.store.state import StateDB
from wherry_cli.showing import _properties

YEARS = 3e8
FAILURE = Failure(error="NoSource", message="gone", hint=None, exit_code=7)


@pytest.fixture
def keeper(tmp_path):
    state = StateDB(tmp_path)
    yield state
    state.close()


def waiting(at):
    return Record(number=1, asked=asked("/a"), failures=2, retry_at=at, failure=FAILURE)


@pytest.mark.parametrize(
    ("ahead", "starts"), [(-1.0, True), (0.0, True), (0.5, False), (retry.PAUSE_S_MAX, False), (901.0, True), (YEARS, True)]
)
def test_a_moment_beyond_the_longest_pause_was_set_by_a_wrong_clock_and_has_passed(ahead, starts):
    one = waiting(1000.0 + ahead)
    assert bool(queue.to_start([one], (), 1, 1000.0)) == starts
    assert queue.next_try([one], 1000.0) == (None if starts else ahead)


async def test_a_transfer_that_failed_while_the_clock_was_ahead_runs_when_it_is_back(keeper):
    keeper.add_transfer(waiting(time.time() + YEARS).to_text())
    async with started(keeper) as (_, get):
        await until(lambda: get.now == {"/a"})


async def test_resuming_one_that_waits_for_its_next_try_lets_it_go(keeper):
    keeper.add_transfer(waiting(1500.0).to_text())
    async with started(keeper, most=1, now=lambda: 1000.0) as (runner, get):
        await runner.add(asked("/b"))
        await until(lambda: get.now == {"/b"})
        assert runner.why("t1").why.current == "resting"
        found = await runner.act("t1", "resume")
        assert (found.state, found.failures, found.retry_at, found.failure) == ("queued", 0, None, None)
        assert runner.why("t1").why.current == "class"
        with pytest.raises(UsageError, match="queued, so it cannot resume"):
            await runner.act("t1", "resume")
        get.end("/b")
        await until(lambda: get.now == {"/a"})
        assert states(runner)["/a"] == "running"


@pytest.mark.parametrize(("ahead", "shown"), [(600.0, "in 10m00s"), (YEARS, "in 0.0s"), (-5.0, "in 0.0s")])
def test_no_longer_wait_is_shown_than_there_is(monkeypatch, ahead, shown):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    one = {
        "id": "t1", "state": "queued", "what": "c", "output": "/o", "traffic_class": "bulk", "priority": 0, "seed": True,
        "sources": [], "added": 1.0, "failure": None, "waits_for": None,
        "bytes_done": 0, "bytes_total": None, "fetched_bytes": 0, "rate": 0.0, "seconds_left": None,
        "sources_alive": 0, "limit_up": None, "limit_down": None, "retry_at": 1000.0 + ahead,
    }  # fmt: skip
    assert ("again", shown) in _properties(one)
