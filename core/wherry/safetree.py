"""Writes inside one directory and nowhere else (specs/0001 T6; reliability R15).

Every path is opened relative to the directory's descriptor with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so neither a name
from a stranger nor a link that somebody put there meanwhile leads outside. Where the kernel has no openat2 (before 5.6),
each component is walked with O_NOFOLLOW, which gives the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import TYPE_CHECKING, Final, Self

from wherry.errors import local_error

if TYPE_CHECKING:
    from types import TracebackType

_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE: Final = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2


class SafeTree:
    """An open directory that is written into. Safe for threads. Paths are relative, "/"-separated, already checked names."""

    def __init__(self, path: str) -> None:
        """Opens the directory at ``path``, which must be one. Raises LocalError."""
        self.path = path
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        try:
            self._fd = os.open(path, _DIRECTORY)
        except OSError as problem:
            raise local_error(problem, "cannot open the directory", path) from problem

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """Opens ``path`` below the directory. Raises OSError: ELOOP or EXDEV where a link or ".." is in the way."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        if self._libc is not None:
            how = struct.pack("QQQ", flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
            fd: int = self._libc.syscall(_OPENAT2, self._fd, os.fsencode(path or "."), how, len(how))
            if fd >= 0:
                return fd
            number = ctypes.get_errno()
            if number not in (errno.ENOSYS, errno.EPERM):  # EPERM: a sandbox that does not know the call
                raise OSError(number, os.strerror(number), path)
            self._libc = None
        return self._walk(path, flags, mode)

    def _walk(self, path: str, flags: int, mode: int) -> int:
        at = os.dup(self._fd)
        try:
            *parents, name = path.split("/") if path else ["."]
            for parent in parents:
                inner = os.open(parent, _DIRECTORY, dir_fd=at)
                os.close(at)
                at = inner
            return os.open(name, flags, mode, dir_fd=at)
        finally:
            os.close(at)

    def make_dir(self, path: str) -> None:
        """Makes the directory ``path``, whose parent is there; one that is there already is fine. Raises LocalError."""
        parent, _, name = path.rpartition("/")
        try:
            at = self.open(parent, os.O_RDONLY | os.O_DIRECTORY) if parent else self._fd
            try:
                os.mkdir(name, 0o777, dir_fd=at)
            except FileExistsError:
                os.close(os.open(name, _DIRECTORY, dir_fd=at))  # proves that it is a directory and no link
            finally:
                if parent:
                    os.close(at)
        except OSError as problem:
            raise local_error(problem, "cannot make the directory", f"{self.path}/{path}") from problem

    def make_link(self, path: str, target: str) -> None:
        """Makes the symbolic link ``path``; the same link there already is fine. Raises LocalError."""
        parent, _, name = path.rpartition("/")
        try:
            at = self.open(parent, os.O_RDONLY | os.O_DIRECTORY) if parent else self._fd
            try:
                os.symlink(target, name, dir_fd=at)
            except FileExistsError:
                if os.readlink(name, dir_fd=at) != target:
                    os.unlink(name, dir_fd=at)
                    os.symlink(target, name, dir_fd=at)
            finally:
                if parent:
                    os.close(at)
        except OSError as problem:
            raise local_error(problem, "cannot make the link", f"{self.path}/{path}") from problem

    def beneath(self) -> bool:
        """Tells whether the kernel itself keeps paths beneath the directory."""
        os.close(self.open("", _DIRECTORY))
        return self._libc is not None

    def sync(self) -> None:
        """Brings everything on the directory's file system to disk. Raises LocalError if some of it was not written."""
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(self._fd) != 0:
                problem = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                raise local_error(problem, "cannot bring to disk", self.path)
        else:
            os.sync()

    def close(self) -> None:
        """Closes the directory; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def rename_new(source: str, target: str) -> None:
    """Renames, failing with FileExistsError if ``target`` exists; atomic where the file system can."""
    _rename(source, target, _RENAME_NOREPLACE)


def exchange(one: str, other: str) -> None:
    """Swaps two names at once. Raises OSError where the file system cannot."""
    _rename(one, other, _RENAME_EXCHANGE)


def _rename(source: str, target: str, flags: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS) or flags == _RENAME_EXCHANGE:
            raise OSError(number, os.strerror(number), target)
    if flags == _RENAME_EXCHANGE:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def sync_dir(path: str) -> None:
    """Brings the names in the directory ``path`` to disk. Raises LocalError."""
    try:
        fd = os.open(path or ".", _DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as problem:
        raise local_error(problem, "cannot bring to disk", path) from problem
