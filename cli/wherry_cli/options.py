"""The global options, accepted before and after the verb alike: one declaration, put on the group and on every verb.

Each option stores into the run's Invocation as it is met. The group's are met first, so of two the later wins, and the
ones that count (-v) add up.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.main

from wherry.errors import UsageError
from wherry.units import parse_duration, parse_rate, parse_size
from wherry_cli.convert import lighten
from wherry_cli.invocation import Invocation, ProgressMode
from wherry_cli.render import Color  # noqa: TC001 - typer reads annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _store(field: str) -> Callable[[typer.Context, Any], None]:
    """Makes the callback that puts a given value into the run's ``field``; a value not given changes nothing."""

    def callback(ctx: typer.Context, value: Any) -> None:
        if value is not None and value is not False:
            setattr(Invocation.of(ctx), field, value)

    return callback


def _more_verbose(ctx: typer.Context, value: int) -> None:
    Invocation.of(ctx).verbose += value


def _declared(
    *,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Where wherry keeps its state.  [env: WHERRY_HOME]",
            callback=_store("home"),
            expose_value=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The configuration to read.  [env: WHERRY_CONFIG]",
            callback=_store("config"),
            expose_value=False,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The profile of the configuration to use.  [env: WHERRY_PROFILE]",
            callback=_store("profile"),
            expose_value=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object.", callback=_store("json"), expose_value=False),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", help="Print the bare result, and errors.", callback=_store("quiet"), expose_value=False),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Say more; twice: everything.",
            callback=_more_verbose,
            expose_value=False,
        ),
    ] = 0,
    color: Annotated[
        Color | None,
        typer.Option(
            "--color",
            help="When to colour; auto: on a terminal, unless NO_COLOR is set.",
            callback=_store("color"),
            expose_value=False,
        ),
    ] = None,
    progress: Annotated[
        ProgressMode | None,
        typer.Option(
            "--progress",
            help="How to show progress; auto: a bar on a terminal, else lines.",
            callback=_store("progress"),
            expose_value=False,
        ),
    ] = None,
) -> None:
    """Carries the declarations; it is never called."""


@cache
def _global_params() -> list[Any]:
    """Makes the global options, once: an option keeps nothing of a run, so all commands can have the same ones, and to make
    them for every verb took half of the time in which `wherry` starts.
    """
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_declared)
    command: Any = typer.main.get_command(carrier)
    lighten(command)
    return list(command.params)


def add_global_options(command: Any) -> None:
    """Puts the global options on ``command`` and on all below it. (The type of a command is private to typer.)"""
    for each in _with_children(command):
        lighten(each)
        each.params.extend(_global_params())


def _with_children(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _with_children(child)


def size(text: str | int) -> int:
    """Reads an option's size, or its default. Raises BadParameter."""
    try:
        return parse_size(str(text))
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem


def rate(text: str | int) -> int:
    """Reads a rate in bytes a second, such as 10MB/s, 10MB or 100Mbit/s. Raises BadParameter."""
    try:
        found = parse_rate(str(text))
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem
    if 0 < found < 1:
        raise typer.BadParameter(f"{text!r} is less than a byte a second; 0 means no limit")
    return round(found)


def duration(text: str | float) -> float:
    """Reads an option's duration in seconds, or its default. Raises BadParameter."""
    try:
        return parse_duration(str(text))
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem


def descriptor(text: str | int) -> int:
    """Reads the number of an open descriptor. Raises BadParameter."""
    if not str(text).isascii() or not str(text).isdigit():
        raise typer.BadParameter(f"{text!r} is no number of a descriptor")
    return int(text)


# Options that several verbs share.

From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="ADDR|NAME", help="Where to fetch from: an address, or a name under [peers]. Repeatable."),
]
Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="ADDR", help="Where to listen, such as http://127.0.0.1:0. Repeatable."),
]
AllowPublic = Annotated[
    bool, typer.Option("--allow-public", help="Listen on a public address without TLS or token: anyone may read.")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM) for https.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Key (PEM) of the certificate.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File with the passphrase.  [env: WHERRY_PASSPHRASE_FILE]"),
]
PassphraseFd = Annotated[
    int | None,
    typer.Option("--passphrase-fd", metavar="N", parser=descriptor, help="Descriptor to read the passphrase from."),
]
LimitUp = Annotated[
    int | None,
    typer.Option("--limit-up", metavar="RATE", parser=rate, help="Send at most this, such as 2MB/s or 16Mbit/s; 0: no limit."),
]
LimitDown = Annotated[
    int | None,
    typer.Option("--limit-down", metavar="RATE", parser=rate, help="Receive at most this, such as 10MB/s; 0: no limit."),
]
TrafficClass = Annotated[
    Literal["interactive", "high", "normal", "bulk"] | None,
    typer.Option("--class", help="Its share where the link is limited; bulk gives way to everything else."),
]
TokenFile = Annotated[Path | None, typer.Option("--token-file", metavar="FILE", help="File with the token of the server.")]


def access_overrides(
    *, tls_cert: Path | None = None, tls_key: Path | None = None, token_file: Path | None = None
) -> dict[str, str] | None:
    """Gives the configuration that these options stand for, as dotted keys; None if none was given.

    The token is that of every transport which has one, as WHERRY_TOKEN is: one that did not get it would let in everybody.
    Raises UsageError for a file that is not there, and for one that holds no token.
    """
    for name, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key), ("--token-file", token_file)):
        if path is not None and not path.expanduser().exists():
            raise UsageError(f"{name} {str(path)!r}: there is no such file", hint="check the path")
    tokens: dict[str, str | Path | None] = {"token_file": token_file}
    if token_file is not None:
        from wherry_cli.tokens import token_in

        token, lasts = token_in(token_file)
        if not lasts:
            tokens = {"token": token}
    given: dict[str, str | Path | None] = {"http.tls_cert": tls_cert, "http.tls_key": tls_key}
    given |= {f"{transport}.{name}": value for transport in ("http", "tcp") for name, value in tokens.items()}
    found = {
        f"transport.{name}": str(value.expanduser().absolute()) if isinstance(value, Path) else value
        for name, value in given.items()
        if value is not None
    }
    return found or None


def with_limits(overrides: dict[str, str] | None, *, up: int | None = None, down: int | None = None) -> dict[str, str] | None:
    """Adds limits, which hold for each transfer of this process beside those of the node, to other settings."""
    limits = {"transfer_up": up, "transfer_down": down}
    found = {f"limits.{name}": str(limit or "") for name, limit in limits.items() if limit is not None}
    return {**(overrides or {}), **found} or None


def with_class(overrides: dict[str, str] | None, klass: str | None) -> dict[str, str] | None:
    """Adds the class of what is served to other settings."""
    return {**(overrides or {}), **({"serve.traffic_class": klass} if klass is not None else {})} or None
