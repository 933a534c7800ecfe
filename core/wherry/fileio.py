"""Reading the user's files: only regular ones, never through a last symbolic link, into memory that is lent."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from wherry.errors import SourceChanged, local_error

if TYPE_CHECKING:
    from wherry.store.index import Signature

# NONBLOCK: a FIFO put in a file's place must not hang us
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Opens a regular file for reading; gives its descriptor and ``fstat``. Raises LocalError or NotFound."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as problem:
        raise local_error(problem, "cannot read", path) from problem
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise SourceChanged(f"{path!r} is no longer a regular file", hint="add it again")
    return fd, found


def open_unchanged(path: str, signature: Signature) -> int:
    """Opens a file that must still be the one that ``signature`` was taken of. Raises SourceChanged or LocalError."""
    fd, found = open_regular(path)
    if signature != (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns):
        os.close(fd)
        raise SourceChanged(f"{path!r} has changed since it was added", hint="add it again; the new content has a new CID")
    return fd


def read_exactly(fd: int, view: memoryview, offset: int, path: str) -> None:
    """Fills ``view`` from ``offset``. Raises SourceChanged if the file ends before, LocalError if it cannot be read."""
    done = 0
    while done < len(view):
        try:
            got = os.preadv(fd, [view[done:] if done else view], offset + done)
        except OSError as problem:
            raise local_error(problem, "cannot read", path) from problem
        if got == 0:
            raise SourceChanged(f"{path!r} became shorter while it was read", hint="run the same command again")
        done += got
