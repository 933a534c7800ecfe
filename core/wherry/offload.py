"""Calls blocking functions in threads, so that cancelling never leaves one behind that still uses lent things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")


async def in_thread(call: Callable[[], T], executor: Executor | None = None) -> T:
    """Runs ``call`` in a thread (of the loop's own executor if none is given) and gives what it gives.

    Cancelled, it waits until the call has come back, and raises CancelledError then.
    """
    running = asyncio.get_running_loop().run_in_executor(executor, call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:  # cancelled again: the thread is there all the same
                continue
        raise
