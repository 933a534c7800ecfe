"""A file that is written beside its place and gets its name when all of it is on disk: what `export` makes.

What a killed run left there, ``NAME.part-PID``, goes when the same name is written again: its process is gone, and so is the
lock that it held on the part.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from wherry.errors import TargetExists, local_error, output_error
from wherry.safetree import rename_new, sync_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[bytes | memoryview], object]


def writing(target: IO[bytes], path: str | None = None) -> Write:
    """Gives what writes to ``target``; it raises BrokenPipeError, LocalError or NoSpace, which name ``path``.

    None: standard output.
    """

    def write(data: bytes | memoryview) -> None:
        try:
            target.write(data)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise (output_error(problem) if path is None else local_error(problem, "writing", path, kept=False)) from problem

    return write


def check_free(path: str, *, force: bool) -> None:
    """Raises TargetExists if something has that name that is not to be replaced: to be known before all is read.

    That is anything, and with ``force`` what is no file: a device would be lost for all.
    """
    try:
        mode = os.lstat(os.path.expanduser(path)).st_mode
    except OSError:  # nothing is there, or it cannot be told: whoever writes sees why
        return
    if not force:
        raise _taken(path)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise TargetExists(f"{path!r} is no file", hint="choose another name; - is standard output, which may lead anywhere")


def _taken(path: str) -> TargetExists:
    return TargetExists(f"{path!r} is there already", hint="choose another name, or --force to replace it")


def whole(run: Callable[[Write], object], path: str, *, force: bool) -> None:
    """Has ``run`` write the file. Blocks its thread. Raises TargetExists unless ``force``, LocalError, what ``run`` raises."""
    place = os.path.expanduser(path)
    check_free(path, force=force)
    part = f"{place}.part-{os.getpid()}"
    try:
        remove_stale(place)
        with open(part, "xb") as target:
            try:
                with suppress(OSError):  # where there are no locks no part is ever taken for stale
                    fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
                run(writing(target, path))
                target.flush()
                os.fsync(target.fileno())
                (os.replace if force else rename_new)(part, place)
                sync_dir(os.path.dirname(place))
            except FileExistsError as problem:
                os.unlink(part)
                raise _taken(path) from problem
            except BaseException:
                with suppress(FileNotFoundError):  # it has its name, and only the folder could not be synced
                    os.unlink(part)
                raise
    except OSError as problem:
        raise local_error(problem, "writing", path, kept=False) from problem


def remove_stale(place: str) -> None:
    """Removes the parts of ``place`` that killed processes left; leaves alone what is no such part, or is being written."""
    folder, name = os.path.split(place)
    form = re.compile(re.escape(name) + r"\.part-([1-9][0-9]{0,9})")
    for found in os.listdir(folder or "."):
        match = form.fullmatch(found)
        if match is not None and not _runs(int(match[1])):
            _remove(os.path.join(folder, found))


def _runs(pid: int) -> bool:
    if pid == os.getpid():
        return False  # a number that was given again: this process begins only now
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _remove(part: str) -> None:
    """Removes a part unless somebody holds it: in another container a process may run that cannot be seen from here."""
    try:
        fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone, no plain file, or not ours
        return
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(part)
    except OSError:
        return
    finally:
        os.close(fd)
