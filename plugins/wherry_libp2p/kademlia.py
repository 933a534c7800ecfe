"""``kademlia``: asks a Kademlia DHT of IPFS who provides a CID (specs/0035 §7).

libp2p's part is done in the process of its own (specs/0035 §4), which is told whom to dial and what to ask. The way through
the DHT, the bounds and the address policy are here: what a peer names is dialled only as far as the policy lets it be.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from wherry.abc.locator import Locator
from wherry.dial import LAN, NAMED, PUBLIC
from wherry.dialling import DialBudget
from wherry.errors import ConfigError, LocalError, PeerError, PeerTimeout, PeerUnreachable, PluginError
from wherry.multibase import decode_base58
from wherry.plugin import Duration
from wherry_libp2p.kad import Contact
from wherry_libp2p.links import Links
from wherry_libp2p.options import Libp2pOptions
from wherry_libp2p.places import parse_place
from wherry_libp2p.process import Process
from wherry_libp2p.resolving import resolved
from wherry_libp2p.search import Search

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from wherry.abc.locator import Reach
    from wherry.cid import CID
    from wherry.env import Env
    from wherry_libp2p.options import KademliaOptions

_DIALS: Final = {"named": NAMED, "lan": LAN, "public": PUBLIC}
_DIAL_S: Final = 5.0  # a peer of a DHT that is slower is passed over
_SAY_S: Final = 8.0
_MULTIHASH_BYTES: Final = 34


class Kademlia(Locator):
    """Asks one DHT. Its process runs while a search does; searches side by side share it."""

    def __init__(self, options: KademliaOptions, env: Env) -> None:
        """Raises ConfigError if no peer of the DHT is configured."""
        if not options.bootstrap:
            hint = 'write bootstrap = ["/ip4/HOST/tcp/PORT/p2p/PEER"] in its section: peers of the DHT that you choose'
            raise ConfigError("the locator kademlia has no bootstrap peers", hint=hint)
        self._first = tuple(parse_place(address) for address in options.bootstrap)
        near = all(place.kind in ("ip4", "ip6") and not PUBLIC.allows(place.host) for place in self._first)
        own: Reach = "lan" if near else "public"
        self.reach: Reach = own if options.reach == "auto" else options.reach
        self.patience_s = float(options.timeout) + 1.0
        self._lan = near if options.network == "auto" else options.network == "lan"
        self._options, self._gate = options, env.gate
        self._dial = _DIALS[self.reach].gated(env.gate)
        self._budget = DialBudget()
        self._links: Links | None = None
        self._users = 0
        self._lock = asyncio.Lock()

    async def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """See `Locator.locate`. Raises PeerError if nobody answered, LocalError if libp2p does not run here."""
        said: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.create_task(self._search(bytes(cid)[-_MULTIHASH_BYTES:], said))
        task.add_done_callback(lambda _: said.put_nowait(None))
        try:
            while (found := await said.get()) is not None:
                yield found
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _search(self, key: bytes, said: asyncio.Queue[str | None]) -> None:
        limit = self._options.timeout
        search: Search | None = None
        try:
            async with asyncio.timeout(limit), self._running() as links:
                first = await self._bootstrap()
                search = Search(links, said, self._dial, self._options.peers)
                await search.run(key, first)
        except TimeoutError:
            if search is None or not search.answers:
                raise PeerTimeout(f"no peer of the DHT answered within {limit:g} s", peer=self._options.bootstrap[0]) from None
        except PluginError as problem:  # a locator that cannot run costs a note
            raise LocalError(problem.message, hint=problem.hint) from problem

    async def _bootstrap(self) -> list[Contact]:
        """Gives the peers to begin with, their names resolved. Raises PeerUnreachable, PeerDenied if none can be dialled."""
        contacts = list[Contact]()
        failure: PeerError = PeerUnreachable("no peer of the DHT is known")
        for place in self._first:
            peer = "libp2p:" + place.multiaddr()
            try:
                where = parse_place(await resolved(place, peer, NAMED.gated(self._gate)))
            except PeerError as problem:
                failure = problem
                continue
            contacts.append(Contact(decode_base58(place.peer), (where,)))
        if not contacts:
            raise failure
        return contacts

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Links]:
        self._users += 1
        try:
            async with self._lock:
                if self._links is not None and self._links.process.ended.is_set():
                    ended, self._links = self._links, None
                    await ended.stop()
                if self._links is None:
                    options = Libp2pOptions(
                        python=self._options.python, start_timeout=self._options.timeout, connect_timeout=Duration(_DIAL_S),
                        idle_timeout=Duration(_SAY_S), connections=2 * self._options.peers,
                    )  # fmt: skip
                    process = await Process.start(options, secrets.token_bytes(32), (), bitswap=False, gate=self._gate)
                    self._links = Links(process, self._budget, lan=self._lan)
            yield self._links
        finally:
            self._users -= 1
            if not self._users and self._links is not None:
                links, self._links = self._links, None
                await links.stop()
