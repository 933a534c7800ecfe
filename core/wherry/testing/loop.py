"""Runs an async context manager on an event loop in a thread of its own, for tests that have no loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


@contextmanager
def running(resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Holds ``resource`` entered while the ``with`` block runs; what entering or leaving it raises is raised here.

    The block runs on the calling thread. It may read plain attributes of what it is given; methods that must run on the
    loop it cannot call.
    """
    entered: Future[T] = Future()
    leave = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def hold() -> None:
        loops.append(asyncio.get_running_loop())
        async with resource as value:
            entered.set_result(value)
            await leave.wait()

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(hold())
        except BaseException as problem:  # noqa: BLE001 - carried over to the calling thread, which raises it
            failures.append(problem)
            if not entered.done():
                entered.set_exception(problem)

    thread = threading.Thread(target=run, name="wherry-testing-loop")
    thread.start()
    try:
        yield entered.result()
    finally:
        if entered.exception() is None:
            with suppress(RuntimeError):  # the loop ended by itself; why is in `failures`
                loops[0].call_soon_threadsafe(leave.set)
        thread.join()
    if failures:
        raise failures[0]
