"""What is sent is charged to the transfer that gives it on, and to its class: shares and turns hold for it (specs/0026 §5)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from links import ROOT, Listens, World, cid, have

from wherry.env import Env
from wherry.links import Trips
from wherry.swarm.options import SwarmOptions
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry.traffic import SERVING, ClassPlan, Pair, Plan, Traffic
from wherry.traffic.traffic import TransferFlow
from wherry.units import MiB
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport

MB = 1_000_000
OTHER = cid(1_000_000)
FILES = [file_of(f"file {number}", *[100_000] * 12) for number in range(3)]


class Charging:
    """A source in which each file belongs to a transfer, or to none."""

    def __init__(self, *flows):
        self._parts = [(source_of(file), flow) for file, flow in zip(FILES, flows, strict=True)]

    def find(self, cids):
        found = [None] * len(cids)
        for source, flow in self._parts:
            for number, held in enumerate(source.find(cids)):
                if held is not None:
                    held.flow = flow
                    found[number] = held
        return found


@asynccontextmanager
async def serving(scheme, traffic, flows, home):
    flow = traffic.flow()
    if scheme == "http":
        transport, other = HttpTransport(HttpOptions(), flow=flow), HttpTransport(HttpOptions())
    else:
        transport, other = TcpTransport(TcpOptions(), Env(home, {}, flow=flow)), TcpTransport(TcpOptions(), Env(home, {}))
    async with transport.listen(f"{scheme}://127.0.0.1:0", Charging(*flows)) as address:
        yield lambda: other.connect(address)


async def fetch(connect, file, rounds=1):
    async with connect() as channel:
        for _ in range(rounds):
            right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_each_answer_is_charged_to_the_transfer_that_has_it(scheme, tmp_path):
    traffic = Traffic()
    flows = (traffic.flow("t1", "high"), None, traffic.flow("t2", "bulk"))
    async with serving(scheme, traffic, flows, tmp_path) as connect:
        async with connect() as channel:  # one connection, by turns
            for file in FILES:
                right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)
    report = traffic.report()
    sent = {transfer.name: transfer.up.bytes for transfer in report.transfers}
    for name in ("t1", SERVING, "t2"):
        assert 1_200_000 <= sent[name] <= 1_210_000
    assert [one.up.bytes for one in report.classes if one.name == "interactive"] == [0]
    assert {peer.name for transfer in report.transfers for peer in transfer.peers} == {"127.0.0.1"}
    assert sum(sent.values()) == report.node.up.bytes


async def sent_while(traffic, size):
    """Gives what each transfer sends while all send so much."""
    before = {one.name: one.up.bytes for one in traffic.report().transfers}
    end = traffic.report().node.up.bytes + size
    while traffic.report().node.up.bytes < end:
        await asyncio.sleep(0.02)
    return {one.name: one.up.bytes - before[one.name] for one in traffic.report().transfers}


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_classes_share_what_is_sent_by_their_weights_and_transfers_in_one_equally(scheme, tmp_path):
    plan = Plan(node=Pair(up=2 * MB))
    plan = replace(plan, classes={**plan.classes, "bulk": ClassPlan(share=20), "high": ClassPlan(share=20)})
    traffic = Traffic(plan)
    flows = (traffic.flow("a", "high"), traffic.flow("b", "bulk"), traffic.flow("c", "bulk"))
    async with serving(scheme, traffic, flows, tmp_path) as connect:
        tasks = [asyncio.create_task(fetch(connect, file, rounds=25)) for file in FILES]
        while min(one.up.bytes for one in traffic.report().transfers if one.name != SERVING) < 0.4 * MB:
            await asyncio.sleep(0.02)  # the full buckets of the beginning, and who comes a little later, are over
        for _ in range(3):  # who asks for nothing, in a pause of the machine, is given nothing: then the next stretch tells
            sent = await sent_while(traffic, 6 * MB)
            if sent["a"] == pytest.approx(0.5 * sum(sent.values()), rel=0.1) and sent["b"] == pytest.approx(sent["c"], rel=0.2):
                break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert sent["a"] == pytest.approx(0.5 * sum(sent.values()), rel=0.1)
    assert sent["b"] == pytest.approx(sent["c"], rel=0.2)


async def test_a_limit_of_a_transfer_holds_for_what_it_gives_on(tmp_path):
    traffic = Traffic()
    flows = (traffic.flow("t1"), traffic.flow("t2"), None)
    traffic.limit("t1", Pair(up=2 * MB))
    async with serving("tcp", traffic, flows, tmp_path) as connect:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await fetch(connect, FILES[0])
        assert loop.time() - began >= (1.2 * MB - 0.2125 * 2 * MB) / (2 * MB)
        await fetch(connect, FILES[1])
    waited = {one.name: one.waited_up["limited"] for one in traffic.report().transfers}
    assert waited["t1"] > 0
    assert not waited["t2"]
    assert not waited[SERVING]


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_a_limit_of_one_peer_holds_for_all_that_it_is_sent_and_may_change(scheme, tmp_path):
    traffic = Traffic(Plan(peers={"127.0.0.1": Pair(up=2 * MB), "192.0.2.1": Pair(up=1000)}))
    flows = (traffic.flow("t1"), traffic.flow("t2"), None)
    async with serving(scheme, traffic, flows, tmp_path) as connect:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(fetch(connect, FILES[0]), fetch(connect, FILES[1]))
        assert loop.time() - began >= (2.4 * MB - 0.2125 * 2 * MB) / (2 * MB)
        waiting = asyncio.create_task(fetch(connect, FILES[2], rounds=20))
        while not traffic.report().node.up.waiting:
            await asyncio.sleep(0.01)
        traffic.set(Plan())
        await asyncio.wait_for(waiting, 8)  # it would take twelve seconds


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_a_background_transfer_follows_the_delay_of_the_way_and_others_do_not(scheme, tmp_path):
    traffic = Traffic(Plan(node=Pair(up=1000 * MB)))
    flows = (traffic.flow("t1", "bulk"), traffic.flow("t2", "high"), None)
    async with serving(scheme, traffic, flows, tmp_path) as connect:
        for file in FILES[:2]:
            await fetch(connect, file, rounds=2)
    limits = {transfer.name: [peer.up.limit for peer in transfer.peers] for transfer in traffic.report().transfers}
    assert limits["t2"] == [None]
    assert limits["t1"][0] is not None  # the kernel told how long the way is


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_what_was_lost_before_is_no_loss_of_this_answer(scheme, tmp_path, monkeypatch):
    heard = []
    for module in ("wherry_tcp.sender", "wherry_http.sending"):
        monkeypatch.setattr(f"{module}.trips", lambda _socket: Trips(0.02, 7))
    traffic = Traffic()
    flow = traffic.flow("t1", "bulk")
    sampled = TransferFlow.sampled

    def note(self, delay_s, *, lost=False, way="up"):
        heard.append(lost)
        sampled(self, delay_s, lost=lost, way=way)

    monkeypatch.setattr(TransferFlow, "sampled", note)
    async with serving(scheme, traffic, (flow, None, None), tmp_path) as connect:
        await fetch(connect, FILES[0], rounds=3)
    assert len(heard) >= 3
    assert sum(heard) <= 1


# Slots


def test_a_slow_class_holds_no_slot_of_another():
    traffic = Traffic()
    world = World(held={OTHER: (64 * MiB, True)}, flow=traffic.flow(klass="bulk"))
    world.swarm.enter(ROOT, 64 * MiB, have(*range(32)), Listens(), traffic.flow("t1", "high"))
    bulk = [world.meet(number) for number in range(1, 9)]
    for link in bulk:
        link.peer.follows(OTHER)
        for request in range(4):
            link.peer.asked(request, [cid(request)])
    slots = SwarmOptions().slots
    assert sum(len(link.answering) for link in bulk) == slots
    high = world.meet(20)
    high.peer.follows(ROOT)
    for request in range(8):
        high.peer.asked(request, [cid(request)])
    assert len(high.answering) == slots  # all of its class, and none was taken from the other
    assert sum(len(link.answering) for link in bulk) == slots
    high.answered()
    assert len(high.answering) == slots


def test_the_class_of_a_download_may_change_while_it_gives():
    traffic = Traffic()
    world = World(flow=traffic.flow())
    entry = world.swarm.enter(ROOT, 64 * MiB, have(*range(32)), Listens(), traffic.flow("t1", "bulk"))
    link = world.meet()
    link.peer.follows(ROOT)
    link.peer.asked(0, [cid(0)])
    (neighbour,) = world.swarm._neighbours.values()
    assert neighbour.line.urgency == 3
    traffic.move("t1", "interactive")
    link.peer.asked(1, [cid(1)])
    assert neighbour.line.urgency == 3  # as long as it is served
    link.answered()
    link.answered()
    link.peer.asked(2, [cid(2)])
    assert neighbour.line.urgency == 0
    link.answered()
    entry.leave()
    link.peer.asked(3, [cid(3)])
    assert neighbour.line.urgency == 2
