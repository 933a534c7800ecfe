"""Transfers on a loop: queue, pause, resume, cancel, retries, and what is kept; without a network."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
from transfers import Getter, asked, started, states, until

from wherry.daemon import runner as runner_module
from wherry.daemon.requests import Change
from wherry.daemon.runner import Runner, running
from wherry.errors import NoSource, NotFound, PeerBusy, TargetBusy, TargetExists, Unwritable, UsageError
from wherry.limits import CONTROL_STREAMS_MAX
from wherry.observe import Note, Progress
from wherry.results import GetResult
from wherry.store.state import StateDB


@pytest.fixture
def keeper(tmp_path):
    state = StateDB(tmp_path)
    yield state
    state.close()


async def test_transfers_run_in_turn_and_are_seeded_or_complete(keeper):
    events = []
    async with started(keeper, most=1, events=events) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.now == {"/a"})
        await runner.add(asked("/b", seed=False))
        await runner.add(asked("/c", traffic_class="high"))
        assert [one.output for one in runner.listing()] == ["/a", "/c", "/b"]
        assert runner.count() == {"running": 1, "queued": 2}
        get.end("/a")
        await until(lambda: get.now == {"/c"})
        assert states(runner) == {"/a": "seeding", "/b": "queued", "/c": "running"}
        get.end("/c")
        await until(lambda: get.now == {"/b"})
        get.end("/b")
        await until(lambda: states(runner)["/b"] == "complete")
    assert [event.state for event in events][:3] == ["queued", "running", "queued"]
    assert {event.traffic_class for event in events} == {"normal", "high"}


async def test_of_a_target_that_is_whole_already_no_progress_comes_and_its_size_is_told(keeper):
    there = GetResult(cid="c", path="/a", bytes=5_000_000, fetched_bytes=0, seconds=0.1, sources=[])
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.now == {"/a"})
        get.end("/a", result=there)
        await until(lambda: states(runner) == {"/a": "seeding"})
        (report,) = runner.listing()
        assert (report.bytes_done, report.bytes_total, report.fetched_bytes) == (5_000_000, 5_000_000, 0)
    async with started(keeper) as (runner, get):  # also kept
        assert runner.listing()[0].bytes_done == 5_000_000


async def test_what_is_kept_outlives_the_runner_and_goes_on(keeper):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a", priority=3))
        paused = await runner.add(asked("/b"))
        await until(lambda: len(get.now) == 2)
        await runner.act(paused.id, "pause")
        get.observe(Progress(verb="get", phase="fetch", bytes_done=5, bytes_total=10, wire_bytes=5))
    assert get.now == set()
    async with started(keeper) as (runner, get):
        await until(lambda: get.now == {"/a"})
        assert states(runner) == {"/a": "running", "/b": "paused"}
        assert runner.show("t1").priority == 3
        await runner.act("t2", "resume")
        await until(lambda: get.now == {"/a", "/b"})
        assert (await runner.add(asked("/c"))).id == "t3"


async def test_a_record_that_cannot_be_read_is_left_alone(keeper, caplog):
    keeper.add_transfer("nonsense")
    async with started(keeper) as (runner, _):
        assert runner.listing() == []
        assert (await runner.add(asked("/a"))).id == "t2"
    assert "t1 cannot be read" in caplog.text
    assert len(keeper.transfers()) == 2


async def test_pausing_waits_until_nothing_is_written_any_more(keeper):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.now)
        get.slow_end = asyncio.Event()
        pausing = asyncio.create_task(runner.act("t1", "pause"))
        await until(lambda: states(runner)["/a"] == "paused")
        assert not pausing.done()
        resumed = await runner.act("t1", "resume")  # goes on only when the old run has ended
        assert resumed.state == "queued"
        await asyncio.sleep(0.02)
        assert get.runs == ["/a"]
        get.slow_end.set()
        assert (await pausing).state in ("queued", "running")
        await until(lambda: len(get.runs) == 2)
        get.slow_end = None


async def test_pausing_does_not_wait_for_ever(keeper, monkeypatch):
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.05)
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.now)
        get.slow_end = asyncio.Event()
        assert (await runner.act("t1", "pause")).state == "paused"
        assert get.now
        get.slow_end.set()


async def test_what_its_state_does_not_allow_is_refused(keeper):
    async with started(keeper, most=1) as (runner, get):
        await runner.add(asked("/a"))
        await runner.add(asked("/b"))
        with pytest.raises(UsageError, match="is queued, so it cannot resume"):
            await runner.act("t2", "resume")
        assert (await runner.act("t2", "cancel")).state == "cancelled"
        with pytest.raises(UsageError, match="cancelled"):
            await runner.act("t2", "resume")
        await until(lambda: get.now)
        assert (await runner.act("t1", "cancel")).state == "cancelled"
        assert get.now == set()
        for name in ("t9", "9"):
            with pytest.raises(NotFound):
                runner.show(name)
        with pytest.raises(UsageError, match="no name of a transfer"):
            runner.why("../x")


async def test_two_transfers_have_two_targets(keeper):
    async with started(keeper) as (runner, _):
        await runner.add(asked("/a"))
        await runner.add(asked("null:"))
        await runner.add(asked("null:"))
        for path in ("/a", "/a/within", "/"):
            with pytest.raises(TargetBusy, match="t1"):
                await runner.add(asked(path))
        await runner.add(asked("/ab"))
        await runner.act("t1", "cancel")
        await runner.add(asked("/a"))


async def test_a_failure_that_may_pass_is_tried_again_until_the_budget_is_spent(keeper):
    events = []
    async with started(keeper, retries=2, events=events) as (runner, get):
        await runner.add(asked("/a"))
        for run in range(1, 4):
            await until(lambda run=run: len(get.runs) == run and get.ends)
            get.end("/a", NoSource("nobody is there", hint="look"))  # the next may begin before anybody could look
        await until(lambda: states(runner)["/a"] == "failed")
        found = runner.show("t1")
        assert (found.failures, found.retry_at, found.failure.error, found.failure.exit_code) == (3, None, "NoSource", 7)
        assert [event.error for event in events if event.error] == ["NoSource"] * 3
        resumed = await runner.act("t1", "resume")
        assert (resumed.failures, resumed.failure) == (0, None)
        await until(lambda: len(get.runs) == 4 and get.ends)
        get.end("/a", TargetExists("there is one"))
        await until(lambda: states(runner)["/a"] == "failed")


async def test_a_byte_makes_the_budget_whole_again(keeper):
    async with started(keeper, retries=1) as (runner, get):
        await runner.add(asked("/a"))
        for run in range(1, 6):
            await until(lambda run=run: len(get.runs) == run and get.ends)
            get.observe(Progress(verb="get", phase="fetch", bytes_done=run, wire_bytes=1))
            get.end("/a", NoSource("gone"))
        await until(lambda: len(get.runs) == 6)
        assert runner.show("t1").fetched_bytes == 5


async def test_one_that_waits_for_its_next_try_lets_others_by(keeper):
    class Whole(random.Random):
        def random(self):
            return 0.999

    get = Getter()
    runner = Runner(get, keeper, most=1, retries=3, rng=Whole())
    async with running(runner):
        await runner.add(asked("/a"))
        await until(lambda: get.ends)
        get.end("/a", NoSource("gone"))
        await until(lambda: runner.show("t1").retry_at is not None)
        await runner.add(asked("/b"))
        await until(lambda: get.now == {"/b"})
        assert runner.why("t1").why.current == "resting"
        assert "gone" in runner.show("t1").waits_for
        get.end("/b")
        await until(lambda: get.now == {"/a"})


async def test_a_fault_in_the_runner_ends_the_daemon_with_what_it_was(keeper):
    async def run(body):
        async with started(keeper) as (runner, _):
            await body(runner)

    async def faulty(runner):
        runner._start = lambda: 1 / 0
        runner._bell.set()
        await asyncio.Event().wait()

    async def wrong(runner):
        await runner.add(asked("/a"))
        await runner.add(asked("/a"))

    with pytest.raises(ZeroDivisionError):
        await run(faulty)
    with pytest.raises(TargetBusy):
        await run(wrong)


async def test_a_fault_in_one_transfer_ends_that_one_alone(keeper, caplog):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await runner.add(asked("/b"))
        await until(lambda: len(get.ends) == 2)
        get.end("/a", ZeroDivisionError("oh"))
        await until(lambda: states(runner)["/a"] == "failed")
        assert "ZeroDivisionError" in runner.show("t1").failure.message
        assert states(runner)["/b"] == "running"
    assert "Traceback" in caplog.text


async def test_settings_change_and_a_transfer_that_starts_meanwhile_goes_on(keeper):
    gate = threading.Event()

    class Slow(StateDB):
        def put_transfer(self, number, record):
            gate.wait(20)
            super().put_transfer(number, record)

    keeper.__class__ = Slow
    async with started(keeper, most=1) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.ends)
        await runner.add(asked("/b"))
        changing = asyncio.create_task(runner.change("t2", Change(traffic_class="high", limit_down=5)))
        await asyncio.sleep(0.01)
        get.ends["/a"].set_result(None)
        gate.set()
        assert (await changing).traffic_class == "high"
        await until(lambda: get.now == {"/b"})
        assert states(runner)["/b"] == "running"
        assert runner.show("t2").limit_down == 5


async def test_seeding_is_a_setting(keeper):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.ends)
        get.end("/a")
        await until(lambda: states(runner)["/a"] == "seeding")
        assert (await runner.change("t1", Change(seed=False))).state == "complete"
        assert (await runner.change("t1", Change(seed=True))).state == "seeding"
        assert (await runner.act("t1", "cancel")).state == "complete"
        assert runner.why("t1").why.current is None


async def test_a_disk_that_keeps_nothing(keeper, caplog):
    async with started(keeper) as (runner, get):
        await runner.add(asked("/a"))
        await until(lambda: get.ends)

        def full(number, record):
            raise Unwritable("no disk")

        keeper.put_transfer = full
        with pytest.raises(Unwritable):
            await runner.act("t1", "pause")
        assert states(runner)["/a"] == "running"  # what is not kept is not done
        get.end("/a")
        await until(lambda: states(runner)["/a"] == "seeding")
    assert "is not kept" in caplog.text


async def test_the_time_is_booked_by_the_state_and_by_the_run(keeper):
    async with started(keeper, most=1) as (runner, get):
        await runner.add(asked("/a"))
        await runner.add(asked("/b"))
        await until(lambda: get.ends)
        assert runner.why("t1").why.current == "planning"
        assert runner.why("t2").why.current == "class"
        get.entry.ledger.now("moving")  # as the engine does
        get.observe(Progress(verb="get", phase="fetch", wire_bytes=5, sources_alive=2))
        get.observe(Note("warning", "something"))
        assert runner.sources_alive == 2
        assert runner.show("t1").rate > 0
        await runner.act("t1", "pause")
        assert runner.why("t1").why.current == "paused"
        assert {one.reason for one in runner.why("t1").why.spent} == {"class", "planning", "moving", "paused"}


async def test_listeners_hear_each_change_once(keeper):
    async with started(keeper) as (runner, _):
        with runner.news.listening() as listener:
            await runner.add(asked("/a"))
            await runner.add(asked("/b"))
            await until(lambda: runner.count() == {"running": 2})
            assert await listener.heard(10) == [1, 2]
            assert await listener.heard(0.01) == []
            assert runner.shown(1).output == "/a"
            assert runner.shown(7) is None
        listeners = [runner.news.listening() for _ in range(CONTROL_STREAMS_MAX)]
        for one in listeners:
            one.__enter__()
        with pytest.raises(PeerBusy):
            with runner.news.listening():
                pass
        for one in listeners:
            one.__exit__(None, None, None)
