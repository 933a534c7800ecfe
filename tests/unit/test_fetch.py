"""The fetcher: jobs over scripted channels; what arrived counts, whatever becomes of the rest."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import BlockNotFound, NoSource, PeerBusy, PeerProtocolError, PeerUnreachable, Unwritable
from wherry.limits import BUFFER_BYTES
from wherry.manifest import PLAIN
from wherry.transfer import fetch as fetch_module
from wherry.transfer import scheduler as scheduler_module
from wherry.transfer.fetch import Fetcher
from wherry.transfer.jobs import LeafJob
from wherry.transfer.running import running
from wherry.transfer.sink import Piece, Sink, Slot
from wherry.transfer.why import Ledger

LEAVES = [bytes([number]) * 100 for number in range(8)]


class Scripted(Channel):
    """Answers as ``script`` says, which is given the wants and how often anything was asked before."""

    def __init__(self, script, parallel=1):
        self.script, self.parallel = script, parallel
        self.asked = []

    async def fetch(self, wants, lender):
        self.asked.append([want.cid for want in wants])
        async for arrival in self.script(wants, lender, len(self.asked)):
            yield arrival


async def good(wants, lender, _count):
    """A right answer, settled as a transport's thread does it."""
    arrival = await laid(wants, lender)
    lender.settle(arrival)
    yield arrival


async def laid(wants, lender, *, some=None):
    buffer, at, blocks = await lender.lend(), ROOM, []
    data = {CID.of(RAW, leaf): leaf for leaf in LEAVES}
    for number, want in list(enumerate(wants))[:some]:
        leaf = data[want.cid]
        buffer.view[at : at + len(leaf)] = leaf
        blocks.append(Laid(number, at, at + len(leaf)))
        at += len(leaf)
    return Arrival(buffer, blocks)


def fetcher(channels, pool, wait_s=5.0):
    @asynccontextmanager
    async def connect(address):
        channel = channels[address]
        if isinstance(channel, Exception):
            raise channel
        yield channel

    return Fetcher(list(channels), connect, pool, wait_s=wait_s, observe=lambda event: None)


def job(sink, *numbers):
    """A job of small files of one leaf each."""
    pieces = []
    for number in numbers:
        cid = CID.of(RAW, LEAVES[number])
        pieces.append(Piece(Slot(str(number), cid, 100, PLAIN, 0, 100), cid, 0, 100))
    return LeafJob(sink, pieces)


@pytest.fixture
def pool():
    return BufferPool()


async def done(channels, pool, *jobs, wait_s=5.0, sink=None):
    """Has jobs fetched; gives the sink."""
    sink = sink or Sink()
    made = fetcher(channels, pool, wait_s)
    async with asyncio.timeout(20), running(made):
        for numbers in jobs:
            await made.put(job(sink, *numbers))
        await made.drained()
    return sink


async def test_jobs_are_done(pool):
    channel = Scripted(good, parallel=4)
    sink = await done({"a": channel}, pool, [0, 1], [2], [3, 4, 5])
    assert sink.done_bytes == 600
    assert sorted(len(wants) for wants in channel.asked) == [1, 2, 3]


async def test_what_was_settled_before_its_fetch_was_cancelled_is_not_asked_for_again(pool):
    """One connection finds the peer gone; the fetch of the other, whose thread just wrote everything, is cancelled."""
    settled = asyncio.Event()

    async def script(wants, lender, count):
        if count == 2:
            arrival = await laid(wants, lender)
            lender.settle(arrival)
            settled.set()
            try:
                await asyncio.sleep(60)
            finally:
                arrival.buffer.release()
        elif count == 3:
            await settled.wait()
            raise PeerUnreachable("gone", peer="a")
        async for arrival in good(wants, lender, count):
            yield arrival

    channel = Scripted(script, parallel=2)
    sink = await done({"a": channel}, pool, [0], [1, 2], [3], [4])
    assert sink.done_bytes == 500
    asked = [cid for wants in channel.asked for cid in wants]
    assert [asked.count(CID.of(RAW, LEAVES[number])) for number in range(5)] == [1, 1, 1, 2, 1]


@pytest.mark.parametrize("problem", [PeerProtocolError("cut", peer="a"), PeerUnreachable("gone", peer="a")])
async def test_what_arrived_before_a_failure_counts(pool, problem):
    async def script(wants, lender, count):
        if count == 1:
            arrival = await laid(wants, lender, some=2)
            lender.settle(arrival)
            yield arrival
            raise problem
        async for arrival in good(wants, lender, count):
            yield arrival

    channel = Scripted(script)
    assert (await done({"a": channel}, pool, [0, 1, 2])).done_bytes == 300
    assert [len(wants) for wants in channel.asked] == [3, 1]


