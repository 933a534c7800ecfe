"""How the locators come to know peers: for `wherry plugins check` (specs/0006 §13.1)."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wherry.errors import LocalError
from wherry.plugin import Duration
from wherry.testing.hostile import HostileServer, answer
from wherry.testing.locator import LocatorContract
from wherry.testing.outcome import skip_unless
from wherry_locate.options import MdnsOptions, TrackerOptions
from wherry_locate.static import Static
from wherry_locate.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.abc.locator import Locator
    from wherry.cid import CID


class TestStatic(LocatorContract):
    """It is told them."""

    plugin = "static"

    @asynccontextmanager
    async def knowing(self, cid: CID, addresses: Sequence[str]) -> AsyncIterator[Locator]:
        """See `LocatorContract.knowing`."""
        del cid
        yield Static(tuple(addresses))


class TestTracker(LocatorContract):
    """A server on loopback names them, as Delegated Routing V1 has it."""

    plugin = "tracker"

    @asynccontextmanager
    async def knowing(self, cid: CID, addresses: Sequence[str]) -> AsyncIterator[Locator]:
        """See `LocatorContract.knowing`."""
        records = [{"Schema": "peer", "ID": "someone", "Addrs": [_multiaddr(address)]} for address in addresses]
        known = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        behaviour = answer(
            lambda request: known if request.path.endswith(str(cid)) else b"", headers={"Content-Type": "application/x-ndjson"}
        )
        with HostileServer(behaviour) as server:
            yield Tracker(TrackerOptions(urls=(server.url,), timeout=Duration(2.0)))

    def asking(self, url: str) -> Locator:
        """See `LocatorContract.asking`."""
        return Tracker(TrackerOptions(urls=(url,), timeout=Duration(1.0)))


class TestMdns(LocatorContract):
    """They announce themselves, on this machine alone."""

    plugin = "mdns"
    peers = ("http://127.0.0.1:42901", "http://127.0.0.1:42902")

    @asynccontextmanager
    async def knowing(self, cid: CID, addresses: Sequence[str]) -> AsyncIterator[Locator]:
        """See `LocatorContract.knowing`."""
        del cid
        from wherry_locate.mdns import Mdns

        made = Mdns(MdnsOptions(loopback=True, browse=Duration(1.0)))
        announcing = made.announce(addresses)
        try:
            await announcing.__aenter__()
        except LocalError as problem:
            skip_unless(None, f"no multicast on loopback here: {problem.message}")
        try:
            yield made
        finally:
            await announcing.__aexit__(None, None, None)


def _multiaddr(address: str) -> str:
    parts = urlsplit(address)
    return f"/ip4/{parts.hostname}/tcp/{parts.port}/{parts.scheme}"
