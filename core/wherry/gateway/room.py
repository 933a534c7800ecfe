"""What the walks of a process may hold together: each has a little of its own, and more while there is some (specs/0033 §6).

A bound for each walk says nothing of their sum. So there are only so many at a time, and beyond what each has of its own they
take from what all share. A walk that gets no more remembers less, and is not cut for that; one that needs more for the links
that wait is.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry.limits import GATEWAY_WALK_OWN, GATEWAY_WALKS_MAX, GATEWAY_WALKS_SEEN_MAX, GATEWAY_WALKS_WAITING_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator


class Share:
    """What one walk has of it. Any thread."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._seen = self._waiting = 0  # of what all share
        self._closed = False

    def remember(self, count: int) -> bool:
        """Takes room to remember ``count`` more blocks; False: there is none."""
        with self._room.lock:
            if self._closed or self._room.seen < count:
                return False
            self._room.seen -= count
            self._seen += count
            return True

    def wait(self, count: int) -> bool:
        """Notes that ``count`` links wait in all; False: that is more than there is room for."""
        more = max(0, count - GATEWAY_WALK_OWN) - self._waiting
        with self._room.lock:
            if self._closed or self._room.waiting < more:
                return False
            self._room.waiting -= more
            self._waiting += more
            return True

    def close(self) -> None:
        """Gives all back. A thread that still walks gets nothing any more."""
        with self._room.lock:
            self._closed = True
            self._room.seen += self._seen
            self._room.waiting += self._waiting
            self._seen = self._waiting = 0


class Room:
    """The room that there is. Any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.walks = 0  # under way
        self.seen, self.waiting = GATEWAY_WALKS_SEEN_MAX, GATEWAY_WALKS_WAITING_MAX  # that are left for all

    @contextmanager
    def share(self) -> Iterator[Share | None]:
        """Lets one more walk begin, and end; None: there are too many."""
        with self.lock:
            free = self.walks < GATEWAY_WALKS_MAX
            self.walks += free
        if not free:
            yield None
            return
        share = Share(self)
        try:
            yield share
        finally:
            share.close()
            with self.lock:
                self.walks -= 1
