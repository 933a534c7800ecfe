"""The bell that wakes those who wait in a get, and what a get holds while it waits for a limited link (specs/0013)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.flow import Flow
from wherry.manifest import PLAIN
from wherry.transfer.asking import Bell
from wherry.transfer.fetch import Fetcher
from wherry.transfer.jobs import LeafJob
from wherry.transfer.running import running
from wherry.transfer.sink import Piece, Sink, Slot

LONG_S = 3600.0
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


async def test_a_bell_wakes_all_who_wait_and_nobody_who_comes_later():
    bell = Bell()
    waiting = [asyncio.create_task(bell.heard(LONG_S)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    bell.ring()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    late = asyncio.create_task(bell.heard(LONG_S))
    await asyncio.sleep(0)
    assert not late.done()
    bell.ring()
    await asyncio.wait_for(late, 5)


async def test_whoever_waits_for_a_bell_is_let_go_in_time():
    bell = Bell()
    await asyncio.wait_for(bell.heard(0.001), 5)
    bell.ring()
    await asyncio.wait_for(bell.heard(0.0), 5)


async def test_whoever_is_cancelled_leaves_nothing_behind():
    bell = Bell()
    for _ in range(100):
        waiting = asyncio.create_task(bell.heard(LONG_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not bell._waiting
    bell.ring()


async def test_a_cancellation_that_comes_with_the_bell_is_not_lost():
    bell = Bell()
    waiting = asyncio.create_task(bell.heard(LONG_S))
    await asyncio.sleep(0)
    bell.ring()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
