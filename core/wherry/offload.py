"""Calls blocking functions in threads, so that cancelling never leaves one behind that still uses lent things."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Executor

T = TypeVar("T")


async def apart(call: Callable[[], T], stop: Callable[[], None]) -> T:
    """Does as `stoppable`, in a thread of its own: for a call that waits for buffers (see `BufferPool.take`)."""
    with ThreadPoolExecutor(1, "wherry-apart") as thread:
        return await stoppable(call, stop, thread)


async def stoppable(call: Callable[[], T], stop: Callable[[], None], executor: Executor | None = None) -> T:
    """Runs ``call`` in a thread; cancelled, calls ``stop``, waits until the call has come back, and raises CancelledError."""
    running = asyncio.ensure_future(in_thread(call, executor))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop()
        running.cancel()  # raises what cancelled it when the call is back, and nothing before
        await settled([running])
        raise


async def settled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Waits until all of ``tasks`` are done, however often this one is cancelled meanwhile; what they raised is dropped."""
    cancelled: asyncio.CancelledError | None = None
    waiting = set(tasks)
    while waiting:
        try:
            _, waiting = await asyncio.wait(waiting)
        except asyncio.CancelledError as problem:
            cancelled = problem
            waiting = {task for task in waiting if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if cancelled is not None:
        raise cancelled


async def in_thread(call: Callable[[], T], executor: Executor | None = None, *, undo: Callable[[T], object] | None = None) -> T:
    """Runs ``call`` in a thread (of the loop's own executor if none is given) and gives what it gives.

    Cancelled, it waits until the call has come back, and raises CancelledError then. What the call gave reaches nobody: if that
    holds something, such as a file, a lock or a thread, ``undo`` must free it. It runs in a thread too, and is waited for.
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(executor, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await _back(running)
        if undo is not None and not running.cancelled() and running.exception() is None:
            await _back(loop.run_in_executor(executor, undo, running.result()))
        raise


async def _back(running: asyncio.Future[Any]) -> None:
    """Waits until a call has come back, however often this is cancelled; what it raised is dropped."""
    while not running.done():
        with suppress(asyncio.CancelledError):  # cancelled again: the thread is there all the same
            await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # or asyncio would print what nobody took


async def crewed(threads: Executor, work: Callable[[], None], hands: int, cut: Callable[[], None]) -> None:
    """Has ``hands`` threads do ``work`` side by side, and raises what one of them raised.

    Cancelled, it calls ``cut``, which must make those that have begun end soon, waits until all have come back, however often
    it is cancelled, and raises CancelledError then: what they share, such as a lent buffer, is nobody's any more.
    """
    started = [threads.submit(work) for _ in range(hands)]
    waiting = [asyncio.wrap_future(one) for one in started]
    try:
        await asyncio.wait(waiting)
    except asyncio.CancelledError:
        cut()
        for one in started:
            one.cancel()  # a thread that has begun goes on, and sees that it was cut
        while any(not one.done() for one in waiting):
            with suppress(asyncio.CancelledError):
                await asyncio.wait(waiting)
        for done in waiting:
            if not done.cancelled():
                done.exception()  # is dropped: asyncio would print what nobody took
        raise
    for done in waiting:
        done.result()
