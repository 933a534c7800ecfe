"""Tells the observers when a verb begins and how it ended. One mark above a verb does it, so that none forgets its end.

    @told            a coroutine; its ``observe=`` and the observers both hear its Progress and Notes
    @told_pieces     an asynchronous generator; the same
    @told_while      a context, such as that of ``serve``

Without observers a verb runs as it stands, but for one look at that.
"""

from __future__ import annotations

import inspect
import time
from contextlib import aclosing, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wherry.observe import Began, Ended, quiet
from wherry.results import AddResult, GetResult, RepairResult, VerifyResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from wherry.observe import Emit, Observe, Shown
    from wherry.session.parts import Parts

    Verb = TypeVar("Verb", bound=Callable[..., Coroutine[Any, Any, Any]])
    Pieces = TypeVar("Pieces", bound=Callable[..., AsyncGenerator[Any, None]])
    While = TypeVar("While", bound=Callable[..., AbstractAsyncContextManager[Any]])


class _Telling:
    """Tells of a verb that runs inside the block, and gives a list for the bytes that it handled.

    A generator for it took half a KiB more, in each of a thousand transfers.
    """

    __slots__ = ("_began", "_emit", "_sizes", "_verb")

    def __init__(self, emit: Emit, verb: str) -> None:
        self._emit, self._verb = emit, verb
        self._began = 0.0
        self._sizes: list[int] = []

    def __enter__(self) -> list[int]:
        self._emit(Began(self._verb))
        self._began = time.monotonic()
        return self._sizes

    def __exit__(self, kind: type[BaseException] | None, _problem: object, _trace: object) -> None:
        # Whoever reads the pieces of a verb and has enough closes it: that is no failure.
        error = kind.__name__ if kind is not None and not issubclass(kind, GeneratorExit) else None
        self._emit(Ended(verb=self._verb, seconds=time.monotonic() - self._began, bytes=sum(self._sizes), error=error))


def both(emit: Emit, observe: Observe | None) -> Observe | None:
    """Gives what tells the observers and ``observe``; None if there is nobody to tell."""
    if emit is quiet:
        return observe
    if observe is None:
        return emit
    caller = observe

    def tell(event: Shown) -> None:
        emit(event)
        caller(event)

    return tell


def _takes_observe(verb: Callable[..., Any]) -> bool:
    return "observe" in inspect.signature(verb).parameters


def told(verb: Verb) -> Verb:
    """Marks a verb that is a coroutine."""
    takes_observe = _takes_observe(verb)

    @wraps(verb)
    async def telling(self: Parts, *given: Any, **options: Any) -> Any:
        emit = self._emit
        if emit is quiet:
            running = verb(self, *given, **options)
            options.clear()  # the verb has them: 0.3 KB in each of a thousand transfers
            return await running
        if takes_observe:
            options["observe"] = both(emit, options.get("observe"))
        with _Telling(emit, verb.__name__) as sizes:
            running = verb(self, *given, **options)
            options.clear()
            result = await running
            if isinstance(result, AddResult | GetResult | VerifyResult | RepairResult):
                sizes.append(result.bytes)
            return result

    return cast("Verb", telling)


def told_pieces(verb: Pieces) -> Pieces:
    """Marks a verb that is a generator; pieces that are bytes count."""
    takes_observe = _takes_observe(verb)

    @wraps(verb)
    def telling(self: Parts, *given: Any, **options: Any) -> AsyncGenerator[Any, None]:
        if self._emit is quiet:
            return verb(self, *given, **options)
        if takes_observe:
            options["observe"] = both(self._emit, options.get("observe"))
        return _told_pieces(self._emit, verb.__name__, verb(self, *given, **options))

    return cast("Pieces", telling)


async def _told_pieces(emit: Emit, verb: str, pieces: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    with _Telling(emit, verb) as sizes:
        sizes.append(0)
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, bytes):
                    sizes[0] += len(piece)
                yield piece


def told_while(verb: While) -> While:
    """Marks a verb that is a context."""

    @wraps(verb)
    @asynccontextmanager
    async def telling(self: Parts, *given: Any, **options: Any) -> AsyncIterator[Any]:
        with _Telling(self._emit, verb.__name__):
            async with verb(self, *given, **options) as opened:
                yield opened

    return cast("While", telling)
