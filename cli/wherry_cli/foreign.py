"""Verbs that other people's packages bring: ``wherry acme.sync ARGS`` (specs/0006 §12).

They are looked for only where wherry itself has no verb of that name, so its own start as fast as without any installed. What
such a command raises stays its own fault: it is named with its package, and ends with the exit code of a plugin's.
"""

from __future__ import annotations

import sys
import traceback
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand

from wherry.abc.command import Invocation as Given
from wherry.config import load, resolve
from wherry.env import Env
from wherry.errors import PluginBroken, PluginContractError, PluginNotFound, UsageError, WherryError
from wherry.plugin.manager import Manager
from wherry.store.home import default_home
from wherry_cli.invocation import Invocation
from wherry_cli.render import safe, safe_lines
from wherry_cli.table import VERBS

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND: Final = "command"
_CODES: Final = range(256)


class ForeignVerb(TyperCommand):
    """A command as a verb: everything behind its name is its own."""

    # The types of these parameters are private to typer.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads nothing: options, also --help, are the command's."""
        ctx.args = list(args)
        return []

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; raises typer.Exit with its exit code, and WherryError."""
        run = Invocation.of(ctx)
        manager = Manager.from_environ(run.surroundings)
        raise typer.Exit(_run(str(self.name), ctx.args, run, manager))


def find(name: str, environ: Mapping[str, str]) -> ForeignVerb:
    """Finds the command of that name. Raises UsageError with near misses, and PluginError for one that does not load."""
    manager = Manager.from_environ(environ)
    if "." in name:  # those of others always have a dot, so that they never hide a verb of wherry's
        try:
            return ForeignVerb(name, help=manager.get(KIND, name).summary, add_help_option=False)
        except PluginNotFound:
            pass
    known = [*VERBS, *manager.names(KIND)]
    near = get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`wherry --help` lists the verbs"
    raise UsageError(f"there is no verb {name!r}", hint=hint)


def summaries(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Gives name and summary of every command that is installed and sound. Loads every plugin."""
    lines = Manager.from_environ(environ).listing()
    return [(safe(line.name), safe(line.summary)) for line in lines if line.kind == KIND and line.status == "ok"]


def _run(name: str, arguments: list[str], run: Invocation, manager: Manager) -> int:
    environ = run.surroundings
    home = (run.home or default_home(environ)).expanduser().absolute()
    config = load(run.config, home, environ)
    instance, options = resolve(config, KIND, name, manager, environ)
    command = manager.build(KIND, instance.plugin, options, Env(home, environ, peers=config.peers))
    given = Given(
        home=home, config=run.config, profile=run.profile, json=run.json, quiet=run.quiet, verbose=run.verbose > 0
    )  # fmt: skip
    run.start_log()
    try:
        code = command.run(arguments, given)
    except (WherryError, BrokenPipeError, typer.Exit):
        raise
    except SystemExit as ended:  # how argparse and many a program end
        code = _said(ended.code)
    except Exception as problem:
        if hasattr(problem, "format_message"):  # of the parser that wherry uses as well; worded where a run ends
            raise
        raise _failed(name, manager, run, problem) from problem
    # `type`, for True is an int and no exit code that anybody means.
    if type(code) is not int or code not in _CODES:
        owner = manager.found(KIND, name).distribution
        raise PluginContractError(f"the command {name} of {owner} gave {code!r}, which is no exit code from 0 to 255")
    return code


def _said(code: object) -> int:
    """Gives the exit code that SystemExit means; words of it go to standard error, as Python itself does it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code)
    sys.stderr.write(safe_lines(str(code)) + "\n")
    return 1


def _failed(name: str, manager: Manager, run: Invocation, problem: Exception) -> PluginBroken:
    if run.verbose == 1:  # with more of it, the traceback is shown where a run ends
        lines = "".join(traceback.format_exception(problem)).rstrip("\n")
        run.out().say(safe_lines(lines))
    first = str(problem).partition("\n")[0]
    what = f"{type(problem).__name__}: {first}" if first else type(problem).__name__
    hint = None if run.verbose else "run with -v for the traceback, and tell its authors"
    return PluginBroken(f"the command {name} of {manager.found(KIND, name).distribution} failed: {what}", hint=hint)
