"""A bell: wakes all who wait for anything to change."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes all who wait for anything to change. For one loop.

    Three wait in each transfer nearly always, and are woken often. So they share one timer, which is left running when the
    bell rings: it may come for nobody. A timer of each took 0.3 KB while it ran, and as long again after it was cancelled,
    for the loop forgets cancelled timers only when they are half of all.
    """

    __slots__ = ("_at", "_timer", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Future[None], float]] = []  # who, and until when, by the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0  # when it is due

    def ring(self) -> None:
        """Something changed."""
        waiting, self._waiting = self._waiting, []
        for future, _ in waiting:
            _wake(future)

    async def heard(self, timeout_s: float) -> None:
        """Waits until something changes, or the time is over."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future(), loop.time() + timeout_s
        self._waiting.append(waiter)
        self._remind(loop, waiter[1])
        try:
            await waiter[0]
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _remind(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        """Has the timer come at that time, or sooner."""
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at, self._timer = at, loop.call_at(at, self._over, loop)

    def _over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets those go whose time is over."""
        self._timer = None
        now = max(self._at, loop.time())  # the loop comes a little early
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter[1] <= now:
                _wake(waiter[0])
            else:
                self._waiting.append(waiter)
        if self._waiting:
            self._remind(loop, min(at for _, at in self._waiting))


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
