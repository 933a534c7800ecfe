"""Whom the process is connected with, and whether they are wanted (specs/0029 §4, specs/0035 §5). Seen from wherry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wherry_libp2p.frames import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.access import Gate

_LOOK_S: Final = 2.0  # a ban holds within so long for who is connected


class Met:
    """The connections of one process. For one loop."""

    def __init__(self, gate: Gate, tell: Callable[[Kind, int], object]) -> None:
        """``tell(kind, number)`` has a frame sent."""
        self._gate, self._tell = gate, tell
        self._peers: dict[int, tuple[str, str]] = {}  # IP address and proven peer id, of those that were let in

    def came(self, number: int, body: bytes) -> Kind:
        """Takes the word that a connection was made, before anything is said on it; gives the answer."""
        peer_id, _, ip = body.decode("utf-8", "replace").partition(" ")
        if self._gate(ip, peer_id):
            return Kind.DENY
        self._peers[number] = ip, peer_id
        return Kind.ADMIT

    def parted(self, number: int) -> None:
        """Takes the word that one is over."""
        self._peers.pop(number, None)

    async def watch(self) -> None:
        """Has those closed that are not wanted any more, for as long as it runs."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for number, (ip, peer_id) in list(self._peers.items()):
                if self._gate(ip, peer_id):
                    self.parted(number)
                    self._tell(Kind.DENY, number)
