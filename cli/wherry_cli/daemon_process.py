"""The daemon's own process. It is told by one JSON object what `wherry up` was told, and loads no command line: 2 MB less."""

from __future__ import annotations

import gc
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wherry.errors import WherryError
from wherry_cli.ending import ended
from wherry_cli.invocation import Invocation, given
from wherry_cli.main import GC_THRESHOLDS
from wherry_cli.render import Color, Out, error_json, prepare_streams, safe, warner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a daemon is started with, as it goes from one process to the next."""

    home: str | None = None  # None: the environment and the default decide
    config: str | None = None
    profile: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    color: Color = "auto"
    listen: tuple[str, ...] = ()
    allow_public: bool = False
    overrides: dict[str, str] = field(default_factory=dict)
    ready_fd: int | None = None  # where it is said that it is ready; None: on standard output

    @classmethod
    def of(cls, run: Invocation, **told: Any) -> Self:
        """Takes the global options of a run, and what its verb was told."""
        home, config = (None if path is None else str(path.expanduser().absolute()) for path in (run.home, run.config))
        return cls(
            home=home, config=config, profile=run.profile, json=run.json, quiet=run.quiet, verbose=run.verbose,
            color=run.color, **told,
        )  # fmt: skip

    def run(self) -> Invocation:
        """Gives the run that these make, in this process."""
        home, config = (None if path is None else Path(path) for path in (self.home, self.config))
        return Invocation(
            home=home, config=config, profile=self.profile, json=self.json, quiet=self.quiet, verbose=self.verbose,
            color=self.color,
        )  # fmt: skip


def command(orders: Orders) -> list[str]:
    """Gives the line that starts a daemon. Nothing is imported from the folder that it is started in (-P)."""
    return [sys.executable, "-P", "-m", "wherry_cli.daemon_process", json.dumps(asdict(orders))]


def main(argv: Sequence[str]) -> int:
    """Is the daemon until it is ended; gives the exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    prepare_streams()
    orders = Orders(**json.loads(argv[0]))
    run = orders.run()
    try:
        serve(run, orders)
        sys.stdout.flush()
    except BaseException as problem:  # noqa: BLE001 - this is where a run ends: all become words and a code
        return ended(run, problem)
    return 0


def serve(run: Invocation, orders: Orders) -> None:
    """Runs the daemon until `wherry down` or a signal. Raises what it cannot start with."""
    ready_fd = orders.ready_fd

    async def work() -> None:
        from wherry.daemon.daemon import opened
        from wherry.daemon.places import taken
        from wherry_cli.control.server import controlled

        async with run.session("up", overrides=orders.overrides or None) as session:
            with taken(session.home) as seat:
                options = given(allow_public=orders.allow_public or None)
                async with opened(session, listen=tuple(orders.listen), observe=warner(run.out()), **options) as daemon:
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
    from wherry_cli.log_lines import Escaped

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
