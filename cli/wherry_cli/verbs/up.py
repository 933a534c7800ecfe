"""``wherry up``: the daemon of a home, in the background or, for a supervisor such as systemd, in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from wherry.errors import UsageError, local_error
from wherry_cli.command import single
from wherry_cli.daemon_process import Orders, command, show
from wherry_cli.invocation import Invocation
from wherry_cli.options import AllowPublic, Listen, TlsCert, TlsKey, TokenFile, access_overrides


def up(
    ctx: typer.Context,
    *,
    listen: Listen = None,
    allow_public: AllowPublic = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and log to standard error: for systemd.")] = False,
) -> None:
    """Start the daemon, which serves and runs transfers.

    One runs for each home. When it is ready its addresses are printed, one a line. It goes on with the transfers that an
    earlier one left; `wherry down` or SIGTERM ends it.
    """
    run = Invocation.of(ctx)
    overrides = access_overrides(tls_cert=tls_cert, tls_key=tls_key, token_file=token_file)
    if "transport.http.token" in (overrides or {}):  # its orders would show it to whoever lists processes
        raise UsageError(f"--token-file {str(token_file)!r} is a pipe, and a daemon reads a file", hint="write it into a file")
    orders = Orders.of(run, listen=tuple(listen or ()), allow_public=allow_public, overrides=overrides or {})
    if foreground:
        _become(orders, run)
    from wherry_cli.detached import start

    show(run.out(), start(run, orders))


def _become(orders: Orders, run: Invocation) -> None:
    """Turns this process into the daemon, under the same number: what read the command line is not needed any more."""
    sys.stdout.flush()
    line = command(orders)
    try:
        os.execve(line[0], line, dict(run.environ))  # noqa: S606 - our own program, by its whole path
    except OSError as problem:
        raise local_error(problem, "cannot start", line[0]) from problem


def build() -> Any:
    """Makes the command."""
    return single(up, "wherry up", "wherry up --listen http://127.0.0.1:0 --json", "wherry up --foreground")
