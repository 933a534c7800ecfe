"""The contract of transports catches what it is there to catch: for each check, a transport that fails it and no other."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, asynccontextmanager

import pytest

from wherry.abc.transport import Arrival, Laid
from wherry.block import verify
from wherry.buffers import ROOM
from wherry.errors import (
    IntegrityError,
    PeerBusy,
    PeerProtocolError,
    SourceChanged,
    UsageError,
    WherryError,
)
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.checks import checks, failing
from wherry.testing.memory import MemoryChannel, MemoryNetwork, MemoryTransport
from wherry.testing.outcome import leftovers
from wherry.testing.transport import TransportContract

pytestmark = pytest.mark.timeout(120)

ELSEWHERE = {  # in test_transport_kit_tcp.py
    "test_bad_peers_are_given_up",
    "test_a_dead_address_ends_in_time",
    "test_a_peer_that_dies_midway",
    "test_its_plugin_is_light",
    "test_its_provider_is_right",
}


class Broken(MemoryTransport):
    """A memory transport whose channels are of the class's own kind."""

    class Channel(MemoryChannel):
        def _read(self, wants, numbers, fates, buffer, lender):
            arrival = self.lay(wants, numbers, buffer)
            lender.settle(arrival)
            return arrival

        def lay(self, wants, numbers, buffer):
            """Lays blocks as a right transport does, with a place to break each step."""
            at, blocks, missing = ROOM, [], []
            for number, held in zip(numbers, self._find([wants[number] for number in numbers]), strict=True):
                want = wants[number]
                if held is None or self.refuses(want, held) or (want.size not in (None, held.size) and not self.any_length):
                    missing.append(number)
                    continue
                if at + held.size > len(buffer.view):
                    break
                try:
                    held.read_into(buffer.view[at : at + held.size])
                except WherryError as problem:
                    self.gone(number, problem)
                    missing.append(number)
                    continue
                self.spoil(want, buffer.view[at : at + held.size])
                blocks.append(Laid(number, at, at + held.size))
                at += held.size + self.gap
            return Arrival(buffer, blocks, missing)

        gap = 0
        any_length = False

        def refuses(self, want, held):
            return False

        def gone(self, number, problem):
            pass

        def spoil(self, want, view):
            pass

    @asynccontextmanager
    async def connect(self, address):
        async with super().connect(address) as channel:
            yield self.Channel(channel._address, channel._listener, channel._options, channel._rng)


class SpoilsLongBlocks(Broken):
    class Channel(Broken.Channel):
        def spoil(self, want, view):
            if len(view) == 65_537:
                view[0] ^= 1


class LaysBlocksApart(Broken):
    class Channel(Broken.Channel):
        gap = 64


class GivesUpWhereNothingIsHeld(Broken):
    class Channel(Broken.Channel):
        def lay(self, wants, numbers, buffer):
            arrival = super().lay(wants, numbers, buffer)
            if len(arrival.missing) == len(wants) > 1:
                raise PeerProtocolError("nothing", peer=self._address)
            return arrival


class LeavesAbsentOnesOut(Broken):
    class Channel(Broken.Channel):
        def lay(self, wants, numbers, buffer):
            arrival = super().lay(wants, numbers, buffer)
            if wants[0].path.startswith("absent"):
                arrival.missing = []
            return arrival


class RefusesTheLargest(Broken):
    class Channel(Broken.Channel):
        def refuses(self, want, held):
            return want.size == LEAF_BYTES_MAX


class AnswersEachBlockOnce(Broken):
    class Channel(Broken.Channel):
        def lay(self, wants, numbers, buffer):
            arrival = super().lay(wants, numbers, buffer)
            seen = {}
            arrival.blocks = [laid for laid in arrival.blocks if seen.setdefault(wants[laid.want].cid, laid) is laid]
            return arrival


class TakesEightAtATime(Broken):
    class Channel(Broken.Channel):
        under_way = 0

        async def fetch(self, wants, lender):
            self.under_way += 1
            try:
                if self.under_way > 8:
                    raise PeerBusy("too many", peer=self._address)
                async with aclosing(super().fetch(wants, lender)) as arrivals:
                    async for arrival in arrivals:
                        yield arrival
            finally:
                self.under_way -= 1


class KeepsABufferWhenStopped(Broken):
    class Channel(Broken.Channel):
        async def fetch(self, wants, lender):
            async with aclosing(super().fetch(wants, lender)) as arrivals:
                async for arrival in arrivals:
                    ahead = await lender.lend() if len(wants) > 20 else None
                    yield arrival
                    if ahead is not None:
                        ahead.release()


class KeepsABufferWhenCancelled(Broken):
    class Channel(Broken.Channel):
        async def fetch(self, wants, lender):
            ahead = await lender.lend()
            await asyncio.sleep(0.005)
            ahead.release()
            async with aclosing(super().fetch(wants, lender)) as arrivals:
                async for arrival in arrivals:
                    yield arrival


class LeavesATaskWhenCancelled(Broken):
    class Channel(Broken.Channel):
        async def fetch(self, wants, lender):
            task = asyncio.create_task(asyncio.sleep(0.3))
            await asyncio.sleep(0.005)
            await asyncio.sleep(0)
            task.cancel()
            async with aclosing(super().fetch(wants, lender)) as arrivals:
                async for arrival in arrivals:
                    yield arrival


