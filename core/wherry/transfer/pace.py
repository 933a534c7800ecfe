"""Tells an observer how far a verb is: ten times a second while it gets on, twice while it does not, and once at the end.

A daemon has a thousand verbs that run, most of which wait for their turn.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wherry.observe import Observe, Progress

_EVERY_S: Final = 0.1
_STILL: Final = 10  # looks without a change; from then on they are rare
_RARELY_S: Final = 0.5


@asynccontextmanager
async def paced(observe: Observe | None, progress: Callable[[], Progress]) -> AsyncIterator[None]:
    """Calls ``observe`` with what ``progress`` gives, while the context lasts and at its end.

    What ``observe`` raises cancels the body and is raised when that has ended.
    """
    if observe is None:
        yield
        return
    body = asyncio.current_task()
    telling = _Telling(observe, progress, body)
    telling.wait()
    try:
        yield
        if telling.raised is not None:  # the cancellation is on its way; meet it here
            await asyncio.sleep(0)
        observe(progress())
    except asyncio.CancelledError:
        if telling.raised is not None and body is not None and not body.uncancel():  # nobody else cancelled it
            raise telling.raised from None
        raise
    finally:
        telling.end()


class _Telling:
    """Tells now and then, from a timer: a task that sleeps takes 1.5 KB more, in each of a thousand transfers."""

    __slots__ = ("_body", "_observe", "_progress", "_still", "_timer", "_told", "raised")

    def __init__(self, observe: Observe, progress: Callable[[], Progress], body: asyncio.Task[Any] | None) -> None:
        self._observe, self._progress, self._body = observe, progress, body
        self._told: Progress | None = None
        self._still = 0  # looks without a change
        self._timer: asyncio.TimerHandle | None = None
        self.raised: Exception | None = None  # by the observer

    def wait(self) -> None:
        """Waits until the next look."""
        seconds = _EVERY_S if self._still < _STILL else _RARELY_S
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def end(self) -> None:
        """Tells nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        try:
            now = self._progress()
            self._still = self._still + 1 if now == self._told else 0
            if not self._still or self._still > _STILL:
                self._observe(now)
            self._told = now
        except Exception as problem:  # noqa: BLE001  # the observer's own; raised above, in the verb
            self.raised = problem
            if self._body is not None:
                self._body.cancel()
            return
        self.wait()
