"""Tells listeners which transfers changed; a slow one gets fewer lines, never more memory (specs/0027 §6)."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry.errors import PeerBusy
from wherry.limits import CONTROL_STREAMS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator


class Listener:
    """What one listener has not heard yet: numbers of transfers, each once, however often it changed."""

    def __init__(self) -> None:
        self._changed: dict[int, None] = {}
        self._any = asyncio.Event()

    def tell(self, number: int) -> None:
        """A transfer changed."""
        self._changed[number] = None
        self._any.set()

    async def heard(self, timeout_s: float) -> list[int]:
        """Waits until any changed, at most ``timeout_s``; gives those that did, the first one first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._any.wait()
        except TimeoutError:
            return []
        changed = list(self._changed)
        self._changed.clear()
        self._any.clear()
        return changed


class News:
    """All listeners of a daemon. For the thread of its loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def tell(self, number: int) -> None:
        """A transfer changed."""
        for listener in self._listeners:
            listener.tell(number)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Gives a listener that hears all changes inside the block. Raises PeerBusy if there are many."""
        if len(self._listeners) >= CONTROL_STREAMS_MAX:
            raise PeerBusy(f"{CONTROL_STREAMS_MAX} others listen already", hint="end one of them")
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
