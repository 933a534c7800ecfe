"""The folder of key files: nobody else's to read, and never without a whole file (specs/0021 §5).

A change is written beside the file, synced, and put in its place by one rename under the folder's lock, so that a crash
leaves the old file or the new one. What others may open is refused, with the command that closes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import KeyProblem, LimitExceeded, NotFound, UsageError, local_error
from wherry.limits import KEY_FILE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIX: Final = ".key"
_LOCK: Final = "lock"
_FRESH: Final = "fresh"  # the one file that is being written; its name is no key's
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # the same on a file system that folds cases


class KeyFolder:
    """The folder at ``path``, made when the first key is. For threads and processes side by side."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Lists the keys that are here, in order. Raises KeyProblem if others may look into the folder."""
        try:
            self._check_folder()
            found = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise local_error(problem, "read the keys in", str(self.path)) from problem
        names = (entry.removesuffix(_SUFFIX) for entry in found if entry.endswith(_SUFFIX))
        return sorted(name for name in names if _NAME.fullmatch(name))

    def prepare(self) -> None:
        """Makes the folder if it is not there. Raises KeyProblem if others may look into it, errors of the disk."""
        self._make_folder()

    def read(self, name: str) -> bytes:
        """Reads a key's file. Raises NotFound, KeyProblem if it is open to others, LimitExceeded, UsageError."""
        path = self._file(name)
        try:
            self._check_folder()
            # O_NONBLOCK: a pipe of that name must not be waited for.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise self._absent(name) from None
        except OSError as problem:
            raise local_error(problem, "read key file", str(path)) from problem
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise KeyProblem(f"key file {str(path)!r} is no regular file")
            _check_mode(found.st_mode, path, "600")
            data = os.read(fd, KEY_FILE_BYTES_MAX + 1)
        except OSError as problem:
            raise local_error(problem, "read key file", str(path)) from problem
        finally:
            os.close(fd)
        if len(data) > KEY_FILE_BYTES_MAX:
            raise LimitExceeded(f"key file {str(path)!r} is larger than {KEY_FILE_BYTES_MAX} bytes")
        return data

    def swap(self, name: str, old: bytes | None, new: bytes | None) -> None:
        """Puts ``new`` in the place of ``old``; None: no file. On the disk when it returns.

        Raises KeyProblem if the file is not ``old`` any more, and errors of the disk; then it is as it was.
        """
        path = self._file(name)
        self._make_folder()
        try:
            with self._alone():
                self._expect(name, old)
                if new is None:
                    path.unlink()
                else:
                    self._write_fresh(new)
                    (self.path / _FRESH).replace(path)
                self._sync_folder()
        except OSError as problem:
            raise local_error(problem, "write key file", str(path)) from problem

    def _expect(self, name: str, old: bytes | None) -> None:
        try:
            found = self.read(name)
        except NotFound:
            found = None
        if found == old:
            return
        if old is None:
            raise KeyProblem(f"there is a key {name!r} already", hint="choose another name, or delete that one first")
        raise KeyProblem(f"key {name!r} was changed meanwhile by another process", hint="run the same command again")

    def _write_fresh(self, data: bytes) -> None:
        path = self.path / _FRESH
        path.unlink(missing_ok=True)  # of a process that was killed; nobody else is here now
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)  # whatever the umask took away
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(fd)

    def _sync_folder(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # held for one small write, never while a person is asked
            yield
        finally:
            os.close(fd)

    def _make_folder(self) -> None:
        try:
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
                self.path.chmod(0o700)  # whatever the umask took away
            self._check_folder()
        except OSError as problem:
            raise local_error(problem, "make the folder of keys", str(self.path)) from problem

    def _check_folder(self) -> None:
        _check_mode(os.lstat(self.path).st_mode, self.path, "700")

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!a} cannot be the name of a key",
                hint="up to 64 of a-z 0-9 . - _ and a letter or digit first",
            )
        return self.path / (name + _SUFFIX)

    def _absent(self, name: str) -> NotFound:
        from difflib import get_close_matches

        near = get_close_matches(name, self.names(), 1)
        hint = f'did you mean "{near[0]}"?' if near else "`wherry keys list` names them all, `wherry keys new` makes one"
        return NotFound(f"there is no key {name!r} in this home", hint=hint)


def _check_mode(mode: int, path: Path, wanted: str) -> None:
    if mode & 0o077 and not stat.S_ISLNK(mode):
        raise KeyProblem(
            f"{str(path)!r} is open to other users (mode {stat.S_IMODE(mode):o}): what is in it may be known to them",
            hint=f"chmod {wanted} {shlex.quote(str(path))}",
        )
