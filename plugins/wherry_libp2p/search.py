"""One search of the locator ``kademlia``: whom to dial, what to ask, and what is given (specs/0035 §7)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from wherry.abc.locator import Found
from wherry.errors import PeerUnreachable
from wherry.limits import LOCATE_ADDRESSES_MAX
from wherry_libp2p.kad import Ask, named
from wherry_libp2p.lookup import Walk

if TYPE_CHECKING:
    import asyncio

    from wherry.dial import Dial
    from wherry_libp2p.kad import Contact
    from wherry_libp2p.links import Links
    from wherry_libp2p.places import Place

_EACH_MAX: Final = 2  # addresses given of one provider: each takes one of the few that are listened to
_BARE_MAX: Final = 4  # providers named without an address that are looked for
_FAULTS_MAX: Final = 20  # providers that are shown and cannot be dialled
_PROTOCOLS: Final = ("transport-bitswap",)
_KINDS: Final = ("ip4", "ip6")


class Search:
    """One search, and what it gave. For one loop."""

    def __init__(self, links: Links, said: asyncio.Queue[str | None], dial: Dial, peers_max: int) -> None:
        """Puts addresses into ``said``. ``dial`` is for what strangers name."""
        self._links, self._said, self._dial, self._peers_max = links, said, dial, peers_max
        self._first: frozenset[Place] = frozenset()
        self._given: dict[bytes, set[Place]] = {}  # of each provider
        self._bare: dict[bytes, Contact] = {}  # providers of whom no address is given yet
        self.answers = 0

    async def run(self, key: bytes, first: list[Contact]) -> None:
        """Looks for providers of a multihash, beginning with ``first``. Raises PeerError if nobody answered."""
        self._first = frozenset(place for contact in first for place in contact.places)
        walk = Walk(self._ask, self._may_ask, first, self._peers_max)
        try:
            async with aclosing(walk.towards(key, Ask.PROVIDERS)) as answers:
                async for answer in answers:
                    self.answers += 1
                    for contact in answer.providers:
                        self._take(contact)
                    if self._full():
                        return
            if not self.answers:
                raise walk.failures[0] if walk.failures else PeerUnreachable("no peer of the DHT is known")
            for contact in list(self._bare.values())[:_BARE_MAX]:
                await self._look_for(walk, contact)
        finally:
            for contact in list(self._bare.values())[:_FAULTS_MAX]:
                self._said.put_nowait(_fault(contact))

    def _may_ask(self, place: Place) -> bool:
        """Tells whether an address that strangers named may be dialled to ask there. Names are not looked up for them."""
        return place.kind in _KINDS and self._dial.allows(place.host)

    def _may_give(self, place: Place) -> bool:
        """Tells whether it may be given. Where a name leads is asked when the transport dials it."""
        return place.kind not in _KINDS or self._dial.allows(place.host)

    def _full(self) -> bool:
        return sum(map(len, self._given.values())) >= LOCATE_ADDRESSES_MAX

    def _take(self, contact: Contact) -> None:
        """Takes one provider; what was given already is not given again."""
        if self._full():
            return
        given = self._given.setdefault(contact.peer, set())
        for place in sorted(filter(self._may_give, contact.places), key=lambda place: place.kind):
            if place in given or len(given) >= _EACH_MAX or self._full():
                continue
            given.add(place)
            self._said.put_nowait(Found("libp2p:" + place.multiaddr(), peer=named(contact.peer), protocols=_PROTOCOLS))
        if given:
            self._bare.pop(contact.peer, None)
        else:
            known = self._bare.get(contact.peer)
            if known is None or len(contact.places) + contact.others > len(known.places) + known.others:
                self._bare[contact.peer] = contact

    async def _look_for(self, walk: Walk, provider: Contact) -> None:
        """Asks the DHT where a provider is that was named without an address that may be dialled."""
        if (known := walk.where(provider.peer)) is not None:
            self._take(known)
            return
        async with aclosing(walk.towards(provider.peer, Ask.NODE)) as answers:
            async for answer in answers:
                for contact in answer.closer:
                    if contact.peer == provider.peer:
                        self._take(contact)
                if provider.peer not in self._bare:
                    return

    async def _ask(self, contact: Contact, question: bytes) -> bytes:
        return await self._links.ask(contact, question, self._first)


def _fault(contact: Contact) -> Found:
    peer = named(contact.peer)
    if not contact.places and not contact.others:
        why = "no address of it is known"
    elif contact.places:
        why = "it was named at addresses that lead where strangers may not send us"
    else:
        why = "none of its addresses is one over TCP"
    return Found(f"/p2p/{peer}", peer=peer, protocols=_PROTOCOLS, fault=why)
