"""The memory for messages that have begun to come and are not done with (specs/0035 §5)."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

try:
    import trio
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = None

_MIB: Final = 1024 * 1024
_BEGUN_BYTES_MAX: Final = 32 * _MIB  # of all peers
_PEER_BYTES_MAX: Final = 8 * _MIB
_SMALL_BYTES: Final = 16 * 1024  # wants and their answers: they wait for nothing
_MESSAGE_S: Final = 10.0  # for which a message may take, and
_MIB_S: Final = 10.0  # for each MiB of it besides
_BEHIND_S: Final = 5.0  # by which it may fall behind while others wait for its room
_LOOK_S: Final = 1.0


class Begun:
    """A message that has begun to come: how much of it is here, and how long it may take."""

    def __init__(self, peer: Any, length: int) -> None:
        """``length`` is in bytes. Its time begins now."""
        self.peer, self.length = peer, length
        self.have = 0  # bytes
        self._began = trio.current_time()
        self._seconds = _MESSAGE_S + _MIB_S * length / _MIB
        self.scope = trio.CancelScope(deadline=self._began + self._seconds)  # in which it is read

    @property
    def took(self) -> float:
        """The seconds that it has taken up to now."""
        seconds: float = trio.current_time() - self._began
        return seconds

    @property
    def behind(self) -> bool:
        """Tells whether it has stood still for a while, or comes too slowly to be here in time."""
        return self.have < self.length * (self.took - _BEHIND_S) / self._seconds


class Room:
    """The memory for messages that have begun to come and are not done with, of all peers of a host."""

    def __init__(self, most: int = _BEGUN_BYTES_MAX, each: int = _PEER_BYTES_MAX) -> None:
        """``most`` bytes of all peers, ``each`` of one."""
        self._most, self._each = most, each
        self._taken: Counter[Any] = Counter()  # bytes of each peer
        self._begun: set[Begun] = set()
        self._crowded: Counter[Any] = Counter()  # messages of each peer that wait for what others have
        self._freed = trio.Event()  # replaced whenever some are given back

    async def take(self, peer: Any, length: int, *, asked: bool) -> Begun:
        """Waits until ``length`` bytes more are free for a peer; all of a message at once, so that what has begun can end.

        Of whom nothing was ``asked``, who come by themselves, may have half: else a few of them would keep blocks from coming.
        A quarter is kept for those who have none yet: else a few who are asked would. While one who was asked waits for what
        others have, messages that do not keep pace are given up.
        """
        if length > _SMALL_BYTES:
            while not self._fits(peer, length, asked=asked):
                if self._taken[peer] + length > self._each or not asked:
                    await self._freed.wait()
                else:
                    await self._squeeze(peer)
        begun = Begun(peer, length)
        if length > _SMALL_BYTES:
            self._taken[peer] += length
            self._begun.add(begun)
        return begun

    def _fits(self, peer: Any, length: int, *, asked: bool) -> bool:
        most = self._most // 2 if not asked else self._most * 3 // 4 if self._taken[peer] else self._most
        return self._taken[peer] + length <= self._each and self._taken.total() + length <= most

    async def _squeeze(self, peer: Any) -> None:
        self._crowded[peer] += 1
        try:
            with trio.move_on_after(_LOOK_S):
                await self._freed.wait()
        finally:
            self._crowded[peer] -= 1
            if not self._crowded[peer]:
                del self._crowded[peer]
        for begun in self._begun:
            if begun.behind:
                begun.scope.cancel()

    def crowded(self, peer: Any) -> bool:
        """Tells whether a peer that was asked cannot be heard, as others have the room: that is no fault of its."""
        return peer in self._crowded

    def give(self, begun: Begun) -> None:
        """Takes back the bytes of a message."""
        if begun not in self._begun:  # a small one
            return
        self._begun.discard(begun)
        self._taken[begun.peer] -= begun.length
        if not self._taken[begun.peer]:
            del self._taken[begun.peer]
        self._freed.set()
        self._freed = trio.Event()
