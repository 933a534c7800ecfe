"""The way through a Kademlia DHT to who knows of a key (specs/0035 §7). Asks by what it is given, so it needs no libp2p.

Whoever is asked names others that are nearer, and may lie: so there is a bound to who is met and what is asked in all, and an
address that strangers named is met only if the policy that came with it lets it be.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.errors import DecodeError, PeerError, PeerProtocolError
from wherry_libp2p.kad import answer_of, distance, question

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from wherry_libp2p.kad import Answer, Ask, Contact
    from wherry_libp2p.places import Place

    Asker: TypeAlias = Callable[[Contact, bytes], Awaitable[bytes]]

NEAREST: Final = 20  # the DHT's own constant: so many hold what is known of a key
PARALLEL: Final = 8  # questions under way
PLACES_MAX: Final = 3  # kept of a peer
ASKS_PER_PEER: Final = 2  # of those that may be met, on the average: the providers, and where one of them is


class Walk:
    """One search: whom it heard of, met, and gave up. For one loop."""

    def __init__(self, ask: Asker, usable: Callable[[Place], bool], first: Iterable[Contact], peers_max: int) -> None:
        """``ask`` sends a question and gives the answer, or raises PeerError; ``first`` are met whatever ``usable`` says."""
        self._ask, self._usable, self._peers_max = ask, usable, peers_max
        self._heard = {contact.peer: contact for contact in first}
        self._met: set[bytes] = set()
        self._failed: set[bytes] = set()
        self._left = ASKS_PER_PEER * peers_max
        self.answers = 0
        self.failures: list[PeerError] = []  # the first few

    def where(self, peer: bytes) -> Contact | None:
        """Gives what is known of a peer that was named as one to ask."""
        return self._heard.get(peer)

    async def towards(self, key: bytes, ask: Ask) -> AsyncGenerator[Answer, None]:
        """Gives the answers of ever nearer peers, until the nearest have answered, or the bounds are reached."""
        asked: set[bytes] = set()
        far: dict[bytes, int] = {}
        running: dict[asyncio.Task[Answer | None], bytes] = {}
        try:
            while True:
                while len(running) < PARALLEL and (contact := self._next(key, asked, far)) is not None:
                    asked.add(contact.peer)
                    self._met.add(contact.peer)
                    self._left -= 1
                    running[asyncio.create_task(self._answer(contact, key, ask))] = contact.peer
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    peer = running.pop(task)
                    if (answer := task.result()) is None:
                        self._failed.add(peer)
                        continue
                    self.answers += 1
                    self._hear(answer.closer)
                    yield answer
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _next(self, key: bytes, asked: set[bytes], far: dict[bytes, int]) -> Contact | None:
        """Gives the nearest of the nearest who was not asked yet."""
        if self._left <= 0:
            return None
        for peer in self._heard:
            if peer not in far:
                far[peer] = distance(key, peer)
        full = len(self._met) >= self._peers_max
        fit = (peer for peer in self._heard if peer not in self._failed and (not full or peer in self._met))
        for peer in heapq.nsmallest(NEAREST, fit, key=far.__getitem__):
            if peer not in asked:
                return self._heard[peer]
        return None

    def _hear(self, contacts: Iterable[Contact]) -> None:
        for contact in contacts:
            known = self._heard.get(contact.peer)
            if known is not None and contact.peer in self._met:
                continue
            places = [*(known.places if known is not None else ()), *filter(self._usable, contact.places)]
            if places:  # whoever was named first with a wrong address may be named again with the right one
                self._heard[contact.peer] = contact._replace(places=tuple(dict.fromkeys(places))[:PLACES_MAX])

    async def _answer(self, contact: Contact, key: bytes, ask: Ask) -> Answer | None:
        try:
            return answer_of(await self._ask(contact, question(ask, key)), ask)
        except PeerError as problem:
            failure = problem
        except DecodeError as problem:
            where = contact.places[0].multiaddr()
            failure = PeerProtocolError(f"libp2p:{where} sends what is no answer: {problem}", peer=f"libp2p:{where}")
        if len(self.failures) < PARALLEL:
            self.failures.append(failure)
        return None
