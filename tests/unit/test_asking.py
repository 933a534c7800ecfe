"""What a get holds while it waits for a limited link, and one job that two sources bring (specs/0013)."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.flow import Flow
from wherry.manifest import PLAIN
from wherry.transfer import flights
from wherry.transfer.fetch import Fetcher
from wherry.transfer.jobs import LeafJob
from wherry.transfer.running import running
from wherry.transfer.sink import Piece, Sink, Slot

LEAF = bytes(100)
JOBS = 12


class Narrow(Flow):
    """A link that gives leave to one after the other, when it is told to."""

    limited = True

    def __init__(self):
        self.waiting_now = self.most = 0
        self.leave = asyncio.Semaphore(0)

    async def down(self, count):
        self.waiting_now += 1
        self.most = max(self.most, self.waiting_now)
        try:
            await self.leave.acquire()
        finally:
            self.waiting_now -= 1


class Giving(Channel):
    parallel = 8

    async def fetch(self, wants, lender):
        buffer = await lender.lend()
        buffer.view[ROOM : ROOM + len(LEAF)] = LEAF
        arrival = Arrival(buffer, [Laid(0, ROOM, ROOM + len(LEAF))])
        lender.settle(arrival)
        yield arrival


class Named(Channel):
    """A source that knows which of several it is."""

    parallel = 1

    def __init__(self, address):
        self.address = address


async def test_a_get_that_waits_for_its_link_holds_few_jobs_and_asks_for_leave_once():
    @asynccontextmanager
    async def connect(_address):
        yield Giving()

    cid, sink, flow = CID.of(RAW, LEAF), Sink(), Narrow()
    made = Fetcher(["a"], connect, BufferPool(), wait_s=5.0, observe=lambda event: None, flow=flow)
    ahead = []

    async def put_all():
        for number in range(JOBS):
            await made.put(LeafJob(sink, [Piece(Slot(str(number), cid, 100, PLAIN, 0, 100), cid, 0, 100)]))
            ahead.append(made._scheduler.waiting)

    async with asyncio.timeout(20), running(made):
        putting = asyncio.create_task(put_all())
        while not flow.waiting_now:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(ahead) == 2  # one that waits for leave, and one behind it
        for _ in range(JOBS):
            flow.leave.release()
        await putting
        await made.drained()
    assert sink.done_bytes == JOBS * len(LEAF)
    assert flow.most == 1


@pytest.mark.parametrize("heard", [True, False])
async def test_of_two_that_bring_the_same_neither_is_blamed(monkeypatch, heard):
    """One's is being written when the other's comes, so nothing of the job is done yet, and nothing is left to bring either.

    Nor is it late when the other is seen to be done before its thread is ``heard``, however long both take.
    """
    monkeypatch.setattr(flights, "LATE", 0.0)
    monkeypatch.setattr(flights, "LATE_MIN_S", 0.0)
    monkeypatch.setattr(flights, "DEAD_S", 0.0)
    monkeypatch.setattr(flights, "SILENT_S", 0.0)
    writing, answered = threading.Event(), threading.Event()

    class Slow(Sink):
        def write(self, view, pieces, starts):
            writing.set()
            assert answered.wait(10)

    class One(Named):
        async def fetch(self, wants, lender):
            asked.append(self.address)
            second = len(asked) == 2
            buffer = await lender.lend()
            buffer.view[ROOM : ROOM + len(LEAF)] = LEAF
            arrival = Arrival(buffer, [Laid(0, ROOM, ROOM + len(LEAF))])
            if second:
                assert await asyncio.to_thread(writing.wait, 10)
                lender.settle(arrival)
            else:
                await asyncio.to_thread(lender.settle, arrival)
                await asyncio.sleep(0.0 if heard else 10.0)
            yield arrival
            if second:
                ended.append(self.address)

    @asynccontextmanager
    async def connect(address):
        yield One(address)

    asked, ended, notes, cid, sink = [], [], [], CID.of(RAW, LEAF), Slow()
    made = Fetcher(["a", "b"], connect, BufferPool(), wait_s=5.0, observe=notes.append)

    async def let_go():
        while not ended:
            await asyncio.sleep(0.01)
        for _ in range(20):  # what it brought is looked at
            await asyncio.sleep(0.01)
        answered.set()

    async with asyncio.timeout(20), running(made):
        going = asyncio.create_task(let_go())
        await made.put(LeafJob(sink, [Piece(Slot("0", cid, 100, PLAIN, 0, 100), cid, 0, 100)]))
        await made.drained()
        await going
    assert sorted(asked) == ["a", "b"]
    assert sink.done_bytes == len(LEAF)
    assert notes == []
    assert [source.errors for source in made.sources] == [0, 0]


@pytest.mark.parametrize("right", [0, 1])
async def test_what_a_source_gave_are_the_bytes_that_were_right(right):
    """A wrong block counts as received, and not as given: a source that gave nothing else gave nothing."""
    leaves = [bytes([number]) * 100 for number in range(6)]
    lied, sink, asked = asyncio.Event(), Sink(), []

    class One(Named):
        async def fetch(self, wants, lender):
            asked.append(self.address)
            fits = len(wants)
            if self.address == "liar":
                fits = right if asked.count("liar") == 1 else 0
            else:
                await lied.wait()
            buffer, at, blocks = await lender.lend(), ROOM, []
            data = {CID.of(RAW, leaf): leaf for leaf in leaves}
            for number, want in enumerate(wants):
                buffer.view[at : at + 100] = data[want.cid] if number < fits else b"x" * 100
                blocks.append(Laid(number, at, at + 100))
                at += 100
            arrival = Arrival(buffer, blocks)
            lender.settle(arrival)
            yield arrival
            lied.set()

    @asynccontextmanager
    async def connect(address):
        yield One(address)

    made = Fetcher(["liar", "honest"], connect, BufferPool(), wait_s=5.0, observe=lambda event: None)
    async with asyncio.timeout(20), running(made):
        for numbers in ([0, 1, 2], [3, 4, 5]):
            cids = [CID.of(RAW, leaves[number]) for number in numbers]
            pieces = [Piece(Slot(str(cid), cid, 100, PLAIN, 0, 100), cid, 0, 100) for cid in cids]
            await made.put(LeafJob(sink, pieces))
        await made.drained()
    assert sink.done_bytes == 600
    assert made.wire_bytes >= 600 + 300 - 100 * right
    gave = {source.address: (source.blocks, source.bytes) for source in made.sources}
    assert gave == {"liar": (right, right * 100), "honest": (6 - right, 600 - right * 100)}


@pytest.mark.parametrize("hedged", [True, False])
async def test_a_wrong_block_is_held_against_its_source_though_it_does_not_have_the_rest(monkeypatch, hedged):
    """Nothing of the job goes back then: another source is asked for all of it, or the rest is of the same small file."""
    for name in ("LATE_MIN_S", "DEAD_S", "SILENT_S") if hedged else ():
        monkeypatch.setattr(flights, name, 0.0)
    leaves = [bytes([number]) * 100 for number in range(2)]
    begun, lied, notes, sink = asyncio.Event(), asyncio.Event(), [], Sink()

    class One(Named):
        async def fetch(self, wants, lender):
            begun.set()
            buffer, there = await lender.lend(), [Laid(want, ROOM + 100 * want, ROOM + 100 * want + 100) for want in range(2)]
            buffer.view[ROOM : ROOM + 200] = b"".join(leaves)
            if self.address == "liar":
                buffer.view[ROOM] ^= 1
                arrival = Arrival(buffer, there[:1], [1])
            else:
                await lied.wait()
                arrival = Arrival(buffer, there)
            lender.settle(arrival)
            yield arrival
            asyncio.get_running_loop().call_later(0.05, lied.set)  # when its answer is looked at

    @asynccontextmanager
    async def connect(address):
        if hedged != (address == "honest"):
            await (begun if hedged else lied).wait()
        yield One(address)

    made = Fetcher(["liar", "honest"], connect, BufferPool(), wait_s=5.0, observe=notes.append)
    cids = [CID.of(RAW, leaf) for leaf in leaves]
    slots = (
        [Slot(str(cid), cid, 100, PLAIN, 0, 100) for cid in cids] if hedged else [Slot("f", cids[0], 200, PLAIN, 0, 200)] * 2
    )
    async with asyncio.timeout(20), running(made):
        await made.put(LeafJob(sink, [Piece(slots[at], cids[at], 100 * at * (not hedged), 100) for at in range(2)]))
        await made.drained()
    assert sink.done_bytes == 200
    liar, honest = made.sources
    assert (liar.standing.rejected, honest.standing.rejected) == (1, 0)
    assert [note.level for note in notes] == ["warning"]
