"""Tells an observer how far a verb is: ten times a second while it gets on, twice while it does not, and once at the end.

A daemon has a thousand verbs that run, most of which wait for their turn.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

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
    raised: list[Exception] = []

    async def tell() -> None:
        told, still = None, 0
        try:
            while True:
                await asyncio.sleep(_EVERY_S if still < _STILL else _RARELY_S)
                now = progress()
                still = still + 1 if now == told else 0
                if not still or still > _STILL:
                    observe(now)
                told = now
        except Exception as problem:  # noqa: BLE001  # the observer's own; raised below, in the verb
            raised.append(problem)
            if body is not None:
                body.cancel()

    telling = asyncio.create_task(tell())
    try:
        yield
        if raised:  # the cancellation is on its way; meet it here
            await asyncio.sleep(0)
        observe(progress())
    except asyncio.CancelledError:
        if raised and body is not None and not body.uncancel():  # nobody else cancelled it
            raise raised[0] from None
        raise
    finally:
        telling.cancel()
        await asyncio.wait([telling])
