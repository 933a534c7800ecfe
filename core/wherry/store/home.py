"""wherry's home: one folder with its state, shared by every wherry process of a user (specs/0005 §1-2).

Ordinary verbs hold the home's lock shared; only what must be alone (repair, migration) takes it whole. Each holder also
keeps a locked file with its name in ``run/``, so that who waits can say for whom.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from wherry.errors import HomeBusy, HomeTooNew, StoreError, Unwritable, WherryError, local_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_FORMAT: Final = "wherry-home 1\n"


def default_home(environ: Mapping[str, str]) -> Path:
    """The folder that is wherry's home: WHERRY_HOME, or ``wherry`` in XDG_DATA_HOME, or ~/.local/share/wherry."""
    if environ.get("WHERRY_HOME"):
        return Path(environ["WHERRY_HOME"]).expanduser()
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "wherry"


_NO_WRITING: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRITE: Final = "check the permissions and the mount, or give --home"


def _unopened(problem: OSError, path: Path) -> WherryError:
    """Gives the typed error for a home that cannot be opened."""
    found = local_error(problem, "cannot open wherry's home", str(path))
    return type(found)(found.message, hint=_WRITE) if problem.errno in _NO_WRITING else found


class Home:
    """An open, locked home. Leaving the context frees it.

    One on which nothing can be written (a read-only mount, a snapshot) is opened to read: its lock is held shared if it has
    one, and nobody can be told who holds it.
    """

    def __init__(self, path: Path, verb: str, *, alone: bool = False) -> None:
        """Opens or makes the home at ``path`` for ``verb``; ``alone`` takes it whole.

        Raises HomeBusy naming the holders, HomeTooNew, StoreError, or a LocalError if it cannot be made.
        """
        self.path = path
        self.writable = True
        self._pid = os.getpid()
        self._lock = self._run = -1
        try:
            self._open()
            self._acquire(alone)
            if self.writable:
                self._announce(verb)
            elif alone:
                self.must_be_writable()
        except BaseException:
            self.close()
            raise

    def must_be_writable(self) -> None:
        """Raises Unwritable if this home is there to be read only: for verbs that would find it out when their work is done."""
        if not self.writable:
            raise Unwritable(f"wherry's home {self.path} is read-only, and can be read and served only", hint=_WRITE)

    def _open(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "run").mkdir(mode=0o700, exist_ok=True)
            self._check_format()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            if problem.errno not in _NO_WRITING or not self._readable():
                raise _unopened(problem, self.path) from problem
            self.writable = False

    def _readable(self) -> bool:
        """Opens a home on which nothing can be written, if it is one of wherry's that was used before."""
        try:
            if not (self.path / "FORMAT").exists() or os.access(self.path, os.W_OK, effective_ids=True):
                return False
            self._check_format()
            with suppress(FileNotFoundError):
                self._lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _check_format(self) -> None:
        marker = self.path / "FORMAT"
        try:
            found = marker.read_text(errors="replace")[:80]
        except FileNotFoundError:
            temporary = self.path / f"FORMAT.{os.getpid()}"
            try:
                temporary.write_text(_FORMAT)
                temporary.replace(marker)
            except OSError:  # a full disk: nothing is left of it
                temporary.unlink(missing_ok=True)
                raise
            return
        if found != _FORMAT:
            if found.startswith("wherry-home "):
                raise HomeTooNew(f"home {self.path} has the format {found.strip()!r}", hint="upgrade wherry")
            raise StoreError(f"{marker} is not wherry's", hint="choose another folder with --home")

    def _acquire(self, alone: bool) -> None:
        if self._lock < 0:
            return  # read-only, and copied without its lock: nobody can write there
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holders = ", ".join(self.holders()) or "a process that does not say its name"
            hint = "stop it, then run this again" if alone else "wait until it is done"
            raise HomeBusy(f"home {self.path} is held by {holders}", hint=hint) from problem

    def _announce(self, verb: str) -> None:
        self._run_path = path = self.path / "run" / f"{os.getpid()}-{id(self):x}"
        while self._run < 0:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as problem:
                raise _unopened(problem, self.path) from problem
            fcntl.flock(fd, fcntl.LOCK_EX)  # waits at most while another process looks at it, in `holders`
            if _is_at(fd, path):
                self._run = fd
            else:  # and that one took it for a dead process's, between our two calls
                os.close(fd)
        with suppress(OSError):  # on a full disk it stays without its name, which is information only
            os.write(self._run, json.dumps({"pid": os.getpid(), "verb": verb, "since": int(time.time())}).encode())

    def holders(self) -> list[str]:
        """Names the processes that hold this home: verb, pid, since when. Clears what dead ones left.

        Of a home that is read-only here, those are named that write it by another mount.
        """
        if not self.writable and not (self.path / "run").is_dir():
            return []
        found = []
        for path in sorted((self.path / "run").iterdir()):
            try:
                fd = os.open(path, (os.O_RDWR if self.writable else os.O_RDONLY) | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.writable and _is_at(fd, path):  # else one that opened since may be there, under the same name
                    path.unlink(missing_ok=True)  # its process is gone: nobody holds the lock
            except BlockingIOError:
                found.append(_describe(os.read(fd, 4096)))
            finally:
                os.close(fd)
        return found

    @property
    def inherited(self) -> bool:
        """Whether this is a fork of the process that opened the home."""
        return os.getpid() != self._pid

    def close(self) -> None:
        """Frees the home; idempotent. In a fork of the process that opened it, it stays that one's."""
        if self._run >= 0:
            if not self.inherited:
                self._run_path.unlink(missing_ok=True)
            os.close(self._run)
            self._run = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _describe(data: bytes) -> str:
    try:
        said = json.loads(data)
        since = time.strftime("%H:%M:%S", time.localtime(said["since"]))
        return f"`wherry {said['verb']}` (pid {said['pid']}, since {since})"
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return "a wherry process that has just begun"
