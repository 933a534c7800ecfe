"""Writes inside one directory and nowhere else (specs/0001 §4, T6).

Every path is opened relative to the directory's descriptor with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so neither a name
from a stranger nor a link that somebody put there meanwhile leads outside. Where the kernel has no openat2 (before 5.6),
each component is walked with O_NOFOLLOW, which gives the same.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from wherry.errors import local_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE: Final = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL of linux/fs.h
_SET_FLAGS: Final = 0x40086602
_TOP_DIR: Final = 0x00020000
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_LEVELS_OPEN: Final = 16  # folders inside folders, while a tree is removed; those above are opened again on the way up
_NAMES_HELD: Final = 4096  # of folders in one folder, while a tree is removed; fewer, the deeper it is


class SafeTree:
    """An open directory that is written into. Safe for threads. Paths are relative, "/"-separated, already checked names."""

    def __init__(self, path: str, *, follow: bool = False) -> None:
        """Opens the directory at ``path``, which must be one, and no link unless ``follow``. Raises LocalError.

        ``follow`` is for a path that the user gave as it is, such as the directory that a target lies in. What is opened
        below goes through no link either way.
        """
        self.path = path
        self._has_flags = sys.platform == "linux"
        self._last = threading.local()  # each thread's last directory
        self._parents: set[int] = set()  # all of these, to be closed
        self._lock = threading.Lock()
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        try:
            self._fd = os.open(path, _DIRECTORY & ~os.O_NOFOLLOW if follow else _DIRECTORY)
        except OSError as problem:
            raise local_error(problem, "cannot open the directory", path) from problem

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """Opens ``path`` below the directory. Raises OSError: ELOOP or EXDEV where a link or ".." is in the way."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        parent, _, name = path.rpartition("/")
        if parent and flags & os.O_CREAT:
            return os.open(name, flags, mode, dir_fd=self._parent(parent))
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

    def _parent(self, path: str) -> int:
        """Opens a directory and keeps it open for the next file that the same thread makes in it."""
        last: tuple[str, int] | None = getattr(self._last, "dir", None)
        if last is not None and last[0] == path:
            return last[1]
        fd = self.open(path, _DIRECTORY)
        with self._lock:
            self._parents.add(fd)
            if last is not None:
                self._parents.discard(last[1])
                os.close(last[1])
        self._last.dir = (path, fd)
        return fd

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

    @contextmanager
    def _beside(self, path: str) -> Iterator[tuple[int, str]]:
        """Gives the open directory that ``path`` lies in, and its last name."""
        parent, _, name = path.rpartition("/")
        at = self.open(parent, os.O_RDONLY | os.O_DIRECTORY) if parent else self._fd
        try:
            yield at, name
        finally:
            if parent:
                os.close(at)

    def clear(self, path: str, keep: int = 0) -> None:
        """Removes what lies at ``path`` unless it is of the type ``keep`` (such as stat.S_IFREG). Raises LocalError."""
        try:
            with self._beside(path) as (at, name):
                kind = stat.S_IFMT(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
                if kind == keep:
                    return
                _remove(name, at, folder=kind == stat.S_IFDIR)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise local_error(problem, "cannot remove", f"{self.path}/{path}") from problem

    def names(self, path: str) -> list[str]:
        """Lists the directory at ``path``. Raises LocalError."""
        try:
            at = self.open(path, _DIRECTORY)
            try:
                return os.listdir(at)
            finally:
                os.close(at)
        except OSError as problem:
            raise local_error(problem, "cannot list", f"{self.path}/{path}") from problem

    def make_dir(self, path: str) -> None:
        """Makes the directory ``path``, whose parent is there; one that is there already is fine. Raises LocalError."""
        try:
            with self._beside(path) as (at, name):
                try:
                    os.mkdir(name, 0o777, dir_fd=at)
                except FileExistsError:
                    os.close(os.open(name, _DIRECTORY, dir_fd=at))  # proves that it is a directory and no link
        except OSError as problem:
            raise local_error(problem, "cannot make the directory", f"{self.path}/{path}") from problem

    def make_link(self, path: str, target: str) -> None:
        """Makes the symbolic link ``path``; the same link there already is fine. Raises LocalError."""
        try:
            with self._beside(path) as (at, name):
                try:
                    os.symlink(target, name, dir_fd=at)
                except FileExistsError:
                    if os.readlink(name, dir_fd=at) != target:
                        os.unlink(name, dir_fd=at)
                        os.symlink(target, name, dir_fd=at)
        except OSError as problem:
            raise local_error(problem, "cannot make the link", f"{self.path}/{path}") from problem

    def beneath(self) -> bool:
        """Tells whether the kernel itself keeps paths beneath the directory."""
        os.close(self.open("", _DIRECTORY))
        return self._libc is not None

    def spread(self, path: str, *, on: bool) -> None:
        """Asks ext4 to place directories that are made in ``path`` apart from it, or ends it; no other system is asked.

        ext4 without a journal looks at every inode that was freed in the last minutes before it takes one of the same
        group: where large trees come and go, making 20,000 files took 11 to 14 s in the usual place and 0.6 to 1.1 s in a
        fresh group (specs/decisions/0008). The flag (`chattr +T`) is a hint to the Orlov allocator and nothing else.
        """
        if not self._has_flags:
            return
        try:
            fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                flags = int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, bytes(8)), sys.byteorder)
                wanted = flags | _TOP_DIR if on else flags & ~_TOP_DIR
                if wanted != flags:
                    fcntl.ioctl(fd, _SET_FLAGS, wanted.to_bytes(8, sys.byteorder))
            finally:
                os.close(fd)
        except OSError:  # a file system without such flags places as it likes
            self._has_flags = False

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
        """Closes the directory; idempotent. No thread may be using it any more."""
        for fd in self._parents:
            os.close(fd)
        self._parents.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def remove_tree(path: str, *, dir_fd: int | None = None) -> None:
    """Removes what lies at ``path`` with all that is in it, also where folders of ours are read-only; follows no link.

    However deep it is and however many names a folder has, few descriptors are open and few names held. What somebody else
    removes meanwhile is fine. ``path`` may be relative to ``dir_fd``. Raises OSError for the first that cannot be removed.
    """
    try:
        folder = stat.S_ISDIR(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    _remove(path, dir_fd, folder=folder)


def _remove(name: str, at: int | None, *, folder: bool) -> None:
    with suppress(FileNotFoundError):
        if not folder:
            os.unlink(name, dir_fd=at)
            return
        _empty(name, at)
        os.rmdir(name, dir_fd=at)


def _empty(name: str, at: int | None) -> None:
    """Removes all that is in a folder, the innermost first."""
    levels = [_Level(name, _open_to_empty(name, at))]
    try:
        while True:
            level = levels[-1]
            if level.folders:
                inner = level.folders.pop()
                with suppress(FileNotFoundError):
                    levels.append(_Level(inner, _open_to_empty(inner, level.fd)))
                    level.changed = True
                if len(levels) > _LEVELS_OPEN:
                    levels[-_LEVELS_OPEN - 1].close()
            elif level.changed:
                level.look(max(1, _NAMES_HELD // len(levels)))
            elif len(levels) > 1:
                levels[-2].reopen(level)
                levels.pop().close()
                with suppress(FileNotFoundError):
                    os.rmdir(level.name, dir_fd=levels[-1].fd)
            else:
                return
    finally:
        for level in levels:
            level.close()


class _Level:
    """A folder that is being emptied."""

    __slots__ = ("_which", "changed", "fd", "folders", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name, self.fd = name, fd
        found = os.fstat(fd)
        self._which = found.st_dev, found.st_ino
        self.folders: list[str] = []  # in it, that are known and not looked at yet
        self.changed = True  # whether it may have more in it than was seen when it was looked at

    def look(self, most: int) -> None:
        """Removes its files and links, and lists ``most`` of its folders. Some systems skip names while others are removed."""
        self.changed = False
        with os.scandir(self.fd) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        os.unlink(entry.name, dir_fd=self.fd)
                        self.changed = True
                    continue
                self.folders.append(entry.name)
                if len(self.folders) >= most:
                    self.changed = True
                    return

    def reopen(self, inner: _Level) -> None:
        """Opens it again from the folder ``inner`` in it, unless it is open. Raises OSError if that lies elsewhere by now."""
        if self.fd >= 0:
            return
        fd = os.open("..", _DIRECTORY, dir_fd=inner.fd)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != self._which:
            os.close(fd)
            raise OSError(errno.ESTALE, "it was moved while it was removed", inner.name)
        self.fd = fd

    def close(self) -> None:
        """Closes it; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _open_to_empty(name: str, at: int | None) -> int:
    """Opens a folder whose entries go; if its mode does not let its owner do that, it gets one that does."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=at)
    except PermissionError:
        with suppress(OSError, ValueError, NotImplementedError):  # not ours; put there meanwhile, a link: it is not followed
            os.chmod(name, stat.S_IRWXU, dir_fd=at, follow_symlinks=False)
        fd = os.open(name, _DIRECTORY, dir_fd=at)
    if os.fstat(fd).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with suppress(OSError):  # not ours: whether we may remove what is in it is seen then
            os.fchmod(fd, stat.S_IRWXU)
    return fd


def rename_new(source: str, target: str) -> None:
    """Renames, failing with FileExistsError if ``target`` exists; atomic where the file system can."""
    _rename(source, target, _RENAME_NOREPLACE)


def exchange(one: str, other: str) -> None:
    """Swaps two names at once. Raises OSError where the file system cannot."""
    _rename(one, other, _RENAME_EXCHANGE)


def swap_in(source: str, target: str, aside: str) -> str:
    """Gives ``target`` what lies at ``source``; gives where the old content is then: at ``source``, or at ``aside``.

    At no moment is there neither the old nor the new, where the file system can swap two names; else for a moment. Raises
    OSError; what was there is there then.
    """
    try:
        exchange(source, target)
    except OSError:
        os.rename(target, aside)
        try:
            os.rename(source, target)
        except BaseException:
            os.rename(aside, target)
            raise
        return aside
    return source


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
    """Brings the names in the directory ``path``, which the user gave and may be a link, to disk. Raises LocalError."""
    try:
        fd = os.open(path or ".", _DIRECTORY & ~os.O_NOFOLLOW)  # only names that are there already are seen to
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as problem:
        raise local_error(problem, "cannot bring to disk", path) from problem
