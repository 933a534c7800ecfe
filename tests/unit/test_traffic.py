"""The flows of a node on real loops and threads: leave, giving back, giving up, changes, reports (specs/0026 §5)."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from wherry.errors import UsageError
from wherry.flow import FREE
from wherry.limits import FLOW_TRANSFERS_MAX
from wherry.traffic import SERVING, ClassPlan, Pair, Plan, Row, Traffic
from wherry.traffic import traffic as traffic_module

MB = 1e6


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 0.0
        self.wall = datetime(2026, 11, 30, 7, 59, 59, tzinfo=UTC)

    def __call__(self):
        return self.now


def made(plan, clock=None):
    clock = clock or Clock()
    return Traffic(plan, clock=clock, wall=lambda: clock.wall), clock


async def test_nothing_is_asked_without_limits():
    for flow in (FREE, Traffic().flow("t")):
        assert not flow.limited
        assert flow.up_now(1 << 40) == 1 << 40
        await asyncio.wait_for(asyncio.gather(flow.up(1 << 40), flow.down(1 << 40), flow.down(0)), 5)
        assert flow.waiting("up") is None
        assert not any(flow.waited("down").values())
        assert flow.up_piece == flow.down_piece == 1 << 30
        flow.unused(5)
        flow.sampled(0.1, lost=True)
        flow.of_peer("192.0.2.1").moved(up=10, down=20)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(node=Pair(up=MB)), Plan(transfer=Pair(down=MB)), Plan(peer=Pair(up=MB)),
        Plan(timetable=(Row.parse("mon 08:00-09:00 up 1 MB/s"),)),
        replace(Plan(), classes={**Plan().classes, "normal": ClassPlan(limit=Pair(up=MB))}),
    ],
)  # fmt: skip
def test_a_limit_anywhere_on_the_way_is_a_limit(plan):
    flow = Traffic(plan).flow("t")
    assert flow.limited
    assert flow.of_peer("192.0.2.1").limited


def test_background_traffic_is_always_asked_about():
    traffic = Traffic()
    assert traffic.flow("b", "bulk").limited
    traffic.move("b", "high")
    assert not traffic.flow("b").limited


async def test_who_waits_is_let_go_at_the_rate():
    traffic = Traffic(Plan(node=Pair(down=20 * MB)))
    flow, loop = traffic.flow("t"), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(12):
        await flow.down(MB)
    seconds = loop.time() - began
    assert seconds >= (12 - 4.25) / 20  # a full bucket, and then the rate: never faster; slower as the machine is
    assert flow.waited("down")["limited"] > 0
    assert traffic.report().node.down.bytes == 12 * MB


async def test_who_gives_up_has_taken_nothing():
    traffic = Traffic(Plan(node=Pair(up=10_000)))
    flow = traffic.flow("t")
    waiting = asyncio.create_task(flow.up(1_000_000))
    await asyncio.sleep(0.02)
    assert flow.waiting("up") == "limited"
    assert traffic.report().node.up.waiting == 1
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert flow.waiting("up") is None
    assert traffic.report().node.up.bytes == 0
    await asyncio.wait_for(flow.up(1000), 5)
    assert traffic._ways["up"]._waiters == traffic._ways["up"]._timers == {}


async def test_a_change_wakes_those_who_wait():
    traffic = Traffic(Plan(node=Pair(up=1000, down=1000)))
    waiting = [asyncio.create_task(traffic.flow("t").up(1 << 30)), asyncio.create_task(traffic.flow("u").down(1 << 30))]
    await asyncio.sleep(0.02)
    traffic.set(Plan())
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert not traffic.flow("t").limited


async def test_a_change_in_another_thread_wakes_too():
    traffic = Traffic(Plan(transfer=Pair(up=1000)))
    waiting = asyncio.create_task(traffic.flow("t").up(1 << 30))
    await asyncio.sleep(0.02)
    await asyncio.to_thread(traffic.limit, "t", Pair())
    await asyncio.wait_for(waiting, 10)
    traffic.limit("t", None)
    assert traffic.report().transfers[0].up.limit == 1000


async def test_a_transfer_that_ends_lets_go_and_is_forgotten():
    traffic = Traffic(Plan(node=Pair(up=1000)))
    flow = traffic.flow("t")
    waiting = asyncio.create_task(flow.of_peer("192.0.2.1").up(1 << 30))
    await asyncio.sleep(0.02)
    traffic.end("t")
    traffic.end("t")
    await asyncio.wait_for(waiting, 10)
    assert traffic.report().transfers == ()
    flow.moved(up=10)
    assert traffic.report().transfers == ()


async def test_two_loops_share_one_link():
    traffic = Traffic(Plan(node=Pair(up=20 * MB)))
    done = []

    def elsewhere():
        async def work():
            for _ in range(10):
                await traffic.flow("there").up(100_000)

        asyncio.run(asyncio.wait_for(work(), 20))
        done.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    for _ in range(30):
        await asyncio.wait_for(traffic.flow("here").up(200_000), 20)
    await asyncio.to_thread(thread.join)
    assert done
    assert traffic.report().node.up.bytes == 7_000_000


async def test_many_threads_never_take_more_than_there_is():
    traffic, clock = made(Plan(node=Pair(up=10 * MB)))
    taken = []

    def work():
        flow = traffic.flow(SERVING).of_peer("192.0.2.1")
        while got := flow.up_now(10_000):
            taken.append(got)

    await asyncio.gather(*[asyncio.to_thread(work) for _ in range(4)])
    assert 2 * MB <= sum(taken) <= 2.125 * MB + 40_000
    clock.now = 0.05
    assert traffic.flow(SERVING).up_now(10_000) == 10_000


async def test_leave_given_back_is_there_for_others():
    traffic, _ = made(Plan(node=Pair(up=MB)))
    flow = traffic.flow("t")
    while got := flow.up_now(50_000):
        last = got
    flow.unused(last)
    flow.unused(100_000)
    assert flow.up_now(50_000) > 0
    flow.unused(0)


def test_a_timetable_edge_is_obeyed_both_ways():
    row = Row.parse("mon-fri 08:00-18:00 up 1 MB/s down none")
    traffic, clock = made(Plan(node=Pair(up=8 * MB, down=3 * MB), timetable=(row,)))
    limits = []
    for wall in ((7, 59, 59), (8, 0, 0), (17, 59, 59), (18, 0, 0)):
        clock.now += 2
        clock.wall = datetime(2026, 11, 30, *wall, tzinfo=UTC)
        node = traffic.report().node
        limits.append((node.up.limit, node.down.limit))
    assert limits == [(8 * MB, 3 * MB), (MB, None), (MB, None), (8 * MB, 3 * MB)]
    assert traffic_module.local_time().tzinfo is not None


def test_pieces_follow_the_narrowest_limit():
    traffic, _ = made(Plan(node=Pair(up=100 * MB, down=100 * MB), transfer=Pair(up=MB), peer=Pair(down=10 * MB)))
    flow = traffic.flow("t")
    assert flow.up_piece == 25_000
    assert flow.down_piece == 20 * MB
    assert flow.of_peer("192.0.2.1").down_piece == 2 * MB


async def test_what_may_be_asked_for_at_once_is_shared_with_all_that_wait():
    traffic, _ = made(Plan(node=Pair(down=100 * MB), transfer=Pair(down=50 * MB)))
    flow, others = traffic.flow("t"), [traffic.flow(f"other {number}") for number in range(9)]
    assert flow.down_piece == 10 * MB
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(one.down(100_000_000)) for one in [flow, flow, *others]]
        await asyncio.sleep(0)
        assert flow.waiting("down")
        assert flow.down_piece == 2 * MB  # of 20: its own requests take nothing from it
        for task in waiting:
            task.cancel()
    assert flow.down_piece == 10 * MB


def test_delays_slow_down_background_traffic_only():
    traffic, clock = made(None)
    flow, plain = traffic.flow("b", "bulk").of_peer("192.0.2.1"), traffic.flow("n").of_peer("192.0.2.1")
    for n in range(20):
        clock.now += 0.05
        for one in (flow, plain):
            one.moved(up=100_000)
            one.sampled(0.05 + 0.02 * n, lost=n == 19)
    peers = {one.name: one.peers[0].up.limit for one in traffic.report().transfers}
    assert peers["n"] is None
    assert 2 * 1448 <= peers["b"] < 1e7
    traffic.move("b", "normal")
    assert traffic.report().transfers[0].peers[0].up.limit is None


def test_the_report_tells_every_level():
    traffic, clock = made(Plan(node=Pair(down=5 * MB)))
    traffic.flow("one", "high").of_peer("192.0.2.1").moved(up=1000, down=2000)
    clock.now = 1.0
    report = traffic.report()
    assert [one.name for one in report.classes] == ["interactive", "high", "normal", "bulk"]
    assert report.node.down.limit == 5 * MB
    (one,) = report.transfers
    assert (one.name, one.klass, one.up.bytes, one.down.bytes) == ("one", "high", 1000, 2000)
    assert one.peers[0].name == "192.0.2.1"
    assert report.classes[1].down.rate > 0
    assert report.to_json()["transfers"][0]["waited_down"] == {"limited": 0.0, "class": 0.0}


def test_what_is_no_class_or_no_transfer():
    traffic = Traffic()
    with pytest.raises(UsageError, match="no class 'slow'"):
        traffic.flow("t", "slow")
    traffic.flow("t")
    with pytest.raises(UsageError, match="no class"):
        traffic.move("t", "slow")
    with pytest.raises(UsageError, match="no transfer"):
        traffic.limit("u", Pair(up=MB))
    with pytest.raises(UsageError, match="below"):
        traffic.limit("t", Pair(up=1))


def test_transfers_are_bounded():
    traffic = Traffic()
    for n in range(FLOW_TRANSFERS_MAX):
        traffic.flow(str(n))
    with pytest.raises(UsageError, match="more than"):
        traffic.flow("one more")


async def test_a_limit_of_one_peer_holds_for_it_alone_and_may_change():
    traffic, _ = made(Plan(peers={"192.0.2.1": Pair(up=MB)}))
    flow = traffic.flow("t")
    one, other = flow.of_peer("192.0.2.1"), flow.of_peer("192.0.2.2")
    assert one.limited
    assert not other.limited
    assert flow.limited  # it may be used for any of them
    assert other.up_now(1 << 30) == 1 << 30
    assert 0 < one.up_now(1 << 30) <= 0.2 * MB
    waiting = asyncio.create_task(traffic.flow("u").of_peer("192.0.2.1").up(1 << 30))  # the same peer, in whatever transfer
    await asyncio.sleep(0)
    limits = {peer.name: peer.up.limit for transfer in traffic.report().transfers for peer in transfer.peers}
    assert limits == {"192.0.2.1": MB, "192.0.2.2": None}
    traffic.set(Plan())
    await asyncio.wait_for(waiting, 5)
    assert not one.limited
    assert {peer.up.limit for transfer in traffic.report().transfers for peer in transfer.peers} == {None}


def test_pieces_follow_the_limit_of_the_peer():
    traffic, _ = made(Plan(peers={"192.0.2.1": Pair(down=MB)}, peer=Pair(down=10 * MB)))
    flow = traffic.flow("t")
    assert flow.of_peer("192.0.2.1").down_piece == 0.2 * MB
    assert flow.of_peer("192.0.2.2").down_piece == 2 * MB
