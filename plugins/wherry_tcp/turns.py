"""Who of those that share a connection asks next: each in its turn, one request at a time (specs/0004 §5).

A transfer with many requests under way must not take the link from one that has few.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ALL: Final = 16  # requests under way of all, while several share: enough to fill a link
_EACH: Final = 4  # and of each of them at the least

Turn = asyncio.Future[None]


class Turns:
    """Requests that wait for their turn, by who makes them. For one event loop."""

    def __init__(self, room: Callable[[], int]) -> None:
        """``room`` gives how many requests may be made now, without those that have their turn and are not made yet."""
        self.starting = 0  # of these; whoever makes one counts down
        self._room = room
        self._waiting: OrderedDict[object, deque[Turn]] = OrderedDict()  # whose turn is next first
        self._under_way: dict[object, int] = {}
        self._ended = False

    async def take(self, owner: object) -> None:
        """Waits until ``owner`` may make a request. Say `over` when that is done."""
        if self._ended or (not self._waiting and self._room() > self.starting and self._may(owner)):
            self._begin(owner)
            return
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self.look()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.starting -= 1
                self.over(owner)
            else:
                self._drop(owner, turn)
                self.look()
            raise

    def over(self, owner: object) -> None:
        """A request is over."""
        left = self._under_way[owner] - 1
        if left:
            self._under_way[owner] = left
        else:
            del self._under_way[owner]
        self.look()

    def look(self) -> None:
        """Lets those begin for whom there is room now."""
        while self._waiting and self._room() > self.starting:
            owner = next((one for one in self._waiting if self._may(one)), None)
            if owner is None:
                return
            turn = self._waiting[owner].popleft()
            if self._waiting[owner]:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            self._begin(owner)
            turn.set_result(None)

    def end(self) -> None:
        """Lets all begin, and whoever comes later: the connection has ended, and they will see that."""
        self._ended = True
        waiting, self._waiting = self._waiting, OrderedDict()
        for owner, turns in waiting.items():
            for turn in turns:
                self._begin(owner)
                turn.set_result(None)

    def _begin(self, owner: object) -> None:
        self.starting += 1
        self._under_way[owner] = self._under_way.get(owner, 0) + 1

    def _may(self, owner: object) -> bool:
        """Whether it has not as many under way as it may, while others are there."""
        many = len(self._under_way) >= _ALL or len(self._waiting) >= _ALL
        owners = _ALL if many else len(self._under_way.keys() | self._waiting.keys() | {owner})
        return owners == 1 or self._under_way.get(owner, 0) < max(_EACH, _ALL // owners)

    def _drop(self, owner: object, turn: Turn) -> None:
        turns = self._waiting.get(owner)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[owner]
