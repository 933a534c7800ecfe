"""``mdns``: asks the local network who serves, and says that this node does (specs/0018 §7).

DNS-based service discovery over multicast DNS (RFC 6762, RFC 6763), by the library zeroconf. What is announced is that a
wherry server is there, never what it holds: on a network that one shares with strangers, a list of CIDs tells too much.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from wherry.abc.locator import Locator
from wherry.errors import LocalError, in_words, local_error
from wherry.offload import settled
from wherry_locate.multiaddr import PEER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence

    from wherry.abc.locator import Reach
    from wherry.cid import CID
    from wherry_locate.options import MdnsOptions

SERVICE: Final = "_wherry._tcp.local."
VERSION: Final = "1"
_FOUND_MAX: Final = 64  # services looked at in one search
_ANSWER_S: Final = 0.5  # a service that does not describe itself holds up the others for so long
_SCHEMES: Final = ("http", "https", "tcp", "tcps")


class Mdns(Locator):
    """Browses for a while; announces while this node serves. Searches and announcements at one time share their sockets."""

    def __init__(self, options: MdnsOptions) -> None:
        self._options = options
        self.reach: Reach = "named" if options.loopback else "lan"
        self._multicast: AsyncZeroconf | None = None
        self._users = 0

    async def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """See `Locator.locate`. Whoever serves is named, whatever is looked for. Raises LocalError."""
        del cid
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.browse
        names: asyncio.Queue[str] = asyncio.Queue(_FOUND_MAX)

        def heard(**said: Any) -> None:
            if said["state_change"] is not zeroconf.ServiceStateChange.Removed and not names.full():
                names.put_nowait(said["name"])

        async with self._network() as multicast:
            browser = AsyncServiceBrowser(multicast.zeroconf, SERVICE, handlers=[heard])
            try:
                seen: set[str] = set()
                while (left := end - loop.time()) > 0:
                    try:
                        name = await asyncio.wait_for(names.get(), left)
                    except TimeoutError:
                        break
                    info = AsyncServiceInfo(SERVICE, name)
                    left = min(_ANSWER_S, max(0.001, end - loop.time()))
                    if not await info.async_request(multicast.zeroconf, left * 1000):
                        continue
                    for address in addresses_of(info):
                        if address not in seen:
                            seen.add(address)
                            yield address
            finally:
                await _to_its_end(browser.async_cancel())

    @asynccontextmanager
    async def announce(self, addresses: Sequence[str]) -> AsyncIterator[None]:
        """See `SupportsAnnounce`. Addresses that others cannot dial are left out. Raises LocalError."""
        infos = [info for address in addresses if (info := await self._info(address)) is not None]
        if not infos or not self._options.announce:
            yield
            return
        async with self._network() as multicast:
            begun: list[AsyncServiceInfo] = []
            try:
                for info in infos:
                    begun.append(info)
                    try:
                        await (await multicast.async_register_service(info, cooperating_responders=True))
                    except (zeroconf.Error, OSError) as problem:
                        raise LocalError(f"cannot announce on the local network: {in_words(problem)}") from problem
                yield
            finally:
                await _to_its_end(_withdrawn(multicast, begun))

    @asynccontextmanager
    async def _network(self) -> AsyncIterator[AsyncZeroconf]:
        """Opens the sockets, or takes those that are open; the last user closes them. Raises LocalError."""
        if self._multicast is None:
            where = ["127.0.0.1"] if self._options.loopback else zeroconf.InterfaceChoice.All
            try:
                self._multicast = AsyncZeroconf(interfaces=where)
            except OSError as problem:
                raise local_error(problem, "cannot use multicast DNS on", "this network") from problem
        multicast = self._multicast
        self._users += 1
        try:
            yield multicast
        finally:
            self._users -= 1
            if not self._users:
                self._multicast = None
                await _to_its_end(multicast.async_close())

    async def _info(self, address: str) -> AsyncServiceInfo | None:
        """Describes one address to the network; None for one that only this machine can dial, or of another scheme."""
        parts = urlsplit(address)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.port is None:
            return None
        ips = []
        for ip in await _resolved(parts.hostname, parts.port):
            found = ipaddress.ip_address(ip.partition("%")[0])
            if not found.is_loopback or self._options.loopback:
                ips.append(str(found))
        if not ips:
            return None
        properties = {"v": VERSION, "scheme": parts.scheme}
        if parts.scheme == "tcps" and parts.username:
            properties["id"] = parts.username  # whose key is to be met there
        # A name of its own: that of the machine may be its owner's.
        name = f"wherry-{secrets.token_hex(6)}"
        return AsyncServiceInfo(
            SERVICE, f"{name}.{SERVICE}", port=parts.port, parsed_addresses=ips, server=f"{name}.local.",
            properties=properties,
        )  # fmt: skip


def addresses_of(info: AsyncServiceInfo) -> list[str]:
    """Gives the addresses that a description stands for; none if it is of another version or makes no sense."""
    said = {key.decode("ascii", "replace"): (value or b"").decode("ascii", "replace") for key, value in info.properties.items()}
    if said.get("v") != VERSION or said.get("scheme") not in _SCHEMES or not info.port:
        return []
    ips = [ipaddress.ip_address(text.partition("%")[0]) for text in info.parsed_addresses()]
    # A link-local IPv6 address means nothing without its interface, which a URL cannot say.
    hosts = [f"[{ip}]" if ip.version == 6 else str(ip) for ip in ips if not (ip.version == 6 and ip.is_link_local)]
    who = ""
    if said["scheme"] == "tcps":
        if not PEER.fullmatch(said.get("id", "")):
            return []  # TLS with whoever answers would promise what it does not keep
        who = f"{said['id']}@"
    return [f"{said['scheme']}://{who}{host}:{info.port}" for host in hosts]


async def _withdrawn(multicast: AsyncZeroconf, infos: list[AsyncServiceInfo]) -> None:
    """Takes announcements back: others are told, so that they do not ask for a while what is gone."""
    for info in infos:
        await (await multicast.async_unregister_service(info))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs ``work`` to its end, however often this task is cancelled meanwhile: what is half closed is a leak."""
    await settled([asyncio.create_task(work)])


async def _resolved(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError:
        return []
    return list(dict.fromkeys(str(where[0]) for *_, where in found))
