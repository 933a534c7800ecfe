"""A disk that fails where a test says so: full, unreadable, torn in the middle of a write; and a real one that is small.

    with FaultyDisk(folder) as disk:
        disk.fail("write", errno.ENOSPC, at=3, torn=True)  # half of the third write arrives, then the disk is full
        ...                                                # what is to be shown right nevertheless
    print(disk.calls)                                      # how often each call was made: run once without faults to know

It stands in for the functions of the module `os` while the context lasts, for files and descriptors below ``folder`` only. What
does its input and output in C (SQLite, and ``file.write`` of an opened file) does not pass here: use `small_disk` for that.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CALLS: Final = (
    "open", "read", "pread", "write", "pwrite", "rename", "replace", "link", "unlink", "mkdir", "rmdir",
    "ftruncate", "fsync", "fdatasync", "stat", "fstat", "scandir",
)  # fmt: skip
_WRITES: Final = ("write", "pwrite")


class _Fault(NamedTuple):
    error: int
    first: int  # the number of the first call that fails, from 1
    last: int | None  # None: all that follow
    torn: bool


class FaultyDisk:
    """Fails calls about what lies below ``folder``. Safe for threads; not two at a time, for there is one module `os`."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._faults: dict[str, list[_Fault]] = {}
        self._plain: dict[str, Callable[..., Any]] = {}
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()  # made below the folder
        self.failed = 0

    def fail(self, call: str, error: int, *, at: int = 1, times: int | None = 1, torn: bool = False) -> None:
        """Has the ``at``-th of the coming calls fail with ``error`` (of `errno`), and those that follow, ``times`` in all.

        ``times`` None: for good. ``torn``: a write takes half of its bytes before it fails.
        """
        if call not in CALLS:
            raise ValueError(f"{call!r} is no call of this disk; it has {', '.join(CALLS)}")
        with self._lock:
            first = self.calls[call] + at
            last = None if times is None else first + times - 1
            self._faults.setdefault(call, []).append(_Fault(error, first, last, torn))

    def heal(self) -> None:
        """Has no call fail any more."""
        with self._lock:
            self._faults.clear()

    def __enter__(self) -> Self:
        for name in CALLS:
            self._plain[name] = getattr(os, name)
            setattr(os, name, partial(self._call, name))
        return self

    def __exit__(self, *exception: object) -> None:
        for name, plain in self._plain.items():
            setattr(os, name, plain)

    def _call(self, name: str, *given: Any, **options: Any) -> Any:
        plain = self._plain[name]
        what = given[0] if given else options.get("path", options.get("src", "."))
        if not self._is_mine(what, options.get("dir_fd", options.get("src_dir_fd"))):
            return plain(*given, **options)
        fault = self._next(name)
        if fault is None:
            return plain(*given, **options)
        if fault.torn and name in _WRITES:
            data = memoryview(given[1])
            plain(given[0], data[: len(data) // 2], *given[2:])
        raise OSError(fault.error, os.strerror(fault.error), what if isinstance(what, str) else None)

    def _next(self, name: str) -> _Fault | None:
        with self._lock:
            self.calls[name] += 1
            number = self.calls[name]
            for fault in self._faults.get(name, ()):
                if fault.first <= number and (fault.last is None or number <= fault.last):
                    self.failed += 1
                    return fault
        return None

    def _is_mine(self, what: Any, folder_fd: int | None) -> bool:
        try:
            if isinstance(what, int):
                path = os.readlink(f"/proc/self/fd/{what}")
            else:
                base = os.getcwd() if folder_fd is None else os.readlink(f"/proc/self/fd/{folder_fd}")
                path = os.path.normpath(os.path.join(base, os.fsdecode(what)))
        except OSError:
            return False
        return path == self._folder or path.startswith(self._folder + os.sep)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mounts a file system of ``size`` bytes, in memory, at ``folder``; skips the test where that is not allowed."""
    import pytest

    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "wherry-small-disk", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
