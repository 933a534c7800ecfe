"""The fence around channels: what breaks the contract is a PeerError that says whose code it is, and no buffer is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from wherry.abc.transport import Arrival, Channel, Laid, Transport
from wherry.buffers import ROOM
from wherry.errors import ConfigError, PeerBusy, PeerProtocolError, PeerTimeout, PluginContractError
from wherry.testing.blocks import CountedPool, MemorySource, fetch_once
from wherry.testing.leaves import file_of
from wherry.transfer import guard
from wherry.transfer.guard import Lent, guarded

FILE = file_of("file", 1000, 2000)
WANTS = [leaf.want for leaf in FILE]
ADDRESS = "odd://there"


def right(buffer):
    at, blocks = ROOM, []
    for number, leaf in enumerate(FILE):
        buffer.view[at : at + len(leaf.data)] = leaf.data
        blocks.append(Laid(number, at, at + len(leaf.data)))
        at += len(leaf.data)
    return Arrival(buffer, blocks)


class Odd(Transport):
    """A transport whose channel does what the test says, and whose context does too."""

    schemes = frozenset({"odd"})

    def __init__(self, fetch, *, parallel=4, enter=None, leave=None):
        class OddChannel(Channel):
            pass

        OddChannel.fetch = fetch
        OddChannel.parallel = parallel
        OddChannel.__abstractmethods__ = frozenset()
        self.channel, self.enter, self.leave, self.left = OddChannel(), enter, leave, []

    @asynccontextmanager
    async def connect(self, address):
        if self.enter is not None:
            raise self.enter
        try:
            yield self.channel
        except BaseException as problem:
            self.left.append(type(problem))
            raise
        finally:
            if self.leave is not None:
                raise self.leave


async def fetched(transport):
    """Fetches once through the fence; every buffer must be back in the end."""
    pool = CountedPool()
    try:
        async with guarded(transport, ADDRESS) as channel:
            return await fetch_once(channel, WANTS, pool)
    finally:
        assert pool.out == 0


async def test_what_is_right_passes():
    async def fetch(self, wants, lender):
        yield right(await lender.lend())

    assert (await fetched(Odd(fetch))).blocks == {number: leaf.data for number, leaf in enumerate(FILE)}


async def test_what_is_settled_by_the_transport_is_believed_only_if_it_was():
    async def fetch(self, wants, lender):
        arrival = right(await lender.lend())
        arrival.settled = True
        yield arrival

    assert len((await fetched(Odd(fetch))).blocks) == 2


async def test_settled_once_is_not_settled_again():
    async def fetch(self, wants, lender):
        arrival = right(await lender.lend())
        lender.settle(arrival)
        arrival.buffer.view[ROOM] ^= 1  # too late to matter
        yield arrival

    assert not (await fetched(Odd(fetch))).rejected


def laid(*places, missing=()):
    async def fetch(self, wants, lender):
        arrival = Arrival(await lender.lend(), [Laid(*place) for place in places], missing)
        lender.settle(arrival)
        yield arrival

    return fetch


async def none(self, wants, lender):
    yield None


async def twice(self, wants, lender):
    arrival = right(await lender.lend())
    yield arrival
    yield arrival


async def given_back(self, wants, lender):
    arrival = right(await lender.lend())
    arrival.buffer.release()
    yield arrival


async def of_its_own(self, wants, lender):
    yield right(await CountedPool().lend())


async def tuples(self, wants, lender):
    yield Arrival(await lender.lend(), [(0, 1, 2)])


async def numbers(self, wants, lender):
    yield Arrival(await lender.lend(), 5)


@pytest.mark.parametrize(
    ("fetch", "says"),
    [
        (none, "must give Arrival"),
        (twice, "was given back"),
        (given_back, "was given back"),
        (of_its_own, "was not lent to it"),
        (tuples, "are no numbers"),
        (numbers, "nonsense"),
        (laid((2, 0, 1)), "of 2 wants"),
        (laid((-1, 0, 1)), "of 2 wants"),
        (laid((0, -1, 1)), "lies from -1"),
        (laid((0, 5, 4)), "lies from 5 to 4"),
        (laid((0, 0, 1 << 40)), "bytes of buffer"),
        (laid((0, "a", 1)), "are no numbers"),
        (laid((True, 0, 1)), "are no numbers"),
        (laid(missing=[2]), "missing, of 2"),
        (laid(missing=["x"]), "missing, of 2"),
    ],
)
async def test_what_breaks_the_contract_is_the_peers_fault_and_names_the_code(fetch, says):
    with pytest.raises(PeerProtocolError, match=says) as caught:
        await fetched(Odd(fetch))
    assert caught.value.peer == ADDRESS
    assert "OddChannel" not in caught.value.message
    assert f"({Odd.__module__}.Odd)" in caught.value.message


def raising(problem):
    async def fetch(self, wants, lender):
        raise problem
        yield

    return fetch


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (ValueError("of a library"), PeerProtocolError),
        (KeyError("x"), PeerProtocolError),
        (TimeoutError(), PeerTimeout),
        (PeerBusy("busy", peer="p"), PeerBusy),
        (ConfigError("said so"), ConfigError),
    ],
)
async def test_what_it_raises(problem, kind):
    for transport in (Odd(raising(problem)), Odd(none, enter=problem)):
        with pytest.raises(kind):
            await fetched(transport)


async def test_what_is_no_generator_or_no_channel():
    async def coroutine(self, wants, lender):
        return []

    odd = Odd(coroutine)
    with pytest.raises(PeerProtocolError, match="gives coroutine"):
        await fetched(odd)
    odd.channel = "a string"
    with pytest.raises(PeerProtocolError, match="no channel"):
        await fetched(odd)


@pytest.mark.parametrize(("parallel", "found"), [(1, 1), (10**9, 64)])
async def test_the_number_of_fetches_is_bounded(parallel, found):
    async with guarded(Odd(none, parallel=parallel), ADDRESS) as channel:
        assert channel.parallel == found


@pytest.mark.parametrize("parallel", [0, -1, "4", None, 2.0, True])
async def test_the_number_of_fetches_is_a_number(parallel):
    with pytest.raises(PeerProtocolError, match="parallel"):
        await fetched(Odd(none, parallel=parallel))


async def test_one_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(guard, "FETCH_S", 0.05)

    async def fetch(self, wants, lender):
        await asyncio.sleep(3600)
        yield

    with pytest.raises(PeerTimeout, match="gave nothing for"):
        await fetched(Odd(fetch))


async def test_its_context_sees_what_happened_and_what_it_raises_then_is_not_told():
    odd = Odd(none, leave=RuntimeError("while leaving"))
    with pytest.raises(LookupError):
        async with guarded(odd, ADDRESS):
            raise LookupError
    assert odd.left == [LookupError]
    with pytest.raises(PeerProtocolError, match="while leaving"):
        async with guarded(odd, ADDRESS):
            pass


async def test_cancelling_passes():
    async def fetch(self, wants, lender):
        buffer = await lender.lend()
        try:
            await asyncio.sleep(3600)
        finally:
            buffer.release()
        yield

    task = asyncio.create_task(fetched(Odd(fetch)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Listener(Odd):
    def __init__(self, answer):
        super().__init__(none)
        self.answer = answer

    @asynccontextmanager
    async def listen(self, address, source):
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self.answer


@pytest.mark.parametrize(
    ("answer", "says"), [(ValueError("of a library"), "ValueError"), (5, "gave int"), (None, "gave NoneType")]
)
async def test_a_listener_that_is_broken_is_blamed(answer, says):
    with pytest.raises(PluginContractError, match=says):
        async with guard.listening(Listener(answer), ADDRESS, MemorySource({})):
            pass


async def test_a_listener_that_is_right_is_left_alone():
    async with guard.listening(Listener("odd://here"), ADDRESS, MemorySource({})) as address:
        assert address == "odd://here"
    with pytest.raises(ConfigError):
        async with guard.listening(Listener(ConfigError("said so")), ADDRESS, MemorySource({})):
            pass


def test_a_loan_ends_once():
    pool = CountedPool()
    inner = pool.take()
    lent = Lent(inner)
    assert lent.out
    lent.release()
    lent.release()
    assert pool.out == 0
    with pytest.raises(ValueError, match="released"):
        lent.view[0] = 1
    assert len(inner.view) > 0
