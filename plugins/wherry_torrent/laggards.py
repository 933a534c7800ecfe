"""Web seeds that hold what the others would have brought before, and when they are left out for that (specs/0036 §11). Pure.

A web seed is asked for megabytes at once, whatever its rate, and nobody else for the same until the end, when libtorrent asks
others one block at a time. One that is slow then holds up the rest for as long as it takes to give what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wherry_torrent.places import Peer

Urls: TypeAlias = tuple[str, ...]

_LOOK_S: Final = 1.0
_HELD_S: Final = 5.0  # what it holds is here within so long: it is no laggard
_WATCHED_S: Final = 2.0  # the least that its rate is measured
_AGAIN_S: Final = 30.0  # the same of one that came back, as the others gave nothing
_STILL_S: Final = 5.0  # the others give nothing for so long
_GONE_S: Final = 1.5  # nobody else is there for so long: at one look that is also so when all is done, and seeds part
_FADE: Final = 0.9  # of a rate that was, so much is believed a second later


class Row(NamedTuple):
    """A peer, or a connection to a web seed, as libtorrent sees it."""

    at: Peer
    urls: Urls  # of the web seed's server; none: it is a peer, or a web seed of which is not known whose it is
    rate: int  # bytes of payload a second
    held: int  # bytes that it was asked for, and that have not come
    whole: bool  # it has everything, and would give it


class Laggards:
    """The web seeds that are left out. ``wait_s``: how long nothing may come, until all is given up."""

    def __init__(self, wait_s: float, now: float) -> None:
        self._still_s = min(_STILL_S, wait_s / 2)
        self.begin(now)

    def begin(self, now: float) -> None:
        """A round begins: nobody is left out."""
        self._looked, self._moved, self._got = now, now, -1
        self._rates: dict[Peer | Urls, float] = {}  # the highest of late
        self._known: dict[Urls, float] = {}  # from when on its rate counts
        self._out: list[Urls] = []
        self._seen: float | None = None  # when somebody else who has everything was there

    @property
    def out(self) -> list[str]:
        """The addresses that are left out."""
        return [url for urls in self._out for url in urls]

    def due(self, now: float) -> bool:
        """Tells whether it is time for a look."""
        return now - self._looked >= _LOOK_S

    def look(self, now: float, rows: Sequence[Row], left: int, got: int) -> tuple[Urls, list[str]]:
        """Gives the web seed that is to be left out, and those that are to be asked again: the addresses of each.

        ``left``: how many bytes are missing, with those of pieces that are not whole, as they are given up when one is left
        out; ``got``: how many came in all. It is asked again when nobody else gives anything, or has everything any more.
        """
        fade, self._looked = _FADE ** (now - self._looked), now
        if got != self._got:
            self._got, self._moved = got, now
        rows = [row for row in rows if row.urls not in self._out]
        self._measure(now, rows, fade)
        if any(row.whole for row in rows):
            self._seen = now
        gone = self._seen is not None and now - self._seen >= _GONE_S
        if self._out and (now - self._moved >= self._still_s or gone):
            back, self._known = self.out, self._known | dict.fromkeys(self._out, now + _AGAIN_S)
            self._out = []
            return (), back
        laggard = next((row.urls for row in rows if row.urls and self._holds_up(now, row, rows, left)), ())
        if laggard:  # one at a time: the next look sees what the others do without it
            self._out.append(laggard)
            self._moved, self._seen = now, None  # they are called anew
        return laggard, []

    def _measure(self, now: float, rows: Iterable[Row], fade: float) -> None:
        rates: dict[Peer | Urls, float] = {}
        for row in rows:
            rates[_key(row)] = max(row.rate, rates.get(_key(row), 0.0))
        before, self._rates = self._rates, {}
        for key in {*before, *rates}:  # who connects anew, as some servers have it after each answer, is no slower for it
            if (rate := max(rates.get(key, 0.0), before.get(key, 0.0) * fade)) >= 1.0:
                self._rates[key] = rate
        for row in rows:
            self._known.setdefault(row.urls, now + _WATCHED_S)

    def _holds_up(self, now: float, row: Row, rows: Iterable[Row], left: int) -> bool:
        """Tells whether the fastest other would bring all that is missing before this one gives what it holds."""
        if now < self._known[row.urls]:
            return False
        others = {_key(other) for other in rows if other.whole} - {row.urls}
        best = max((self._rates.get(other, 0.0) for other in others), default=0.0)
        held_s = row.held / max(self._rates.get(row.urls, 0.0), 1.0)
        return held_s > _HELD_S and left < held_s * best


def _key(row: Row) -> Peer | Urls:
    return row.urls or row.at
