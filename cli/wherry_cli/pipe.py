"""Raw bytes to standard output, without holding up the event loop while a reader takes its time.

The thread is a daemon and writes to the file descriptor itself: when the run is interrupted while a pipe is full, nothing
waits for the reader, neither a thread pool nor the lock of a buffered stream.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from io import UnsupportedOperation
from queue import SimpleQueue
from typing import TYPE_CHECKING

from wherry.errors import output_error
from wherry_cli.render import check_stdout

if TYPE_CHECKING:
    from collections.abc import Callable

Piece = bytes | memoryview


class PipeWriter:
    """Writes pieces one after another. Made inside a running loop; one task uses it."""

    def __init__(self) -> None:
        """Raises LocalError if there is no standard output."""
        check_stdout()
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[Piece, asyncio.Future[None]] | None] = SimpleQueue()
        self._write = _writer()
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def write(self, piece: Piece) -> None:
        """Writes the whole of ``piece``; it may be reused afterwards. Raises BrokenPipeError or LocalError."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((piece, done))
        try:
            await done
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise output_error(problem) from problem

    def close(self) -> None:
        """Lets the thread end, without waiting for it."""
        self._queue.put(None)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            piece, done = job
            problem: OSError | None = None
            try:
                self._write(piece)
            except OSError as met:
                problem = met
            try:
                self._loop.call_soon_threadsafe(_settle, done, problem)
            except RuntimeError:  # the loop is closed: the run was interrupted
                return


def _settle(done: asyncio.Future[None], problem: OSError | None) -> None:
    if done.done():  # cancelled meanwhile
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(problem)


def _writer() -> Callable[[Piece], None]:
    """Gives the function that writes a piece whole: to the descriptor, or to a stream in memory where there is none."""
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, UnsupportedOperation):
        return lambda piece: (sys.stdout.buffer.write(piece), None)[1]

    def write(piece: Piece) -> None:
        left = memoryview(piece)
        while left:
            left = left[os.write(descriptor, left) :]

    return write
