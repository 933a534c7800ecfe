"""Runs a verb that gives pieces in a task of its own: what ends its work early never cancels whoever takes the pieces.

A group of tasks that fails cancels the task it was entered in. Of a generator that is the reader's, wherever that is by then:
its pieces would end with a cancellation that nobody asked for, and not with the error.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
    # Two marks instead of a queue and a semaphore: of a million entries those two cost more than reading the links.
    ready: deque[Any] = deque()
    came, taken = asyncio.Event(), asyncio.Event()

    async def make() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    ready.append(piece)
                    came.set()
                    while len(ready) >= ahead:
                        taken.clear()
                        await taken.wait()
        finally:
            ready.append(_END)
            came.set()

    making = asyncio.create_task(make())
    try:
        while True:
            while not ready:
                came.clear()
                await came.wait()
            if (piece := ready.popleft()) is _END:
                break
            taken.set()
            yield piece
        await making
    finally:
        making.cancel()
        await settled([making])
