"""Reads and hashes small files, many at a call; in this process, or in a child that runs this file as a program.

A small file costs more interpreter than hashing, and a second thread makes it slower (the interpreter lock is handed to and
fro at each system call; figures in specs/decisions/0005). So further cores are used by child processes. This file imports
nothing but light modules of the standard library, so that a child is ready in milliseconds.

As a program: reads marshalled lists of paths from standard input, writes the marshalled answer to each, ends with its input.
"""

from __future__ import annotations

import hashlib
import marshal
import mmap
import os
import stat
import sys
import time

TYPE_CHECKING = False  # typing itself takes a child as long to import as all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# A file written to within this time of being read may be written to again without its times changing: the clock of file
# times ticks every 1 to 10 ms. Its leaves are recorded, but it is read again by the next add. The time of the last change
# (ctime) tells: nobody can set it, while mtime may lie years ahead.
RACY_NS = 20_000_000

# NONBLOCK: a FIFO put in a file's place must not hang us
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

# (dev, ino, size, mtime ns, ctime ns, mode, racy, leaves). Leaves are the digests of all joined, or what the caller's own
# `name` made of the bytes; None: the file is larger than the buffer.
if TYPE_CHECKING:
    Row = tuple[int, int, int, int, int, int, bool, Any]
    Answer = list[Row] | tuple[int, str, str]  # or (errno, what happened, path); errno 0: the file changed


def read_small(paths: list[str], leaf_bytes: int, view: memoryview, name: Callable[[memoryview], Any] | None = None) -> Answer:
    """Reads and hashes files into ``view``; files longer than it are only looked at. Never raises for a file's sake.

    ``name`` makes what stands for a file's leaves; without it they are cut every ``leaf_bytes`` and hashed.
    """
    rows: list[Row] = []
    sha256, now = hashlib.sha256, time.time_ns() - RACY_NS
    for path in paths:
        try:
            fd = os.open(path, FLAGS)
            try:
                found = os.fstat(fd)
                size, mtime, ctime = found.st_size, found.st_mtime_ns, found.st_ctime_ns
                if not stat.S_ISREG(found.st_mode):
                    return 0, "is no longer a regular file", path
                leaves: Any
                if size > len(view):
                    leaves = None
                else:
                    piece = view[:size]
                    if os.readv(fd, [piece]) != size and not _read_again(fd, piece):
                        return 0, "became shorter while it was read", path
                    if name is not None:
                        leaves = name(piece)
                    else:
                        leaves = sha256(piece).digest() if 0 < size <= leaf_bytes else _leaves(piece, leaf_bytes)
                    after = os.fstat(fd)
                    if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (size, mtime, ctime):
                        return 0, "changed while it was read", path
            finally:
                os.close(fd)
        except OSError as problem:
            return problem.errno or 5, problem.strerror or str(problem), path
        rows.append((found.st_dev, found.st_ino, size, mtime, ctime, found.st_mode, ctime > now, leaves))
    return rows


def _read_again(fd: int, piece: memoryview) -> bool:
    """Fills ``piece`` from the file's start in as many reads as it takes; whether there was enough. (Signals cut reads.)"""
    done = 0
    while done < len(piece) and (got := os.preadv(fd, [piece[done:]], done)):
        done += got
    return done == len(piece)


def _leaves(piece: memoryview, leaf_bytes: int) -> bytes:
    return b"".join([hashlib.sha256(piece[at : at + leaf_bytes]).digest() for at in range(0, len(piece), leaf_bytes)])


def serve(leaf_bytes: int, buffer_bytes: int) -> None:
    """Answers requests until the input ends."""
    view = memoryview(mmap.mmap(-1, buffer_bytes))
    requests, answers = os.fdopen(0, "rb"), os.fdopen(1, "wb")
    while True:
        try:
            paths = marshal.load(requests)  # noqa: S302  # from our own parent, over a pipe nobody else holds
        except EOFError:
            return
        marshal.dump(read_small(paths, leaf_bytes, view), answers)
        answers.flush()


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]), int(sys.argv[2]))
    except (BrokenPipeError, KeyboardInterrupt):  # the parent is gone, or ends us with itself
        os._exit(0)
