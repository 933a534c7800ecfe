"""Tells an observer how far a verb is: ten times a second, and once at the end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wherry.observe import Observe, Progress

_EVERY_S: Final = 0.1


@asynccontextmanager
async def paced(observe: Observe | None, progress: Callable[[], Progress]) -> AsyncIterator[None]:
    """Calls ``observe`` with what ``progress`` gives, while the context lasts and at its end."""
    if observe is None:
        yield
        return

    async def tell() -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            observe(progress())

    telling = asyncio.create_task(tell())
    try:
        yield
        observe(progress())
    finally:
        telling.cancel()
        await asyncio.wait([telling])
