"""What a get holds while it waits for a limited link (specs/0013)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.flow import Flow
from wherry.manifest import PLAIN
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
