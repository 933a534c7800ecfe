"""The contract of locators catches what it is there to catch: for each check there is a locator that fails it, and no other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from trackers import record, tracking

from wherry.abc.locator import Locator
from wherry.errors import PeerError, PeerUnreachable
from wherry.testing.checks import checks, failing
from wherry.testing.hostile import HostileServer
from wherry.testing.locator import LocatorContract, cid_of
from wherry_locate.options import TrackerOptions
from wherry_locate.tracker import Tracker


class Fine(Locator):
    """Knows the same peers for every CID, after a while."""

    reach = "public"

    def __init__(self, addresses):
        self.addresses = list(addresses)
        self.announced = []

    async def locate(self, cid):
        await asyncio.sleep(0.005)
        for address in self.addresses + self.announced:
            yield address

    @asynccontextmanager
    async def announce(self, addresses):
        self.announced += addresses
        try:
            yield
        finally:
            self.announced.clear()


class ForgetsOneAtFirst(Fine):
    searched = False

    async def locate(self, cid):
        some, self.searched = self.searched, True
        async for address in super().locate(cid):
            if some or address != self.addresses[-1]:
                yield address


class SaysItTwice(Fine):
    async def locate(self, cid):
        async for address in super().locate(cid):
            yield address
        yield address


class IsTiredAfterASearch(Fine):
    tired = False

    async def locate(self, cid):
        tired, self.tired = self.tired, False
        async for address in super().locate(cid):
            if not tired:
                yield address
        self.tired = not tired


class GivesMultiaddrs(Fine):
    async def locate(self, cid):
        async for address in super().locate(cid):
            yield address
        yield "/ip4/192.0.2.7/tcp/4290"


class GivesBytes(Fine):
    async def locate(self, cid):
        async for address in super().locate(cid):
            yield address
        yield b"http://192.0.2.7:4290"


class GivesTooMany(Fine):
    async def locate(self, cid):
        async for address in super().locate(cid):
            yield address
        for number in range(30):
            yield f"http://192.0.2.{number}:4299"


class ReachesEverywhere(Fine):
    reach = "everywhere"


class MindsUnknownCids(Fine):
    async def locate(self, cid):
        if cid == cid_of(2):
            raise PeerUnreachable("nobody knows", peer="http://x")
        async for address in super().locate(cid):
            yield address


class SearchesOneAtATime(Fine):
    busy = False

    async def locate(self, cid):
        if self.busy:
            return
        self.busy = True
        try:
            async for address in super().locate(cid):
                yield address
        finally:
            self.busy = False


class GoesOnWhenClosed(Fine):
    async def locate(self, cid):
        try:
            async for address in super().locate(cid):
                yield address
        except GeneratorExit:
            self.task = asyncio.create_task(asyncio.sleep(60))
            raise


class GoesOnWhenCancelled(Fine):
    async def locate(self, cid):
        try:
            async for address in super().locate(cid):
                yield address
        except asyncio.CancelledError:
            self.task = asyncio.create_task(asyncio.sleep(60))
            raise


class AnnouncesNothing(Fine):
    @asynccontextmanager
    async def announce(self, addresses):
        yield


class NeverWithdraws(Fine):
    @asynccontextmanager
    async def announce(self, addresses):
        self.announced += addresses
        yield


class HidesFailures(Tracker):
    async def locate(self, cid):
        try:
            async for address in super().locate(cid):
                yield address
        except PeerError:
            return


class LetsLibrariesSpeak(Tracker):
    async def locate(self, cid):
        try:
            async for address in super().locate(cid):
                yield address
        except PeerError as problem:
            raise OSError(str(problem)) from problem


class FollowsRedirects(Tracker):
    async def _records(self, url, cid):
        try:
            async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=True):
                pass
        except (aiohttp.ClientError, ValueError):
            pass
        async for each in super()._records(url, cid):
            yield each


BROKEN = [
    (ForgetsOneAtFirst, "test_it_finds_what_is_known"),
    (SaysItTwice, "test_it_finds_what_is_known"),
    (IsTiredAfterASearch, "test_it_finds_it_again"),
    (GivesMultiaddrs, "test_what_it_gives_are_addresses"),
    (GivesBytes, "test_what_it_gives_are_addresses"),
    (GivesTooMany, "test_what_it_gives_are_addresses"),
    (ReachesEverywhere, "test_its_reach_is_one_that_there_is"),
    (MindsUnknownCids, "test_that_nobody_is_known_is_no_error"),
    (SearchesOneAtATime, "test_searches_may_run_side_by_side"),
    (GoesOnWhenClosed, "test_stopping_early_leaves_nothing"),
    (GoesOnWhenCancelled, "test_cancelling_leaves_nothing"),
    (AnnouncesNothing, "test_announcing_is_found_and_leaves_nothing"),
    (NeverWithdraws, "test_announcing_is_found_and_leaves_nothing"),
    (HidesFailures, "test_bad_servers_are_given_up"),
    (LetsLibrariesSpeak, "test_bad_servers_are_given_up"),
    (FollowsRedirects, "test_a_redirect_is_not_followed"),
]


class Suite(LocatorContract):
    """The contract for one of the above."""

    def __init__(self, broken):
        self.broken = broken

    @asynccontextmanager
    async def knowing(self, cid, addresses):
        if not issubclass(self.broken, Tracker):
            yield self.broken(addresses)
            return
        with HostileServer(tracking({str(cid): [record(*addresses)]})) as server:
            yield self.asking(server.url)

    def asking(self, url):
        if not issubclass(self.broken, Tracker):
            return None
        return self.broken(TrackerOptions(urls=(url,), timeout=0.5))


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(Suite(broken), tmp_path) == {check}


@pytest.mark.parametrize("fine", [Fine, Tracker])
def test_a_fine_one_fails_none(fine, tmp_path):
    assert failing(Suite(fine), tmp_path) == set()


def test_every_check_has_a_broken_locator():
    assert {check for _, check in BROKEN} == checks(LocatorContract)
