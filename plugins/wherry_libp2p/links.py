"""The peers that one process is connected with, for all searches that it runs at a time (specs/0035 §7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wherry.dial import network_of
from wherry.errors import PeerDenied, PeerError
from wherry_libp2p.frames import Kind
from wherry_libp2p.process import Request

if TYPE_CHECKING:
    from wherry.dialling import DialBudget
    from wherry_libp2p.kad import Contact
    from wherry_libp2p.places import Place
    from wherry_libp2p.process import Process


class Links:
    """Asks peers, each dialled once, whoever asks. For one loop."""

    def __init__(self, process: Process, budget: DialBudget, *, lan: bool) -> None:
        """``budget`` says how often what strangers named is dialled; ``lan``, which of the two DHTs is asked."""
        self.process, self._budget, self._lan = process, budget, lan
        self._dials: dict[bytes, asyncio.Task[int]] = {}

    async def ask(self, contact: Contact, question: bytes, first: frozenset[Place]) -> bytes:
        """Asks a peer, and gives its answer. ``first`` are places that the user named. Raises PeerError."""
        dial = self._dials.get(contact.peer)
        if dial is None or (dial.done() and (dial.cancelled() or dial.exception() is not None)):
            dial = self._dials[contact.peer] = asyncio.create_task(self._dial(contact, first))
        number = await asyncio.shield(dial)  # whoever stops asking does not stop it for the others
        request, peer = Request(), "libp2p:" + contact.places[0].multiaddr()
        await self.process.ask(Kind.ASK, bytes((self._lan,)) + question, peer, index=number, request=request)
        return request.said

    async def _dial(self, contact: Contact, first: frozenset[Place]) -> int:
        """Dials the places of a peer, one after the other; gives the number of the DIAL that did. Raises PeerError."""
        who = "libp2p:" + contact.places[0].multiaddr()
        failure: PeerError = PeerDenied(f"{who} was named by others, where much was dialled of late", peer=who)
        for place in contact.places:
            networks = () if place in first else (network_of(place.host),)  # others may name it too: that changes nothing
            if self._budget.take(networks, asyncio.get_running_loop().time()):
                continue
            try:
                number = await self.process.ask(Kind.DIAL, place.multiaddr().encode(), "libp2p:" + place.multiaddr())
            except PeerError as problem:
                failure = problem
                continue
            self._budget.answered(networks)
            return number
        raise failure

    async def stop(self) -> None:
        """Ends the process, and what is being dialled."""
        for dial in self._dials.values():
            dial.cancel()
        try:
            await asyncio.gather(*self._dials.values(), return_exceptions=True)
        finally:
            await self.process.stop()
