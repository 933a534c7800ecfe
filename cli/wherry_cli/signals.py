"""Ctrl-C and SIGTERM: the first asks the verb to end cleanly, the second ends the process at once.

asyncio's own handling covers SIGINT alone, and closing its loop waits for threads, which a second Ctrl-C must not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR: Final = b"\x1b[?25h\n"  # a progress bar hides it


class Interrupted(BaseException):
    """The run was ended by a signal, after a clean stop. No Exception, so that nothing takes it for an error to mend."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The shell's code for it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signum


class Stop:
    """What the signals of one run do. Made and used on the main thread; elsewhere it leaves the signals alone."""

    def __init__(self, last: Callable[[int], str] | None = None) -> None:
        """``last`` gives the line that is said where the second signal, of that exit code, ends the process."""
        self._last = last
        self.signum: int | None = None  # of the first signal
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handles the signals inside the block. One that was ignored from outside (nohup, a shell's ``&``) stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
        mine = [signum for signum, handler in before.items() if handler is not signal.SIG_IGN]
        for signum in mine:
            signal.signal(signum, self._handle)
        try:
            yield
        finally:
            for signum in mine:
                signal.signal(signum, before[signum])

    async def guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs ``work`` as what the first signal cancels."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with _waking(self._loop):
            await work()

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is not None:
            if sys.stderr is not None and sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR)
            if sys.stderr is not None and self._last is not None:
                with suppress(OSError):
                    os.write(2, self._last(128 + signum).encode("utf-8", "replace") + b"\n")  # a buffer may be locked
            os._exit(128 + signum)
        self.signum = signum
        if self._loop is None or self._task is None or self._task.done():
            raise Interrupted(signum)
        # The loop has looked at what it is to do, or has it yet to do: it must be told that there is more.
        self._loop.call_soon_threadsafe(self._task.cancel)


@contextmanager
def _waking(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Wakes ``loop`` at every signal. The interpreter calls handlers between its own steps: of a signal that comes right before
    the loop falls asleep, or to another thread, the handler would wait for the loop's next event, which may never come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    woken, waking = socket.socketpair()
    with woken, waking:
        woken.setblocking(False)
        waking.setblocking(False)
        loop.add_reader(woken, woken.recv, 4096)
        before = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(woken)


def drive(work: Callable[[], Coroutine[Any, Any, None]], last: Callable[[int], str] | None = None) -> None:
    """Runs ``work`` on a new event loop. Raises Interrupted if a signal ended it, and whatever ``work`` raises.

    ``last``: as `Stop` has it.
    """
    stop = Stop(last)
    with stop.installed():
        try:
            asyncio.run(stop.guard(work))
        except asyncio.CancelledError:
            if stop.signum is None:
                raise
            raise Interrupted(stop.signum) from None
