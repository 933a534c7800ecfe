"""Where lines go: a file that is set aside when it is full, or a descriptor that others hold open.

Plain system calls, not buffered streams: a thread that is left behind while it waits for a full pipe would hold a stream's
lock, and the interpreter could not end.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from typing import TYPE_CHECKING, Final

from wherry.errors import LocalError, local_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WAIT_S: Final = 5.0  # for a pipe that nobody reads
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_AGAIN: Final = 10  # files that are renamed under our hands, one after the other


class _Outlet:
    """What both have: after a write that failed, it is known how far it came."""

    def __init__(self) -> None:
        self.whole = 0  # lines of the last `write` that are written to their end
        self._torn = False  # the last line that was begun has no end

    def _append(self, fd: int, lines: Sequence[bytes], wait_s: float) -> None:
        """Writes ``lines``, on a line of their own after one that is torn. Raises OSError."""
        end = b"\n" if self._torn else b""
        data = memoryview(end + b"".join(lines))
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += os.write(fd, data[sent:])
                except BlockingIOError:  # somebody made the terminal or pipe non-blocking
                    if not select.select([], [fd], [], wait_s)[1]:
                        raise
        finally:
            if sent:
                self.whole += bytes(data[:sent]).count(b"\n") - len(end)
                self._torn = data[sent - 1] != 0x0A


class StreamOutlet(_Outlet):
    """Writes to a descriptor that it does not own."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def write(self, lines: Sequence[bytes], wait_s: float = WAIT_S) -> None:
        """Writes whole lines, a line a call: pipes keep those whole. Raises LocalError; one that is gone is one.

        For a pipe that is full, ``wait_s`` are waited at most.
        """
        self.whole = 0
        try:
            for line in lines:
                self._append(self._fd, [line], wait_s)
        except OSError as problem:
            raise local_error(problem, "write the log to", "standard error") from problem

    def close(self) -> None:
        """Leaves the descriptor open: it is not ours."""


class FileOutlet(_Outlet):
    """Appends to a file, and begins a new one when it would grow beyond ``bytes_max``. Several processes may share it."""

    def __init__(self, path: Path, bytes_max: int, keep: int) -> None:
        """Opens the file, making it (0600) and its folder (0700) if need be. Raises LocalError and its kinds."""
        super().__init__()
        self._path = os.fspath(path)
        self._bytes_max = bytes_max
        self._keep = keep
        self._fd = -1
        try:
            os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
        except OSError as problem:
            raise local_error(problem, "make the folder of", self._path) from problem
        self._open()

    def _open(self) -> None:
        self.close()
        try:
            fd = os.open(self._path, _FLAGS, 0o600)
        except OSError as problem:
            raise local_error(problem, "open", self._path) from problem
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise LocalError(
                f"the log {self._path!r} is no regular file", hint="name another, or leave it out for standard error"
            )
        self._fd = fd
        self._torn = False  # it is another file, as a rule

    def write(self, lines: Sequence[bytes], wait_s: float = WAIT_S) -> None:
        """Writes whole lines; files are not waited for. Raises LocalError and its kinds, NotFound."""
        at = self.whole = 0
        try:
            while at < len(lines):
                room = self._bytes_max - self._size()
                end, size = at, 0
                while end < len(lines) and size + len(lines[end]) <= room:
                    size += len(lines[end])
                    end += 1
                if end == at:
                    self._set_aside()
                    continue
                self._append(self._fd, lines[at:end], wait_s)
                at = end
        except OSError as problem:
            raise local_error(problem, "write", self._path) from problem

    def _size(self) -> int:
        """Gives the size of the file that has the name now; another process may have set ours aside."""
        for _ in range(_AGAIN):
            if self._is_current():
                break
            self._open()
        return os.fstat(self._fd).st_size

    def _is_current(self) -> bool:
        if self._fd < 0:
            return False  # it could not be opened the last time
        try:
            named = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._fd)
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _set_aside(self) -> None:
        """Renames FILE to FILE.1, FILE.1 to FILE.2 and so on, unless another process just did."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            if self._is_current():
                for number in range(self._keep - 1, 0, -1):
                    if os.path.lexists(f"{self._path}.{number}"):
                        os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
                if self._keep:
                    os.replace(self._path, f"{self._path}.1")
                else:
                    os.unlink(self._path)
        finally:
            self.close()  # lets go of the lock, also where nothing could be renamed
        self._open()

    def close(self) -> None:
        """Closes the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
