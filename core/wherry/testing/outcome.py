"""What the contract suites expect besides values: which errors come, in time, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerError
from wherry.testing.expect import ContractBroken, expect

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager

    from wherry.errors import WherryError

_SETTLE_S: Final = 2.0  # threads that were told to end, and sockets that are closing, may take a moment


def named(problem: PeerError, name: str = "") -> None:
    """Complains unless an error says whose fault it is."""
    expect(bool(problem.peer) and name in problem.peer, f"{problem!r} does not name the peer")


async def raises(
    kind: type[WherryError], doing: Awaitable[object], what: str, *, within_s: float = 30.0, name: str = ""
) -> None:
    """Complains unless awaiting ``doing`` raises an error of ``kind`` in time; a PeerError must name the peer."""
    try:
        async with asyncio.timeout(within_s):
            await doing
    except kind as problem:
        if isinstance(problem, PeerError):
            named(problem, name)
    except TimeoutError:
        raise ContractBroken(f"{what} is not given up within {within_s:g} s") from None
    except Exception as problem:
        raise ContractBroken(f"{what} gives {problem!r}, must be a {kind.__name__}") from problem
    else:
        raise ContractBroken(f"{what} gives no error, must be a {kind.__name__}")


async def enter(context: AbstractAsyncContextManager[object]) -> None:
    """Enters a context and leaves it again."""
    async with context:
        pass


def leftovers() -> tuple[set[threading.Thread], set[tuple[int, str]]]:
    """Gives the threads and the open sockets, files and pipes of this process."""
    files = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            files.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}, files


async def nothing_left_since(before: tuple[set[threading.Thread], set[tuple[int, str]]]) -> None:
    """Complains of threads and descriptors that were not there before; waits a moment for those that are ending."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _SETTLE_S
    while True:
        threads, files = leftovers()
        threads, files = threads - before[0], files - before[1]
        if not threads and not files:
            return
        if loop.time() > end:
            raise ContractBroken(f"left behind: threads {threads}, descriptors {files}")
        await asyncio.sleep(0.02)


def skip_unless(condition: object, reason: str) -> None:
    """Skips the test, visibly (pytest's ``-rs``), if ``condition`` is not true."""
    if not condition:
        import pytest

        pytest.skip(reason)