async def test_a_failure_after_everything_arrived_is_none(pool):
    async def script(wants, lender, count):
        async for arrival in good(wants, lender, count):
            yield arrival
        raise PeerBusy("enough", peer="a")

    channel = Scripted(script)
    assert (await done({"a": channel}, pool, [0, 1])).done_bytes == 200
    assert len(channel.asked) == 1


async def test_what_one_does_not_have_is_asked_of_the_other_and_nothing_else(pool):
    async def half(wants, lender, _count):
        arrival = await laid(wants, lender, some=2)
        arrival.missing = list(range(2, len(wants)))
        yield arrival

    poor, rich = Scripted(half), Scripted(good)
    channels = {"poor": poor}
    made = fetcher({**channels, "rich": rich}, pool)
    sink = Sink()
    async with asyncio.timeout(20), running(made):
        await made.put(job(sink, 0, 1, 2, 3))
        await made.drained()
    assert sink.done_bytes == 400
    if poor.asked:  # whoever came first
        assert rich.asked == [[CID.of(RAW, LEAVES[number]) for number in (2, 3)]]


async def test_nobody_has_it(pool):
    async def none(wants, _lender, _count):
        yield Arrival(None, [], list(range(len(wants))))

    with pytest.raises(BlockNotFound, match=str(CID.of(RAW, LEAVES[1]))):
        await done({"a": Scripted(none), "b": Scripted(none)}, pool, [1])


async def test_a_busy_source_is_asked_again_and_given_up_in_the_end(pool):
    async def busy_twice(wants, lender, count):
        if count < 3:
            raise PeerBusy("busy", peer="a")
        async for arrival in good(wants, lender, count):
            yield arrival

    async def always_busy(_wants, _lender, _count):
        raise PeerBusy("too much to do", peer="a")
        yield

    assert (await done({"a": Scripted(busy_twice)}, pool, [0])).done_bytes == 100
    channel = Scripted(always_busy)
    with pytest.raises(NoSource, match="too much to do"):
        await done({"a": channel}, pool, [0], wait_s=0.5)
    assert 2 <= len(channel.asked) <= 30


async def test_a_fault_of_this_machine_ends_it_at_once(pool):
    class Full(Sink):
        def write(self, view, pieces, starts):
            raise Unwritable("cannot write")

    channel = Scripted(good)
    with pytest.raises(Unwritable):
        await done({"a": channel}, pool, [0], sink=Full())
    assert len(channel.asked) == 1


async def test_a_bug_in_a_transport_is_not_swallowed(pool):
    async def bug(_wants, _lender, _count):
        raise KeyError("a bug")
        yield

    with pytest.raises(KeyError):
        await done({"a": Scripted(bug)}, pool, [0])


async def test_buffers_come_back_whatever_happens(pool):
    async def script(wants, lender, count):
        arrival = await laid(wants, lender)
        if count % 2:
            arrival.buffer.release()
            raise PeerProtocolError("cut", peer="a")
        yield arrival

    await done({"a": Scripted(script, parallel=3)}, pool, *[[number] for number in range(8)], wait_s=30)
    taken = [pool.take() for _ in range(pool.count)]  # would block if one were lost
    for buffer in taken:
        buffer.release()


async def test_leaving_while_fetches_are_under_way_waits_for_them(pool):
    async def stuck(_wants, lender, _count):
        buffer = await lender.lend()
        try:
            await asyncio.sleep(60)
            yield
        finally:
            buffer.release()

    made = fetcher({"a": Scripted(stuck, parallel=2)}, pool)
    with suppress(RuntimeError):
        async with running(made):
            await made.put(job(Sink(), 0))
            await asyncio.sleep(0.1)
            raise RuntimeError("the verb failed")
    for buffer in [pool.take() for _ in range(pool.count)]:
        buffer.release()


class Files(Scripted):
    """Holds plain files, and no manifest."""

    manifests = False


async def none_of_it(wants, lender, _count):
    yield Arrival(missing=range(len(wants)))


@pytest.mark.parametrize("kinds", [(Files, Files), (Files, Scripted)])
async def test_where_all_sources_are_plain_files_it_says_that_no_manifest_is_there(pool, kinds):
    made = fetcher({name: kind(none_of_it) for name, kind in zip(("a", "b"), kinds, strict=True)}, pool)
    with pytest.raises(BlockNotFound) as caught:
        async with asyncio.timeout(20), running(made):
            await made.nodes([CID.of(RAW, b"root")])
    said = "the manifest" in caught.value.message and "a, b can't have it" in caught.value.message
    assert said is (kinds[1] is Files), caught.value
    assert not said or "wherry peer" in caught.value.hint


