"""What a peer said that it has of the datasets that this node follows, within bounds (specs/0004 §3.3). For one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import HaveMap
from wherry.limits import HAVE_SPANS_FAIR, HAVE_SPANS_MAX, HAVE_SPANS_NODE_MAX, SWARM_FOLLOWS_MAX
from wherry.stretches import Stretches
from wherry.wire.messages import HaveFlag

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.wire.messages import Have
    from wherry_tcp.engine import Engine

_RATE: Final = 8192.0  # spans a second that one peer is heard: some 30 ms of the loop; news of one dataset are a third at most
_AT_ONCE: Final = 65_536.0  # and so many before that: whole maps, when it is met
_MESSAGE: Final = 8  # spans that a message counts as, besides its own


class Maps:
    """The have-maps of one peer. Closed by its session."""

    def __init__(self, engine: Engine, now: float) -> None:
        self._engine = engine
        self._maps: dict[CID, HaveMap | None] = {}  # None: nothing was said yet
        self._spans = 0  # of all of them
        self._credit = _AT_ONCE
        self._heard_at = now

    def __contains__(self, root: CID) -> bool:
        return root in self._maps

    def follow(self, root: CID) -> bool:
        """Begins the map of a dataset; tells whether there was none, and there is room for it."""
        if root in self._maps or len(self._maps) >= SWARM_FOLLOWS_MAX:
            return False
        self._maps[root] = None
        return True

    def unfollow(self, root: CID) -> bool:
        """Forgets the map of a dataset; tells whether there was one."""
        known = root in self._maps
        self.nothing(root)
        self._maps.pop(root, None)
        return known

    def nothing(self, root: CID) -> None:
        """The peer does not tell what it has of a dataset any more."""
        old = self._maps.get(root)
        if old is not None:
            self._maps[root] = None
            self._count(-len(old.spans))

    def took(self, have: Have, size: int) -> tuple[HaveMap, list[tuple[int, int]] | None]:
        """Takes what the peer says of a dataset of ``size`` bytes (0: not known); gives all that it has now, and what is new.

        The latter is None where it told everything anew. What lies beyond the end, and what is too much, is passed over: so a
        map may claim less than is true, never more.
        """
        gained = bool(have.flags & HaveFlag.GAINED)
        if not gained:
            self.nothing(have.root)
        old = self._maps[have.root]
        known = old.spans if old is not None else Stretches()
        before = len(known)
        most = before + self._room()
        new = []
        for start, end in have.spans:
            end = min(end, size) if size else end
            if start >= end:
                break  # they stand in their order
            if len(known) < most or known.covers(start - 1, start):
                known.add(start, end)
                new.append((start, end))
        self._count(len(known) - before)
        self._maps[have.root] = found = HaveMap(known, bool(have.flags & HaveFlag.COMPLETE), bool(have.flags & HaveFlag.CHOOSY))
        return found, new if gained else None

    def pause_s(self, have: Have, now: float) -> float:
        """Counts a message; gives how long the peer is not listened to from now on: who says much must not stop the loop."""
        self._credit = min(_AT_ONCE, self._credit + (now - self._heard_at) * _RATE) - len(have.spans) - _MESSAGE
        self._heard_at = now
        return max(0.0, -self._credit / _RATE)

    def close(self) -> None:
        """Forgets everything."""
        self._maps.clear()
        self._count(-self._spans)

    def _room(self) -> int:
        """Gives how many spans more are kept of this peer: few, where others told so much that this node is full of it."""
        most = HAVE_SPANS_MAX if self._engine.spans < HAVE_SPANS_NODE_MAX else HAVE_SPANS_FAIR
        return max(0, most - self._spans)

    def _count(self, more: int) -> None:
        self._spans += more
        self._engine.spans += more