class LeavesADescriptor(Broken):
    """Save where a fetch was cancelled, which another check looks at."""

    class Channel(Broken.Channel):
        cancelled = False

        async def fetch(self, wants, lender):
            try:
                async with aclosing(super().fetch(wants, lender)) as arrivals:
                    async for arrival in arrivals:
                        yield arrival
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    @asynccontextmanager
    async def connect(self, address):
        async with super().connect(address) as channel:
            yield channel
            if not channel.cancelled:
                os.pipe()


class TakesNonsenseForAValueError(Broken):
    @asynccontextmanager
    async def connect(self, address):
        try:
            async with super().connect(address) as channel:
                yield channel
        except UsageError as problem:
            raise ValueError(str(problem)) from problem


class WritesItsSchemeLarge(Broken):
    schemes = frozenset({"Memory"})


class HasAPlusInItsScheme(Broken):
    schemes = frozenset({"memory", "memory+tls"})


class ShowsItsSecret(Broken):
    def __repr__(self):
        return "ShowsItsSecret(token='hush-hush')"


class TakesOneOfUnknownSize(Broken):
    class Channel(Broken.Channel):
        first = None

        def refuses(self, want, held):
            if want.size is None:
                self.first = self.first or want.cid
            return want.size is None and want.cid != self.first


class HasNoEmptyBlock(Broken):
    class Channel(Broken.Channel):
        def refuses(self, want, held):
            return want.size == 0


class TakesGoneForAFault(Broken):
    class Channel(Broken.Channel):
        def gone(self, number, problem):
            raise PeerProtocolError("gone", peer=self._address)


class LetsTheOwnersErrorOut(Broken):
    class Channel(Broken.Channel):
        def gone(self, number, problem):
            if number == 2:
                raise SourceChanged("gone")


class JudgesByItself(Broken):
    class Channel(Broken.Channel):
        def spoil(self, want, view):
            try:
                verify(want.cid, view)
            except IntegrityError as problem:
                raise PeerProtocolError("wrong bytes", peer=self._address) from problem


class HandsAnyLengthOver(Broken):
    class Channel(Broken.Channel):
        any_length = True


class ServesOnWhenItHasEnded(Broken):
    class Channel(Broken.Channel):
        async def _used(self, read):
            return await asyncio.to_thread(read)


class TakesATakenAddressForUsage(Broken):
    @asynccontextmanager
    async def listen(self, address, source):
        if address.removeprefix("memory://") in self._network.listeners:
            raise UsageError("taken")
        async with super().listen(address, source) as found:
            yield found


class ListensOnAnything(Broken):
    @asynccontextmanager
    async def listen(self, address, source):
        async with super().listen(f"memory://{address.partition('://')[2]}", source) as found:
            yield found


BROKEN = [
    (SpoilsLongBlocks, "test_blocks_come_back"),
    (LaysBlocksApart, "test_neighbours_lie_back_to_back"),
    (GivesUpWhereNothingIsHeld, "test_absent_blocks_are_missing"),
    (LeavesAbsentOnesOut, "test_absent_blocks_are_missing"),
    (RefusesTheLargest, "test_a_block_of_the_largest_size"),
    (AnswersEachBlockOnce, "test_a_block_wanted_twice"),
    (TakesEightAtATime, "test_many_fetches_at_once"),
    (KeepsABufferWhenStopped, "test_stopping_early_gives_everything_back"),
    (KeepsABufferWhenCancelled, "test_cancelling_leaves_nothing"),
    (LeavesATaskWhenCancelled, "test_cancelling_leaves_nothing"),
    (LeavesADescriptor, "test_closing_leaves_nothing"),
    (TakesNonsenseForAValueError, "test_a_malformed_address_is_an_error_of_usage"),
    (WritesItsSchemeLarge, "test_its_schemes_are_plain"),
    (HasAPlusInItsScheme, "test_its_schemes_are_plain"),
    (ShowsItsSecret, "test_secrets_are_not_shown"),
    (TakesOneOfUnknownSize, "test_unknown_sizes"),
    (HasNoEmptyBlock, "test_the_empty_block"),
    (TakesGoneForAFault, "test_what_is_gone_is_missing"),
    (LetsTheOwnersErrorOut, "test_what_is_gone_midway_harms_nobody"),
    (JudgesByItself, "test_wrong_bytes_are_passed_on_to_be_judged"),
    (HandsAnyLengthOver, "test_another_length_is_never_handed_over"),
    (ServesOnWhenItHasEnded, "test_the_listener_ends_with_its_block"),
    (TakesATakenAddressForUsage, "test_two_listeners_on_one_address"),
    (ListensOnAnything, "test_a_malformed_address_is_not_listened_on"),
]


class InMemory(TransportContract):
    """The suite for transports inside this process."""

    secrets = ("hush-hush",)
    patience_s = 2.0

    def __init__(self, cls):
        self.cls, self.network = cls, MemoryNetwork()

    def make_transport(self):
        return self.cls(self.network)

    def listen_address(self):
        return f"memory://node-{len(self.network.listeners)}"


@pytest.fixture
def swept():
    """Closes the descriptors that a broken transport leaves."""
    _, before = leftovers()
    yield
    for number, what in leftovers()[1] - before:
        if what.startswith("pipe:"):
            os.close(number)


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path, swept):
    assert failing(InMemory(broken), tmp_path) == {check}


def test_what_the_broken_ones_are_made_from_is_right(tmp_path):
    assert failing(InMemory(Broken), tmp_path) == set()


def test_every_check_has_a_broken_transport():
    assert {check for _, check in BROKEN} | ELSEWHERE == checks(TransportContract)
