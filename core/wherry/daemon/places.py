"""Where the daemon of a home is found: a folder with its lock and its socket (specs/0027 §2).

The lock says who is the daemon, and dies with its process; so a socket that a killed one left behind is never taken for a
live one, and two cannot serve one home.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import HomeBusy, NotFound, UsageError, local_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER: Final = "daemon"
_LOCK: Final = "lock"
_SOCKET: Final = "control.sock"
_SUN_PATH_BYTES: Final = 104  # of sockaddr_un: 108 on Linux, 104 elsewhere, a zero included
_SAID_BYTES_MAX: Final = 4096
_LOOK_S: Final = 0.5


class Running(NamedTuple):
    """Who is the daemon, as it said itself. For people; the lock decides."""

    pid: int
    since: float  # seconds since 1970


class Seat:
    """The one daemon of a home. Made by `taken`; holds the lock while it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listen(self) -> socket.socket:
        """Makes the socket in place of what a killed daemon left; only this user may connect. Raises UsageError, LocalError."""
        path = self._folder / _SOCKET
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            with _dialable(self._folder) as address:
                listener.bind(address)
            path.chmod(0o600)  # the folder was closed to others before there was a socket in it
            listener.listen(128)
            listener.setblocking(False)
        except OSError as problem:
            listener.close()
            raise local_error(problem, "listen on", str(path)) from problem
        except BaseException:
            listener.close()
            raise
        return listener

    def leave(self) -> None:
        """Takes the socket away, so that nobody dials one that is not answered."""
        with suppress(OSError):
            (self._folder / _SOCKET).unlink(missing_ok=True)


@contextmanager
def taken(home: Path) -> Iterator[Seat]:
    """Makes this process the daemon of ``home`` inside the block. Raises HomeBusy if there is one, or a LocalError."""
    folder = home / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise local_error(problem, "cannot open the daemon's folder", str(folder)) from problem
    try:
        _lock(fd, home)
        with suppress(OSError):  # on a full disk it stays without its name, which is information only
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "since": time.time()}).encode(), 0)
        yield Seat(folder)
    finally:
        os.close(fd)


def _lock(fd: int, home: Path) -> None:
    """Takes the lock. Whoever only looks holds it for a moment (`running`), which is no daemon: so it is tried for a while."""
    end = time.monotonic() + _LOOK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            if time.monotonic() < end:
                time.sleep(_LOOK_S / 10)
                continue
            raise HomeBusy(
                f"a daemon runs for home {home} already{_described(_said(fd))}",
                hint="`wherry status` shows what it does, `wherry down` ends it",
            ) from problem
        return


def running(home: Path) -> Running | None:
    """Tells who is the daemon of ``home``; None if there is none. A daemon that has just begun has the pid 0."""
    try:
        fd = os.open(home / _FOLDER / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(fd) or Running(0, 0.0)
    else:
        return None
    finally:
        os.close(fd)


@contextmanager
def dialable(home: Path) -> Iterator[str]:
    """Gives the path by which the socket is dialled, inside the block. Raises NotFound if no daemon runs, UsageError."""
    if running(home) is None:
        raise NotFound(f"no daemon runs for home {home}", hint="start it with `wherry up`")
    with _dialable(home / _FOLDER) as address:
        yield address


@contextmanager
def _dialable(folder: Path) -> Iterator[str]:
    """Gives a path of the socket that fits into a socket's address: a long one goes by way of an open folder."""
    path = str(folder / _SOCKET)
    if len(os.fsencode(path)) < _SUN_PATH_BYTES:
        yield path
        return
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise local_error(problem, "cannot open the daemon's folder", str(folder)) from problem
    try:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            raise UsageError(f"the path {path} is too long for a Unix socket", hint="choose a home with a shorter path")
        yield f"/proc/self/fd/{fd}/{_SOCKET}"
    finally:
        os.close(fd)


def _said(fd: int) -> Running | None:
    try:
        said = json.loads(os.pread(fd, _SAID_BYTES_MAX, 0))
        return Running(int(said["pid"]), float(said["since"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _described(said: Running | None) -> str:
    return "" if said is None else f" (pid {said.pid}, since {time.strftime('%H:%M:%S', time.localtime(said.since))})"
