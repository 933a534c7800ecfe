"""Spreads the reading of small files over this process and children (one less than there are cores)."""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import select
import subprocess
import sys
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final, cast

from wherry.buffers import ROOM
from wherry.errors import SourceChanged, local_error
from wherry.limits import BUFFER_BYTES
from wherry.transfer import reader
from wherry.transfer.reader import read_small
from wherry.units import KiB

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.buffers import BufferPool
    from wherry.transfer.reader import Answer, Row

_CHILDREN_MAX: Final = 7
_AHEAD: Final = 2  # requests a child has at a time: one in work, one waiting
_PIPE_BYTES: Final = 64 * KiB  # both answers must fit, or the child waits for us while we hand it a request: a batch takes 17


class Batch:
    """Small files that are read by one call."""

    __slots__ = ("answer", "child", "paths")

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.answer: Answer | None = None
        self.child: _Child | None = None


class _Child:
    """A reading process and the batches it has, oldest first."""

    def __init__(self, leaf_bytes: int) -> None:
        # -I -S: nothing of the user's environment or site-packages is imported. UTF-8: names as this process sees them.
        command = [sys.executable, "-I", "-S", "-X", "utf8", reader.__file__, str(leaf_bytes), str(BUFFER_BYTES)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # if it dies we read on; a traceback would tell the user nothing
            process_group=0,  # the terminal's Ctrl-C is for us, who end it
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)
        self.batches: deque[Batch] = deque()

    def fit(self) -> bool:
        """Whether its pipe has room for the answers; it has not when this user has filled the kernel's quota of pipes."""
        return fcntl.fcntl(self._answers, fcntl.F_GETPIPE_SZ) >= _PIPE_BYTES

    def send(self, batch: Batch) -> None:
        marshal.dump(batch.paths, self._requests)
        self._requests.flush()
        self.batches.append(batch)
        batch.child = self

    def ready(self) -> bool:
        return bool(self._ready.poll(0))

    def receive(self) -> None:
        """Takes the next answer, waiting for it. Raises EOFError if the child died."""
        answer = cast("Answer", marshal.load(self._answers))  # noqa: S302  # from our own child
        self.batches.popleft().answer = answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):  # what was not sent is of no use any more
                pipe.close()


class Readers:
    """Reads batches in the order in which they are asked for. One thread; leave the context to end the children."""

    def __init__(self, leaf_bytes: int, pool: BufferPool, name: Callable[[memoryview], Any] | None = None) -> None:
        """``name`` makes what stands for the leaves of a file, in this process; see `read_small`."""
        self._leaf_bytes = leaf_bytes
        self._pool = pool
        self._name = name
        self._children: list[_Child] = []
        self._unsent: deque[Batch] = deque()

    def start(self) -> None:
        """Starts the children; without it (few files, or no way to start one) this process reads alone."""
        if not sys.executable or self._name is not None:  # Python inside another program; a plugin's work is not a child's
            return
        try:
            for _ in range(min(_CHILDREN_MAX, (os.cpu_count() or 1) - 1) - len(self._children)):
                self._children.append(_Child(self._leaf_bytes))
                if not self._children[-1].fit():
                    self._children.pop().close()
                    return
        except OSError:
            return

    def close(self) -> None:
        """Ends the children."""
        while self._children:
            self._children.pop().close()

    def submit(self, batch: Batch) -> None:
        """Takes a batch to read."""
        self._unsent.append(batch)
        self._send()

    def result(self, batch: Batch) -> list[Row]:
        """Gives what was read, working along while it waits. Raises SourceChanged or LocalError."""
        while batch.answer is None:
            self._send()
            self._gather()
            if batch.answer is None:
                self._advance(batch)
        if isinstance(batch.answer, tuple):
            raise _error(*batch.answer)
        return batch.answer

    def _advance(self, batch: Batch) -> None:
        """Does the most useful thing while ``batch`` is not there: read it, read another, or wait."""
        if batch.child is None:
            self._unsent.remove(batch)
            self._read(batch)
        elif self._unsent:
            self._read(self._unsent.popleft())
        else:
            self._wait(batch.child)

    def _read(self, batch: Batch) -> None:
        buffer = self._pool.take()
        try:
            batch.answer = read_small(batch.paths, self._leaf_bytes, buffer.view[ROOM : ROOM + BUFFER_BYTES], self._name)
        finally:
            buffer.release()

    def _send(self) -> None:
        for child in list(self._children):
            while self._unsent and len(child.batches) < _AHEAD:
                batch = self._unsent.popleft()
                try:
                    child.send(batch)
                except OSError:
                    self._unsent.appendleft(batch)
                    self._bury(child)
                    break

    def _gather(self) -> None:
        for child in list(self._children):
            while child in self._children and child.batches and child.ready():
                self._wait(child)

    def _wait(self, child: _Child) -> None:
        try:
            child.receive()
        except (EOFError, ValueError, TypeError, OSError):
            self._bury(child)

    def _bury(self, child: _Child) -> None:
        """A child that died (killed from outside) costs time, nothing else: its batches are read here."""
        self._children.remove(child)
        for batch in child.batches:
            batch.child = None
        self._unsent.extendleft(reversed(child.batches))
        child.close()


def _error(number: int, problem: str, path: str) -> Exception:
    if number == 0:
        return SourceChanged(f"{path!r} {problem}", hint="run the same command again when nothing writes to it")
    if number == errno.ENOENT:  # it was there a moment ago
        return SourceChanged(f"{path!r} vanished while it was read", hint="run the same command again")
    return local_error(OSError(number, problem), "cannot read", path)
