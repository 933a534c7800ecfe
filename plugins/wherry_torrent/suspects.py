"""Who was banned, and who of them is asked once more, alone (specs/0036 §11). Pure.

libtorrent takes trust from everyone who gave a block of a piece that is wrong, so one that lies takes those down that gave the
rest of its pieces. What comes from one source alone is that source's: who is banned then is left out for good.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

Peer: TypeAlias = tuple[str, int]  # IP address and port
Source: TypeAlias = Peer | str  # a peer, or the address of a web seed

_ALL_S: Final = 1.0  # nobody is connected for so long, and all were banned: nobody comes by himself
_SOME_S: Final = 5.0  # the same, and others may still connect, again perhaps
_STILL_S: Final = 10.0  # nothing comes for so long, whoever is connected
_STRANGERS_MAX: Final = 20  # of those that trackers and peers named, so many are asked once more
_PORTS: Final = {"http": 80, "https": 443}


class Suspects:
    """The sources of one download, by rounds: in the first, all are asked."""

    def __init__(self, peers: Sequence[Peer], webseeds: Sequence[str]) -> None:
        self._sources: list[Source] = list(dict.fromkeys([*peers, *webseeds]))  # those that nobody named follow when banned
        self._sources_max = len(self._sources) + _STRANGERS_MAX
        self._places = {address: _place(address) for address in webseeds}
        self._asked = set(self._sources)
        self._banned: dict[Source, None] = {}  # in this order
        self._tried: set[Source] = set()
        self._trial: Source | None = None
        self._others: set[Peer] = set()  # banned, and not asked again
        self._told: set[Peer] = set()

    @property
    def peers(self) -> list[Peer]:
        """The peers that are asked in this round, of those that are known here."""
        return [source for source in self._sources if not isinstance(source, str) and source in self._asked]

    @property
    def webseeds(self) -> list[str]:
        """The web seeds that are asked in this round."""
        return [source for source in self._sources if isinstance(source, str) and source in self._asked]

    @property
    def left_out(self) -> list[Peer]:
        """The peers that are not asked in this round, nor let in: those that were banned, and those that wait for theirs."""
        return [*self._others, *(each for each in self._sources if not isinstance(each, str) and each not in self._asked)]

    def ban_peer(self, peer: Peer) -> bool:
        """Takes note that a peer, or the server of web seeds, was banned; tells if that is new in this round."""
        found: list[Source] = [peer] if peer in self._sources else [at for at, place in self._places.items() if place == peer]
        if not found:  # a stranger, or a server that is named by its name: all of those are suspects, which costs a round
            found = [at for at, place in self._places.items() if place is None]
            if len(self._sources) < self._sources_max:
                self._sources.append(peer)
                self._asked.add(peer)
                found.append(peer)
            else:
                self._others.add(peer)
        self._ban(found)
        new = peer not in self._told
        self._told.add(peer)
        return new

    def ban_webseed(self, address: str) -> None:
        """Takes note that a web seed was banned; one that nobody named is where a named one sent us on to."""
        self._ban([address] if address in self._places else list(self._places))

    def _ban(self, sources: Sequence[Source]) -> None:
        self._banned |= dict.fromkeys(source for source in sources if source in self._asked)

    def due(self, idle_s: float, still_s: float) -> bool:
        """Tells whether there is a next round, and it is time for it.

        ``idle_s``: for how long nobody was connected and nothing came; ``still_s``: for how long nothing came, whoever was.
        """
        patience_s = _ALL_S if self._asked <= set(self._banned) else _SOME_S
        return (idle_s >= patience_s or still_s >= _STILL_S) and self._following() is not None

    def next(self) -> bool:
        """Begins the next round, if there is one."""
        if (found := self._following()) is None:
            return False
        self._trial, self._asked = found
        if self._trial is not None:
            self._tried.add(self._trial)
            del self._banned[self._trial]
        self._told.clear()
        return True

    def _following(self) -> tuple[Source | None, set[Source]] | None:
        """Gives whom the next round is for, and who is asked in it."""
        if not self._banned and self._trial is None:
            return None
        guilty = self._tried & set(self._banned)
        for source in self._sources:
            if source in self._banned and source not in self._tried:
                return source, self._tried - guilty | {source}
        asked = set(self._sources) - guilty  # all had their turn: those that were never banned come back
        return (None, asked) if asked != self._asked - guilty else None

    @property
    def trial(self) -> Source | None:
        """Whom this round is for. None: for all that are left."""
        return self._trial


class Lull:
    """For how long nobody was there, and nothing came."""

    def __init__(self, now: float) -> None:
        self._got = -1
        self._moved = self._company = now

    def look(self, now: float, peers: int, got: int) -> tuple[float, float]:
        """Takes how many are connected, and what came so far; gives ``idle_s`` and ``still_s`` of `Suspects.next`."""
        if got != self._got:
            self._got, self._moved = got, now
        if peers:
            self._company = now
        return now - max(self._moved, self._company), now - self._moved


def _place(address: str) -> Peer | None:
    """Gives IP address and port of a web seed; None if its host has a name."""
    try:
        parts = urlsplit(address)
        return str(ip_address(parts.hostname or "")), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
