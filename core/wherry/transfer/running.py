"""Runs a fetcher beside what uses it, and gives one error where several came at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.errors import WherryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.transfer.fetch import Fetcher


@asynccontextmanager
async def running(fetcher: Fetcher) -> AsyncIterator[None]:
    """Fetches while the context lasts. When it is left no fetch is under way, and no thread uses a buffer, any more.

    Raises what the fetcher or the body raised, never a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(fetcher.run())
            try:
                yield
            finally:
                working.cancel()
    except BaseExceptionGroup as problems:
        raise _worst(problems) from problems


def _worst(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """Picks what to raise of several errors: a bug first, then one of wherry's own."""
    flat: list[BaseException] = []
    stack: list[BaseException] = [problems]
    while stack:
        problem = stack.pop()
        if isinstance(problem, BaseExceptionGroup):
            stack.extend(problem.exceptions)
        else:
            flat.append(problem)
    bugs = [problem for problem in flat if not isinstance(problem, WherryError | asyncio.CancelledError)]
    own = [problem for problem in flat if isinstance(problem, WherryError)]
    return (bugs or own or flat)[0]
