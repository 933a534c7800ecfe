"""Scans a tree in the order of its manifest, whatever the order of the file system (specs/0003 §3)."""

from __future__ import annotations

import errno
import heapq
import json
import os
import stat
import tempfile
from contextlib import ExitStack, suppress
from itertools import islice
from typing import IO, TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry.errors import LimitExceeded, LocalError, NoSpace, SourceChanged, UnsafeName, UsageError, WherryError, local_error
from wherry.limits import TREE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK
from wherry.names import check_name, check_target, on_disk

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_SHOWN_CHARS: Final = 80  # of each end of a path that is nested too deep
_RUN_NAMES: Final = 50_000  # names sorted at a time; larger directories are sorted in runs on disk


class Found(NamedTuple):
    """Something in the tree: ``path`` on this machine, ``name`` in its directory."""

    kind: str  # FILE, DIR, LINK
    path: str
    name: str
    target: str = ""


class Left(NamedTuple):
    """The end of the directory last found."""


class Skipped(NamedTuple):
    """Something that no manifest can hold (a socket, a device), left out."""

    path: str
    why: str


Seen: TypeAlias = Found | Left | Skipped


def scan(root: str, *, leave_out: str = "") -> Generator[Seen]:
    """Gives everything below the directory ``root``, each directory's names in the order of their UTF-8 bytes.

    ``leave_out`` is a directory (wherry's own home) that is skipped. Holds the names of one path of directories, and of
    large directories a run of them. Raises LocalError, UnsafeName for a name that is not UTF-8, LimitExceeded. Close it if
    it is not read to its end: it may have files open.
    """
    with ExitStack() as opened:
        yield from _below(root, leave_out, opened)


def _below(root: str, leave_out: str, opened: ExitStack) -> Generator[Seen]:
    stack = [listing(root, opened)]
    prefix = [root.rstrip("/")]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            prefix.pop()
            if stack:
                yield Left()
            continue
        letter, name = item[-1], item[:-2]
        path = f"{prefix[-1]}/{name}"
        try:
            check_name(name)
        except UnsafeName as problem:
            raise UnsafeName(f"{on_disk(path)}: {problem.message}", hint=problem.hint or "rename it") from problem
        if letter == "d":
            if path == leave_out:
                yield Skipped(path, "it is wherry's own home")
                continue
            if len(stack) >= TREE_DEPTH_MAX:
                shown = path if len(path) <= 2 * _SHOWN_CHARS else f"{path[:_SHOWN_CHARS]}...{path[-_SHOWN_CHARS:]}"
                raise LimitExceeded(
                    f"{shown!r}: directories are nested more than {TREE_DEPTH_MAX} deep",
                    hint="put what is so deep into an archive, or add a directory further down by itself",
                )
            yield Found(DIR, path, name)
            stack.append(listing(path, opened))
            prefix.append(path)
        elif letter == "l":
            yield Found(LINK, path, name, _target(path))
        elif letter == "f":
            yield Found(FILE, path, name)
        else:
            yield Skipped(path, "it is no file, directory or link")


def listing(path: str, opened: ExitStack) -> Iterator[str]:
    """Names of a directory, sorted, each with a separator that sorts below all and a letter for its kind.

    What it must open to sort a large one is closed with ``opened``. Raises LocalError (NoSpace where there is none to sort in),
    SourceChanged.
    """
    try:
        with os.scandir(path) as entries:
            names = [f"{entry.name}\0{_letter(entry)}" for entry in islice(entries, _RUN_NAMES)]
            names.sort()
            if len(names) < _RUN_NAMES:
                return iter(names)
            return _merged(names, entries, path, opened)
    except OSError as problem:
        raise _lost(problem, "cannot read the directory", path) from problem


def _lost(problem: OSError, doing: str, path: str) -> WherryError:
    """The error for something that was there a moment ago."""
    if isinstance(problem, FileNotFoundError):
        return SourceChanged(f"{path!r} vanished while the tree was read", hint="run the same command again")
    return local_error(problem, doing, path)


def _letter(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):
        return "f"
    if entry.is_dir(follow_symlinks=False):
        return "d"
    return "l" if entry.is_symlink() else "?"


def _merged(names: list[str], entries: Iterator[os.DirEntry[str]], path: str, opened: ExitStack) -> Iterator[str]:
    """Sorts a large directory in runs on disk, so that memory holds one run; ``names`` is the first."""
    files = []
    while names:
        try:
            files.append(_spilled(names, opened))
        except OSError as problem:
            raise _unsorted(problem, path) from problem
        names = sorted(f"{entry.name}\0{_letter(entry)}" for entry in islice(entries, _RUN_NAMES))
    return heapq.merge(*(_read_run(spill) for spill in files))


def _spilled(names: list[str], opened: ExitStack) -> IO[str]:
    spill = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  # closed with `opened`, and when read
    try:
        spill.writelines(json.dumps(name) + "\n" for name in names)
        spill.seek(0)
    except OSError:
        with suppress(OSError):  # closing it writes what is left, which fails again
            spill.close()
        raise
    opened.callback(spill.close)
    return spill


def _unsorted(problem: OSError, path: str) -> WherryError:
    """The error for a large directory that can be read, and not sorted."""
    what = f"cannot sort the names in {path!r} by temporary files: {problem.strerror or problem}"
    if problem.errno in (errno.EMFILE, errno.ENFILE):
        return LocalError(what, hint=f"raise the limit of open files (ulimit -n): it takes one for each {_RUN_NAMES} names")
    room = problem.errno in (errno.ENOSPC, errno.EDQUOT)
    return (NoSpace if room else LocalError)(what, hint="set TMPDIR to a directory on a disk with room, and run it again")


def _read_run(spill: IO[str]) -> Iterator[str]:
    with spill:
        for line in spill:
            yield json.loads(line)


def _target(path: str) -> str:
    try:
        target = os.readlink(path)
        target.encode()
    except UnicodeEncodeError as problem:
        raise UnsafeName(f"{on_disk(path)}: the link's target is not UTF-8", hint="remake the link") from problem
    except OSError as problem:
        raise _lost(problem, "cannot read the link", path) from problem
    check_target(target)
    return target


def root_kind(path: str) -> str:
    """Tells what the path to add is, links followed: FILE or DIR. Raises NotFound, LocalError, UsageError, UnsafeName."""
    try:
        path.encode()
    except UnicodeEncodeError as problem:
        raise UnsafeName(
            f"cannot add {on_disk(path)}: it is not UTF-8", hint="rename it, or the directory that it is in"
        ) from problem
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        raise local_error(problem, "cannot add", path) from problem
    if stat.S_ISDIR(mode):
        return DIR
    if stat.S_ISREG(mode):
        return FILE
    raise UsageError(f"cannot add {path!r}: it is no file or directory")
