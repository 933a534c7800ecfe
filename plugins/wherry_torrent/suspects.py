"""Who was banned, and who of them is asked once more, and when (specs/0036 §11). Pure.

libtorrent takes trust from everyone who gave a block of a piece that is wrong, so one that lies takes those down that gave the
rest of its pieces. What comes from one source alone is that source's: who is banned then is left out for good. All addresses
of one server are one source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from wherry_torrent.places import Peer, literal, server

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Source: TypeAlias = Peer | str  # a peer, or the address of a web seed

_ALL_S: Final = 1.0  # nobody is connected for so long, and all were banned: nobody comes by himself
_SOME_S: Final = 5.0  # the same, and others may still connect, again perhaps
_ALL_STILL_S: Final = 3.0  # nothing comes for so long, and all were banned, though some of them are still connected
_STILL_S: Final = 10.0  # nothing comes for so long, whoever is connected
_TURN_S: Final = 1.5  # the least that a source has, to connect and give something
_STRANGERS_MAX: Final = 20  # of those that trackers and peers named, so many are asked once more


class Suspects:
    """The sources of one download, by rounds: in the first, all are asked."""

    def __init__(self, peers: Sequence[Peer], webseeds: Sequence[str]) -> None:
        self._sources: list[Source] = list(dict.fromkeys([*peers, *webseeds]))  # those that nobody named follow when banned
        self._sources_max = len(self._sources) + _STRANGERS_MAX
        self._servers = {address: server(address) for address in webseeds}
        self._places = {each: {(ip, each[1])} for each in self._servers.values() if (ip := literal(each[0])) is not None}
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

    def webseeds_at(self, place: Peer) -> tuple[str, ...]:
        """The web seeds that are asked in this round, and were not banned in it, of the servers that are there."""
        there = {each for each, places in self._places.items() if place in places}
        return tuple(each for each in self.webseeds if self._servers[each] in there and each not in self._banned)

    @property
    def left_out(self) -> list[Peer]:
        """The peers that are not asked in this round, nor let in: those that were banned, and those that wait for theirs."""
        return [*self._others, *(each for each in self._sources if not isinstance(each, str) and each not in self._asked)]

    def locate(self, named: Peer, places: set[Peer]) -> None:
        """Takes note where a server with a name is: host and port."""
        if places:
            self._places[named] = self._places.get(named, set()) | places

    def ban_peer(self, peer: Peer) -> bool:
        """Takes note that a peer, or the server of web seeds, was banned; tells if that is new in this round."""
        found: list[Source] = [peer] if peer in self._sources else []
        found += [at for at, named in self._servers.items() if peer in self._places.get(named, ())]
        if not found:  # a stranger, or a server of which is not known where it is: all of those are suspects
            found = [at for at, named in self._servers.items() if named not in self._places]
            if len(self._sources) < self._sources_max:
                self._sources.append(peer)
                self._asked.add(peer)
                found.append(peer)
            else:
                self._others.add(peer)
        if (trial := self._trial) is not None and trial in found:  # others that may be at the same place had their trial
            found = [trial]
        self._ban(found)
        new = peer not in self._told
        self._told.add(peer)
        return new

    def is_banned(self, address: str) -> bool:
        """Tells whether a web seed was banned in this round, or is left out for good."""
        return address in self._banned

    def ban_webseed(self, address: str) -> None:
        """Takes note that a web seed was banned; one that nobody named is where a named one sent us on to."""
        self._ban([address] if address in self._servers else list(self._servers))

    def _ban(self, sources: Iterable[Source]) -> None:
        together = [each for source in sources for each in self._addresses(source)]
        self._banned |= dict.fromkeys(source for source in together if source in self._asked)

    def _addresses(self, source: Source) -> list[Source]:
        """Gives all that are one source with this one, itself too: web seeds of one server, and a peer that is where it is."""
        named: Peer | None
        if isinstance(source, str):
            named = self._servers[source]
            places = self._places.get(named, set())
        else:
            named = next((each for each, places in self._places.items() if source in places), None)
            places = {source}
        return [each for each in self._sources if each in places or (isinstance(each, str) and self._servers[each] == named)]

    def due(self, idle_s: float, still_s: float, left_s: float) -> bool:
        """Tells whether there is a next round, and it is time for it.

        ``idle_s``: for how long nobody was connected and nothing came; ``still_s``: for how long nothing came, whoever was, in
        this round; ``left_s``: how long nothing more may have come when the round began, until all is given up. It is shared
        by those that wait for their turn, so that each has one.
        """
        if self._following() is None:
            return False
        idle, still = (_ALL_S, _ALL_STILL_S) if self._asked <= set(self._banned) else (_SOME_S, _STILL_S)
        turn_s = max(_TURN_S, left_s / (self._turns() + 2))  # this round, and the last one, for all that are left
        return idle_s >= min(idle, turn_s) or still_s >= min(still, turn_s)

    def _turns(self) -> int:
        waiting = [source for source in self._banned if source not in self._tried]
        return len({self._addresses(source)[0] for source in waiting})

    def next(self) -> bool:
        """Begins the next round, if there is one."""
        if (found := self._following()) is None:
            return False
        self._trial, self._asked = found
        if self._trial is not None:
            trial = self._addresses(self._trial)
            self._tried.update(trial)
            for source in trial:
                self._banned.pop(source, None)
        self._told.clear()
        return True

    def again(self) -> bool:
        """Has the round begun anew without those that were banned in it; tells whether anybody is left, or it needs a next."""
        asked = self._asked - set(self._banned)
        if asked:
            self._asked = asked
        return bool(asked)

    def _following(self) -> tuple[Source | None, set[Source]] | None:
        """Gives whom the next round is for, and who is asked in it."""
        if not self._banned and self._trial is None:
            return None
        guilty = self._tried & set(self._banned)
        for source in self._sources:
            if source in self._banned and source not in self._tried:
                return source, self._tried - guilty | set(self._addresses(source))
        asked = set(self._sources) - guilty  # all had their turn: those that were never banned come back
        return (None, asked) if asked != self._asked - guilty else None

    @property
    def trial(self) -> Source | None:
        """Whom this round is for. None: for all that are left."""
        return self._trial


class Lull:
    """For how long nobody was there, and nothing came. ``wait_s``: how long nothing may come, until all is given up."""

    def __init__(self, wait_s: float, now: float) -> None:
        self._wait_s = wait_s
        self._got = -1
        self._began = self._moved = self._company = self._came = now

    def begin(self, now: float) -> None:
        """A round begins; what came, came before."""
        self._began = self._moved = self._company = now

    def checked(self, now: float) -> None:
        """Nobody was asked until now: what is here was looked at."""
        self.begin(now)
        self._came = now

    def look(self, now: float, peers: int, got: int) -> tuple[float, float, float]:
        """Takes how many are connected, and what came in all; gives what `Suspects.due` takes."""
        if got != self._got:
            self._got, self._moved, self._came = got, now, now
        if peers:
            self._company = now
        left_s = self._wait_s - max(0.0, self._began - self._came)  # what came in this round came after its begin
        return now - max(self._moved, self._company), now - self._moved, left_s
