"""A daemon in the background: a process of its own session, that says through a pipe when it is ready or why it is not."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from wherry.daemon import places
from wherry.errors import HomeBusy, LocalError, local_error
from wherry.limits import DRAIN_S
from wherry_cli.asking import home_of
from wherry_cli.control.paths import error_of
from wherry_cli.daemon_process import command
from wherry_cli.render import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wherry_cli.daemon_process import Orders
    from wherry_cli.invocation import Invocation

LOG_BYTES_MAX: Final = 4 * 1024 * 1024
LOGS_KEPT: Final = 3
_READY_S: Final = 60.0  # plugins may open a large index (PLUGIN_BUILD_S)
_SAID_BYTES_MAX: Final = 1024 * 1024


def log_of(run: Invocation) -> Path:
    """Gives the file that the daemon logs to."""
    return home_of(run) / "logs" / "daemon.log"


def start(run: Invocation, orders: Orders) -> dict[str, Any]:
    """Starts the daemon with ``orders`` and waits until it is ready; gives what it says of itself.

    Raises HomeBusy if one runs, whatever it fails with, and LocalError if it ends without a word, or says none in a minute.
    """
    home, log = home_of(run), log_of(run)
    said = places.running(home)
    if said is not None:
        hint = "`wherry status` shows what it does, `wherry down` ends it"
        if orders.overrides or orders.listen or orders.allow_public:  # a new token is read when a daemon begins (0008 §5.3)
            hint = "it keeps the token, certificate and addresses that it began with: `wherry down`, then this again"
        raise HomeBusy(f"a daemon runs for home {home} already (pid {said.pid})", hint=hint)
    read, write = os.pipe()
    try:
        process = _spawn(run, home, log, replace(orders, home=str(home), ready_fd=write), write)
        os.close(write)
        write = -1
        try:
            found = _heard(read, log)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if found.get("schema") == "wherry/error/1":
            process.wait()
            raise error_of(found)
        if not found:
            raise LocalError(f"the daemon ended with code {process.wait()} before it was ready", hint=f"{log} says more")
        process.returncode = 0  # it outlives us, on purpose: nobody waits for it
        return {**found, "log": str(log)}
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def _spawn(run: Invocation, home: Path, log: Path, orders: Orders, fd: int) -> subprocess.Popen[bytes]:
    try:
        for folder in (home, log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise local_error(problem, "cannot write the daemon's log", str(log)) from problem
    try:
        return subprocess.Popen(  # it is waited for until it is ready, and then left on purpose
            command(orders), stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(fd,), start_new_session=True,
            env=dict(run.environ),
        )  # fmt: skip
    except OSError as problem:
        raise local_error(problem, "start", sys.executable) from problem
    finally:
        os.close(output)


def _heard(fd: int, log: Path) -> dict[str, Any]:
    """Reads what the daemon says, to the end; {} if it says nothing."""
    end = time.monotonic() + _READY_S
    data = b""
    while len(data) < _SAID_BYTES_MAX:
        ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise LocalError(f"the daemon is not ready after {_READY_S:.0f} s, and was ended", hint=f"{log} says more")
        piece = os.read(fd, 65536)
        if not piece:
            break
        data += piece
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def tell(fd: int | None, said: Mapping[str, Any]) -> None:
    """Says ``said`` to whoever started this daemon, who may be gone; once."""
    if fd is None:
        return
    with suppress(OSError):
        os.write(fd, to_json(said).encode()[:_SAID_BYTES_MAX])
    with suppress(OSError):
        os.close(fd)


def end_soon() -> None:
    """Ends this process with code 0 when it has not ended by itself in time: a kill loses nothing that was acknowledged."""
    timer = threading.Timer(DRAIN_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
