"""One direction of the link at work: a tree of buckets under a lock, and timers on the loops of those who wait."""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Final

from wherry.traffic.level import Request
from wherry.traffic.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wherry.traffic.level import Leaf, Transfer

TICK_S: Final = 0.005  # grants are given in batches, not one for each wake-up: 200 a second at most
_DOZE_S: Final = 0.05  # nobody who waits is looked at less often: a bucket may be given back to without a word


class _Waiter:
    """Who waits on which loop."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def tell(self) -> None:
        """Ends the waiting. On the waiter's loop."""
        if not self.future.done():
            self.future.set_result(None)


class Way:
    """Up, or down. Safe for threads; who waits may be on any loop. ``look`` is called with the time, under the lock, before
    anything is given: it may change rates.
    """

    def __init__(self, shares: Mapping[str, float], clock: Callable[[], float], look: Callable[[Way, float], None]) -> None:
        self.lock = Lock()
        self.tree = Tree(shares, clock())
        self.clock = clock
        self._look = look
        self._waiters: dict[asyncio.AbstractEventLoop, int] = {}
        self._timers: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}

    def now(self) -> float:
        """Gives the time, with the rates that hold then in force. Under the lock."""
        now = self.clock()
        self._look(self, now)
        return now

    async def wait(self, transfer: Transfer, peer: str, count: int) -> None:
        """Waits until ``count`` bytes may move. Cancelled, it takes none."""
        if count <= 0:
            return
        with self.lock:
            now = self.now()
            request = Request(self.tree.leaf(transfer, peer, now), count)
            loop = asyncio.get_running_loop()
            waiter = request.waiter = _Waiter(loop)
            done = self.tree.ask(request, now)
            if request.left:
                self._waiters[loop] = self._waiters.get(loop, 0) + 1
        self.tell(done)
        if waiter.future.done():
            return
        try:
            self._arm(loop)
            await waiter.future
        except asyncio.CancelledError:
            with self.lock:
                self.tree.cancel(request, self.clock())
            raise
        finally:
            self._left(loop)

    def _left(self, loop: asyncio.AbstractEventLoop) -> None:
        with self.lock:
            self._waiters[loop] -= 1
            if not self._waiters[loop]:
                del self._waiters[loop]
        if loop not in self._waiters and (timer := self._timers.pop(loop, None)) is not None:
            timer.cancel()

    def take(self, transfer: Transfer, peer: str, most: int) -> int:
        """Takes up to ``most`` bytes at once; gives how many."""
        with self.lock:
            now = self.now()
            return self.tree.take(self.tree.leaf(transfer, peer, now), most, now) if most > 0 else 0

    def give(self, transfer: Transfer, peer: str, count: int) -> None:
        """Gives back what was not used."""
        with self.lock:
            now = self.clock()
            self.tree.leaf(transfer, peer, now).refund(count, now)

    def moved(self, transfer: Transfer, peer: str, count: int) -> None:
        """Counts bytes that went without leave. They also count against limits that have come into force since."""
        with self.lock:
            now = self.clock()
            self.tree.leaf(transfer, peer, now).charge(count, now)

    def leaf(self, transfer: Transfer, peer: str) -> Leaf:
        """Gives a peer's leaf. Under the lock."""
        return self.tree.leaf(transfer, peer, self.clock())

    def serve(self) -> None:
        """Gives what may be given: something was changed."""
        with self.lock:
            done = self.tree.serve(self.now())
        self.tell(done)

    def tell(self, done: Iterable[Request]) -> None:
        """Wakes those whose requests are complete, each on its own loop. Not under the lock."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:  # a thread without a loop changed something
            here = None
        for request in done:
            waiter = request.waiter
            if not isinstance(waiter, _Waiter):
                continue
            if waiter.loop is here:
                waiter.tell()
            elif not waiter.loop.is_closed():
                waiter.loop.call_soon_threadsafe(waiter.tell)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sets this loop's timer, unless it is set."""
        if loop in self._timers:
            return
        with self.lock:
            now = self.clock()
            delay = self.tree.opens(now) - now
        self._timers[loop] = loop.call_later(min(max(delay, TICK_S), _DOZE_S), self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timers.pop(loop, None)
        self.serve()
        if loop in self._waiters:
            self._arm(loop)
