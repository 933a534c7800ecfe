"""Tells an observer how far a verb is: ten times a second while it gets on, twice while it does not, and once at the end.

A daemon has a thousand verbs that run, most of which wait for their turn.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from wherry.observe import Observe, Progress

_EVERY_S: Final = 0.1
_STILL: Final = 10  # looks without a change; from then on they are rare
_RARELY_S: Final = 0.5


def paced(observe: Observe | None, progress: Callable[[], Progress]) -> AbstractAsyncContextManager[None]:
    """Calls ``observe`` with what ``progress`` gives, while the context lasts and at its end.

    What ``observe`` raises cancels the body and is raised when that has ended.
    """
    return nullcontext() if observe is None else _Telling(observe, progress)


class _Telling:
    """Tells now and then, from a timer: a task that sleeps takes 2 KB more, in each of a thousand transfers."""

    __slots__ = ("_body", "_observe", "_progress", "_raised", "_still", "_timer", "_told")

    def __init__(self, observe: Observe, progress: Callable[[], Progress]) -> None:
        self._observe, self._progress = observe, progress
        self._body: asyncio.Task[Any] | None = None
        self._told: Progress | None = None
        self._still = 0  # looks without a change
        self._timer: asyncio.TimerHandle | None = None
        self._raised: Exception | None = None  # by the observer

    async def __aenter__(self) -> None:
        self._body = asyncio.current_task()
        self._wait()

    async def __aexit__(self, _kind: object, problem: BaseException | None, _trace: object) -> None:
        try:
            if problem is None:
                if self._raised is not None:  # the cancellation is on its way; meet it here
                    await asyncio.sleep(0)
                self._observe(self._progress())
        except asyncio.CancelledError as late:
            self._meet(late)
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        self._meet(problem)

    def _meet(self, problem: BaseException | None) -> None:
        """Raises what the observer raised, where the body was cancelled for that and by nobody else."""
        cancelled = isinstance(problem, asyncio.CancelledError)
        if cancelled and self._raised is not None and self._body is not None and not self._body.uncancel():
            raise self._raised from None

    def _wait(self) -> None:
        seconds = _EVERY_S if self._still < _STILL else _RARELY_S
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        try:
            now = self._progress()
            self._still = self._still + 1 if now == self._told else 0
            if not self._still or self._still > _STILL:
                self._observe(now)
            self._told = now
        except Exception as problem:  # noqa: BLE001  # the observer's own; raised above, in the verb
            self._raised = problem
            if self._body is not None:
                self._body.cancel()
            return
        self._wait()
