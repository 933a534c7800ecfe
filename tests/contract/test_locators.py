"""The shipped locators keep the contract of locators."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_dht import FakeDht, addr, answer, peer_id
from fake_dht import record as contact
from trackers import JSON, NDJSON, record, tracking

from wherry.testing.hostile import HostileServer
from wherry.testing.locator import LocatorContract
from wherry_libp2p.kad import named
from wherry_locate.options import MdnsOptions, TrackerOptions
from wherry_locate.static import Static
from wherry_locate.tracker import Tracker


class TestStatic(LocatorContract):
    @asynccontextmanager
    async def knowing(self, cid, addresses):
        yield Static(addresses)


class TestTracker(LocatorContract):
    form = NDJSON

    @asynccontextmanager
    async def knowing(self, cid, addresses):
        with HostileServer(tracking({str(cid): [record(address) for address in addresses]}, self.form)) as server:
            yield Tracker(TrackerOptions(urls=(server.url,), timeout=2.0))

    def asking(self, url):
        return Tracker(TrackerOptions(urls=(url,), timeout=1.0))


class TestTrackerThatSaysItAtOnce(TestTracker):
    form = JSON


class TestTwoTrackers(LocatorContract):
    @asynccontextmanager
    async def knowing(self, cid, addresses):
        first, second = (tracking({str(cid): [record(address)]}) for address in addresses)
        with HostileServer(first) as one, HostileServer(second) as two, HostileServer() as none:
            yield Tracker(TrackerOptions(urls=(one.url, two.url, none.url), timeout=2.0))


class TestMdns(LocatorContract):
    peers = ("http://127.0.0.1:42901", "http://127.0.0.1:42902")

    @asynccontextmanager
    async def knowing(self, cid, addresses):
        pytest.importorskip("zeroconf", reason="the extra mdns is not installed")
        from wherry_locate.mdns import Mdns

        made = Mdns(MdnsOptions(loopback=True, browse=1.0))
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(made.announce(addresses))
            except Exception as problem:
                pytest.skip(f"no multicast on loopback here: {problem}")
            yield made


class TestKademlia(LocatorContract):
    peers = tuple(f"libp2p:/ip4/192.0.2.{7 + at}/tcp/4001/p2p/{named(peer_id(7 + at))}" for at in range(2))

    @asynccontextmanager
    async def knowing(self, cid, addresses):
        with TemporaryDirectory() as folder:
            dht = FakeDht(Path(folder))
            dht.says(0, answer(closer=[contact(peer_id(1), addr("192.0.2.1"))]))
            dht.says(1, answer(providers=[contact(peer_id(7 + at), addr(f"192.0.2.{7 + at}")) for at in range(len(addresses))]))
            yield dht.locator()
            assert not dht.left()
