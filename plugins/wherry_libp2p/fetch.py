"""Wants of one request to one peer, in the process of its own (specs/0035 §6)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

try:
    import trio
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = None

_numbers = itertools.count()


class Fetch:
    """Wants of one request to one peer. What arrives is passed on by ``receive(index, data)``."""

    def __init__(self, cids: list[bytes], receive: Any, sizes: Sequence[int | None] = ()) -> None:
        """``sizes`` are the bytes of the blocks; None, or none at all: not known."""
        self.cids, self.receive = cids, receive
        self.sizes = sizes or [None] * len(cids)
        self.number = next(_numbers)  # who comes first is asked for first
        self.left: dict[bytes, list[int]] = {}  # digest: indexes of wants
        for index, cid in enumerate(cids):
            self.left.setdefault(cid[-32:], []).append(index)
        self.problem: Exception | None = None  # why nothing more is to be expected: ValueError, ConnectionError
        self.ended = trio.Event()
        self.moved = trio.Event()  # replaced whenever something comes

    async def block(self, digest: bytes, data: bytes) -> None:
        """Takes a block that is right."""
        for index in self.left.pop(digest, ()):
            await self.receive(index, data)
        self._step()

    def missing(self, digest: bytes) -> None:
        """Takes the word that the peer has it not."""
        self.left.pop(digest, None)
        self._step()

    def fail(self, problem: Exception) -> None:
        """Ends it, with what is left of it unfulfilled."""
        self.problem = self.problem or problem
        self._step()

    def _step(self) -> None:
        self.moved.set()
        self.moved = trio.Event()
        if not self.left or self.problem:
            self.ended.set()