@pytest.mark.parametrize("steps", range(8))
async def test_who_is_ended_while_a_source_is_lost_ends(pool, steps):
    """A task group whose task fails drops a cancellation that comes at that moment: the source was called for ever."""
    lost, asked = asyncio.Event(), asyncio.Event()

    async def cut(_wants, _lender, _count):
        asked.set()
        await lost.wait()
        raise PeerUnreachable("gone")
        yield

    made = fetcher({"a": Scripted(cut)}, pool)
    await made.put(job(Sink(), 0))
    run = asyncio.create_task(made.run())
    await asked.wait()
    lost.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    run.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([run])
    assert run.cancelled()


@pytest.mark.parametrize("of_use", [True, False])
async def test_a_peer_that_was_named_and_is_lost_is_called_again_if_it_was_of_use(pool, of_use):
    """It may only have ended its own get, for whose sake the connection was: others still want what it has."""
    calls = []

    async def some(wants, lender, count):
        if of_use and count == 1:
            async for arrival in good(wants, lender, count):
                yield arrival
            return
        raise PeerUnreachable("its get is over")

    @asynccontextmanager
    async def connect(address):
        calls.append(address)
        if len(calls) > 1 + of_use:
            raise PeerUnreachable("nobody listens there")
        yield Scripted(some)

    made = fetcher({"other": PeerUnreachable("away")}, pool)
    for number in range(8):
        await made.put(job(Sink(), number))
    run = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    made.dial("named", connect)
    async with asyncio.timeout(20):
        while any(source.address == "named" for source in made.sources):
            await asyncio.sleep(0.01)
        run.cancel()
        await asyncio.wait([run])
    assert calls == ["named"] * (3 if of_use else 1)


async def test_who_is_sent_on_calls_again_late_but_at_once_when_nobody_else_is_left(monkeypatch):
    """It would be minutes: the last of the others goes, and it is called within a moment."""
    monkeypatch.setattr(scheduler_module, "STAND_BACK_S", (600.0, 600.0))
    monkeypatch.setattr(fetch_module, "_LOOK_AGAIN_S", 0.01)
    pool, calls, leave = BufferPool(8 * BUFFER_BYTES), [], asyncio.Event()
    origin = Scripted(good)

    async def lost(wants, lender, count):
        await leave.wait()
        raise PeerUnreachable("it is gone", peer="peer")
        yield

    @asynccontextmanager
    async def connect(address):
        calls.append(address)
        if address == "peer":
            if leave.is_set():
                raise PeerUnreachable("it is gone", peer="peer")
            yield Scripted(lost)
        elif calls.count("origin") == 1:
            while "peer" not in calls:
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            raise PeerBusy("too much to do", peer="origin")
        else:
            yield origin

    made = Fetcher(["origin", "peer"], connect, pool, wait_s=5.0, observe=lambda _event: None)
    async with running(made):
        asking = asyncio.create_task(made.nodes([CID.of(RAW, LEAVES[0])]))
        source = made.sources[0]
        async with asyncio.timeout(10):
            while not source.busy_until:
                await asyncio.sleep(0.01)
            assert calls.count("origin") == 1
            leave.set()
            found = await asking
    assert [block.data for block in found.values()] == [LEAVES[0]]
    assert calls.count("origin") == 2


async def test_who_is_choked_by_all_says_so_and_asks_for_further_sources(monkeypatch):
    monkeypatch.setattr(fetch_module, "_SNUBBED_S", 0.05)
    pool, rounds, events = BufferPool(8 * BUFFER_BYTES), [], []
    ledger = Ledger(time.monotonic, "planning")

    async def find():
        rounds.append(None)
        yield "stingy"
        if len(rounds) > 2:
            yield "other"

    @asynccontextmanager
    async def connect(address):
        yield Scripted(good)

    made = Fetcher([], connect, pool, wait_s=5.0, observe=events.append, find=find, ledger=ledger)
    connected = (scheduler := made._scheduler).connected

    def choked(source, now, parallel=4, *, linked=False):
        connected(source, now, parallel, linked=linked)
        scheduler.choked(source, on=source.address == "stingy")

    monkeypatch.setattr(scheduler, "connected", choked)
    async with running(made), asyncio.timeout(20):
        found = await made.nodes([CID.of(RAW, LEAVES[0])])
    assert [block.data for block in found.values()] == [LEAVES[0]]
    assert len(rounds) == 3
    assert [source.address for source in made.sources] == ["stingy", "other"]
    assert "choked" in {spent.reason for spent in ledger.report().spent}
    assert sum("serve others" in event.text for event in events) == 2
