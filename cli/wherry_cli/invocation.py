"""What one run of the command line was told by the global options, and what every verb needs because of them.

One object a run, handed down as click's ``ctx.obj``; tests make their own and put a session of theirs in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wherry_cli.render import Color, Out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import typer

    from wherry.session import Session
    from wherry_cli.progress import Watcher

ProgressMode = Literal["auto", "plain", "json", "none"]
Opener = Callable[..., AbstractAsyncContextManager["Session"]]


def open_session(**options: Any) -> AbstractAsyncContextManager[Session]:
    """Opens the real session. Imported here, so that verbs without one start without asyncio."""
    from wherry.session import Session

    return Session.open(**options)


def given(**options: Any) -> dict[str, Any]:
    """Gives the options that are not None. What the user did not say is left out, so that the configuration decides it."""
    return {name: value for name, value in options.items() if value is not None}


@dataclass(slots=True)
class Invocation:
    """One run. Option callbacks fill it while the line is parsed; verbs only read it."""

    home: Path | None = None  # None: not given; the environment and the default decide
    config: Path | None = None
    profile: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    color: Color = "auto"
    progress: ProgressMode = "auto"
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    opener: Opener = open_session
    kept: str = ""  # what to say about the work done when a signal ends the run

    @classmethod
    def of(cls, ctx: typer.Context) -> Invocation:
        """Gives the run that ``ctx`` belongs to."""
        found = ctx.find_object(cls)
        if found is None:
            raise RuntimeError("the command was started without an Invocation; start it with wherry_cli.app.run")
        return found

    @property
    def surroundings(self) -> Mapping[str, str]:
        """The environment, with the profile that was chosen on the command line."""
        return self.environ if self.profile is None else {**self.environ, "WHERRY_PROFILE": self.profile}

    def out(self) -> Out:
        """The streams, as the options want them."""
        return Out(as_json=self.json, quiet=self.quiet, color=self.color, environ=self.environ)

    def session(self, verb: str, **options: Any) -> AbstractAsyncContextManager[Session]:
        """Opens the session of ``verb``; options that are None are left to the configuration."""
        chosen = given(profile=self.profile, **options)
        return self.opener(home=self.home, config=self.config, environ=self.environ, verb=verb, **chosen)

    @contextmanager
    def watcher(self, *, bar: bool = True) -> Iterator[Watcher]:
        """Shows progress inside the block, the way that was asked for. ``bar=False``: of a verb that tells notes alone."""
        from wherry_cli.progress import make_watcher

        mode = "none" if self.quiet else self.progress
        if mode == "auto" and not bar:
            mode = "plain"
        watcher = make_watcher(mode, self.out(), color=self.color, environ=self.environ)
        try:
            yield watcher
        finally:
            watcher.close()

    def drive(self, work: Callable[[], Coroutine[Any, Any, None]], *, kept: str = "") -> None:
        """Runs an async verb to its end. ``kept`` is said if a signal ends it first."""
        from wherry_cli.ending import stopped
        from wherry_cli.signals import drive

        self.kept = kept
        self.start_log()
        drive(work, (lambda code: stopped(self, code)) if kept else None)

    def start_log(self) -> None:
        """Sends the log to standard error: warnings; with -v, what happens; with -v -v, all."""
        import logging

        from wherry_cli.log_lines import Escaped

        handler = logging.StreamHandler()
        handler.setFormatter(Escaped("%(levelname)s %(name)s: %(message)s"))
        level = logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)]
        logging.basicConfig(level=level, handlers=[handler])
