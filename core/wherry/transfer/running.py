"""Runs a fetcher beside what uses it, and gives one error where several came at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wherry.errors import WherryError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from wherry.transfer.fetch import Fetcher


def running(fetcher: Fetcher) -> AbstractAsyncContextManager[None]:
    """Fetches while the context lasts. When it is left no fetch is under way, and no thread uses a buffer, any more.

    Raises what the fetcher or the body raised, never a group.
    """
    return _Running(fetcher)


class _Running:
    """The context. A generator for it takes half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_fetcher", "_group", "_working")

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._group = asyncio.TaskGroup()
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        await self._group.__aenter__()
        self._working = self._group.create_task(self._fetcher.run())

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._working is not None:
            self._working.cancel()
        try:
            await self._group.__aexit__(kind, problem, trace)
        except BaseExceptionGroup as problems:  # the group puts all that was raised into one; nothing is kept back
            raise worst(problems) from problems


def worst(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """Picks what to raise of several errors: a bug first, then one of wherry's own."""
    flat: list[BaseException] = []
    stack: list[BaseException] = [problems]
    while stack:
        problem = stack.pop()
        if isinstance(problem, BaseExceptionGroup):
            stack.extend(problem.exceptions)
        else:
            flat.append(problem)
    # A generator that is closed because its work failed is told so where it stands: that is no bug, and no reason either.
    bugs = [problem for problem in flat if not isinstance(problem, WherryError | asyncio.CancelledError | GeneratorExit)]
    own = [problem for problem in flat if isinstance(problem, WherryError)]
    return (bugs or own or flat)[0]
