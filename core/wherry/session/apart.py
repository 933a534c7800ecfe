"""Runs a verb that gives pieces in a task of its own: what ends its work early never cancels whoever takes the pieces.

A group of tasks that fails cancels the task it was entered in. Of a generator that is the reader's, wherever that is by then:
its pieces would end with a cancellation that nobody asked for, and not with the error.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from wherry.offload import settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    Pieces = TypeVar("Pieces", bound=Callable[..., AsyncGenerator[Any, None]])

_END: Final = object()


def apart(ahead: int) -> Callable[[Pieces], Pieces]:
    """Marks such a verb; so many pieces may be made before they are taken."""

    def mark(verb: Pieces) -> Pieces:
        @wraps(verb)
        def running(*given: Any, **options: Any) -> AsyncGenerator[Any, None]:
            return _taken(verb(*given, **options), ahead)

        return cast("Pieces", running)

    return mark


async def _taken(pieces: AsyncGenerator[Any, None], ahead: int) -> AsyncGenerator[Any, None]:
    ready: asyncio.Queue[Any] = asyncio.Queue()
    room = asyncio.Semaphore(ahead)

    async def make() -> None:
        try:
            async with aclosing(pieces):
                await room.acquire()
                async for piece in pieces:
                    ready.put_nowait(piece)
                    await room.acquire()
        finally:
            ready.put_nowait(_END)

    making = asyncio.create_task(make())
    try:
        while (piece := await ready.get()) is not _END:
            room.release()
            yield piece
        await making
    finally:
        making.cancel()
        await settled([making])
