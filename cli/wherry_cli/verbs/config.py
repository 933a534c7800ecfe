"""``wherry config``: what is in force and where it comes from, what is wrong with it, and what could be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.config import ConfigProblems, check, json_schema, load
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wherry.config import Problem
    from wherry.plugin.manager import Manager

HELP = """Show, check or describe the configuration.

It is read from --config, WHERRY_CONFIG or wherry.toml in the home; a profile, chosen by --profile or WHERRY_PROFILE, goes
before the rest of it, and variables such as WHERRY_GET__WAIT before all."""


def show(
    ctx: typer.Context,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
) -> None:
    """Show all that is in force, as TOML; secrets are left out."""
    run = Invocation.of(ctx)
    out = run.out()
    config = load(run.config, home_of(run), run.surroundings, manager_of(run))
    if out.as_json:
        out.result(config.to_json())
    else:
        out.line(safe_lines(config.show(origin=origin).rstrip("\n")))


def check_config(ctx: typer.Context) -> None:
    """Check the configuration, every profile of it, and all that it names.

    Every problem goes to standard error, and the exit code is 3.
    """
    run = Invocation.of(ctx)
    problems = check(run.config, home_of(run), run.surroundings, manager_of(run))
    report(run.out(), problems)


def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of wherry.toml, for editors."""
    run = Invocation.of(ctx)
    import json

    found: dict[str, Any] = json_schema(manager_of(run))
    out = run.out()
    if out.as_json:
        out.result({"schema": "wherry/config-schema/1", "json_schema": found})
    else:
        out.line(json.dumps(found, indent=2))


def report(out: Out, problems: Sequence[Problem]) -> None:
    """Says what is wrong, or that nothing is. Raises ConfigProblems if something is."""
    if out.as_json:
        listed = [problem.to_json() for problem in problems]
        out.result({"schema": "wherry/config-check/1", "ok": not problems, "problems": listed})
    elif not problems and not out.quiet:
        out.line(f"{out.paint('ok', 'green')}: nothing is wrong with the configuration")
    if problems:
        raise ConfigProblems(problems)


def home_of(run: Invocation) -> Path:
    """The home whose wherry.toml is meant. It need not exist."""
    from wherry.store.home import default_home

    return run.home if run.home is not None else default_home(run.environ)


def manager_of(run: Invocation) -> Manager:
    """A manager of all plugins, so that their options are checked too."""
    from wherry.plugin.manager import Manager

    return Manager.from_environ(run.environ)


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry config show --origin", "wherry config check", "wherry config schema")
    member(app, "show", show, "wherry config show", "wherry config show --origin --config ./wherry.toml")
    member(app, "check", check_config, "wherry config check", "wherry config check --config ./wherry.toml --json")
    member(app, "schema", schema, "wherry config schema")
    return finished(app)
