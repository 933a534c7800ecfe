"""``wherry up``: the daemon of a home, in the background or, for a supervisor such as systemd, in the foreground."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import WherryError
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import AllowPublic, Listen, TlsCert, TlsKey, TokenFile, access_overrides, descriptor
from wherry_cli.render import Out, error_json, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def up(
    ctx: typer.Context,
    *,
    listen: Listen = None,
    allow_public: AllowPublic = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and log to standard error: for systemd.")] = False,
    ready_fd: Annotated[int | None, typer.Option("--ready-fd", parser=descriptor, hidden=True)] = None,
) -> None:
    """Start the daemon, which serves and runs transfers.

    One runs for each home. When it is ready its addresses are printed, one a line. It goes on with the transfers that an
    earlier one left; `wherry down` or SIGTERM ends it.
    """
    run = Invocation.of(ctx)
    overrides = access_overrides(tls_cert=tls_cert, tls_key=tls_key, token_file=token_file)
    if not foreground:
        from wherry_cli.detached import start

        paths = {"--tls-cert": tls_cert, "--tls-key": tls_key, "--token-file": token_file}
        words = [word for address in listen or () for word in ("--listen", address)]
        words += [word for name, path in paths.items() if path is not None for word in (name, str(path.absolute()))]
        words += ["--allow-public"] if allow_public else []
        show(run.out(), start(run, words))
        return

    async def work() -> None:
        from wherry.daemon.daemon import opened
        from wherry.daemon.places import taken
        from wherry_cli.control.server import controlled
        from wherry_cli.verbs.serve import warner

        async with run.session("up", overrides=overrides) as session:
            with taken(session.home) as seat:
                options = given(allow_public=allow_public or None)
                async with opened(session, listen=tuple(listen or ()), observe=warner(run.out()), **options) as daemon:
                    async with controlled(daemon, seat.listen()):
                        ready = {"schema": "wherry/up/1", "pid": daemon.status().pid, "listen": daemon.listen}
                        ready["home"] = str(session.home)
                        tell(ready) if ready_fd is not None else show(run.out(), ready)
                        await until_stopped(daemon)
                    seat.leave()

    def tell(said: Mapping[str, Any]) -> None:
        from wherry_cli.detached import tell as tell_parent

        tell_parent(ready_fd, said)

    with failures_told(tell if ready_fd is not None else None):
        if ready_fd is not None:
            log_to_file(run)
        run.drive(work)


@contextmanager
def failures_told(tell: Any) -> Iterator[None]:
    """Tells whoever waits for this daemon what it failed with."""
    try:
        yield
    except WherryError as problem:
        if tell is not None:
            tell(error_json(problem))
        raise


def log_to_file(run: Invocation) -> None:
    """Sends the log to the home, as nobody reads a daemon's standard error."""
    import logging
    from logging.handlers import RotatingFileHandler

    from wherry_cli.detached import LOG_BYTES_MAX, LOGS_KEPT, log_of

    class Escaped(logging.Formatter):
        """One line a record but for tracebacks, with names made safe."""

        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
            return safe(super().formatMessage(record))

    handler = RotatingFileHandler(log_of(run), maxBytes=LOG_BYTES_MAX, backupCount=LOGS_KEPT, encoding="utf-8", delay=True)
    handler.setFormatter(Escaped("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=(logging.INFO, logging.DEBUG)[min(run.verbose, 1)], handlers=[handler])


async def until_stopped(daemon: Any) -> None:
    """Runs until `wherry down` or a signal, which both end it well. From then on it has so many seconds to end."""
    import asyncio
    import logging

    from wherry_cli.detached import end_soon

    log = logging.getLogger("wherry.daemon")
    log.info("ready: %s", ", ".join(daemon.listen))
    try:
        await daemon.stopped()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
    log.info("ending")
    end_soon()


def show(out: Out, ready: Mapping[str, Any]) -> None:
    """Says that the daemon is ready, at once: others wait for this."""
    if out.as_json:
        out.result(ready)
        return
    out.note(f"the daemon runs, pid {ready['pid']}")
    for address in ready["listen"]:
        out.line(safe(address))
    out.flush()


def build() -> Any:
    """Makes the command."""
    return single(up, "wherry up", "wherry up --listen http://127.0.0.1:0 --json", "wherry up --foreground")
