"""The virtual clock: what happens, in its order (specs/0030 §3)."""

from __future__ import annotations

import heapq
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK: Final = Struct(">dIII")


class Clock:
    """Events by time; of the same time, those first that were said first. Nothing here depends on anything but them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._trace = blake2b(digest_size=16)

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Has ``call`` happen at a time, or now if that is over."""
        self._order += 1
        heapq.heappush(self._heap, (max(when, self.now), self._order, call, arguments))

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Has ``call`` happen in a while."""
        self._order += 1
        heapq.heappush(self._heap, (self.now + seconds, self._order, call, arguments))

    def step(self) -> bool:
        """Lets the next thing happen. False: there is none."""
        if not self._heap:
            return False
        self.now, _, call, arguments = heapq.heappop(self._heap)
        self.events += 1
        call(*arguments)
        return True

    def mark(self, what: int, one: int, other: int) -> None:
        """Adds to the trace: two runs with the same one went the same way."""
        self._trace.update(_MARK.pack(self.now, what, one, other))

    @property
    def trace(self) -> str:
        """The trace so far, as a hash."""
        return self._trace.hexdigest()
