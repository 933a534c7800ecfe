"""The root command. Where its run ends, every error becomes words and an exit code (`ending`)."""

from __future__ import annotations

import importlib
import os
import sys
from keyword import iskeyword
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from wherry.errors import UsageError, WherryError
from wherry_cli.command import epilog, need_verb
from wherry_cli.ending import PIPE_CLOSED, ended
from wherry_cli.invocation import Invocation
from wherry_cli.options import add_global_options
from wherry_cli.render import prepare_streams, silence_stdout
from wherry_cli.table import VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETE_VARIABLE: Final = "_WHERRY_COMPLETE"  # set by the script that --install-completion writes
EXIT_CODES: Final = (
    "0 done; 1 a fault in wherry; 2 usage; 3 configuration; 4 plugin; 5 bad data or CID; 6 not found; 7 other machine; "
    "8 this machine's files; 9 the destination; 10 wherry's home; 11 differences found; 12 keys; 130 Ctrl-C; 143 SIGTERM"
)


class VerbGroup(TyperGroup):
    """The root group. It knows every verb's name and summary, and imports a verb's module only when that verb is meant."""

    def __init__(self, **attributes: Any) -> None:
        stubs = {name: TyperCommand(name, help=summary, short_help=summary) for name, summary in VERBS.items()}
        super().__init__(**{**attributes, "commands": stubs})

    # The types of these parameters are private to typer.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Finds the verb that is run, completed or explained, and loads it. Raises UsageError, PluginError."""
        word = args[0]
        if word not in VERBS and not word.startswith("-") and not ctx.resilient_parsing:
            from wherry_cli.foreign import find

            run = Invocation.of(ctx)
            try:
                return word, find(word, run.surroundings), args[1:]
            except WherryError:
                run.json = run.json or "--json" in args  # which nobody will read any more
                raise
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load_verb(name) if name is not None else stub, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Lists wherry's own verbs, and below them those that plugins bring."""
        super().format_commands(ctx, formatter)
        from wherry_cli.foreign import summaries

        if rows := summaries(Invocation.of(ctx).surroundings):
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)


def load_verb(name: str) -> Any:
    """Imports the verb ``name`` and gives its command."""
    module = f"{name}_" if iskeyword(name) else name  # `import` cannot be a module's name
    return importlib.import_module(f"wherry_cli.verbs.{module}").build()


def build() -> Any:
    """Makes the root command. (The type of a command is private to typer.)"""
    app = typer.Typer(
        cls=VerbGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    examples = epilog("wherry share ./dataset", "wherry get wherry:... -o ./dataset", "wherry add --help")
    app.callback(invoke_without_command=True, epilog=f"{examples}\n\nExit codes: {EXIT_CODES}.")(_wherry)
    command = typer.main.get_command(app)
    add_global_options(command)
    return command


def _wherry(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Share large data by content address: read in place, fetched from any machine, verified byte for byte."""
    if version:
        from wherry_cli.verbs.version import print_version

        print_version(Invocation.of(ctx))
        raise typer.Exit(0)
    need_verb(ctx)


def run(argv: Sequence[str], invocation: Invocation | None = None) -> int:
    """Runs one command line and gives its exit code. Says every error on standard error; raises nothing but SystemExit."""
    prepare_streams()
    run_of = invocation or Invocation()
    try:
        _parse_and_run(argv, run_of)
        sys.stdout.flush()
    except typer.Exit as exited:
        return _flushed(exited.exit_code)
    except BaseException as problem:  # noqa: BLE001 - this is where a run ends: all become words and a code
        if hasattr(problem, "format_message"):  # of the parser; older typers have no public class for all of these
            run_of.json = run_of.json or "--json" in argv  # which may not have been met yet
            run_of.out().error(_usage_error(problem))
            return UsageError.exit_code
        return ended(run_of, problem)
    return 0


def _parse_and_run(argv: Sequence[str], run_of: Invocation) -> None:
    command = build()
    if os.environ.get(COMPLETE_VARIABLE):
        command.main(args=list(argv), prog_name="wherry", complete_var=COMPLETE_VARIABLE, obj=run_of)
        return
    # Not command.main(): it would word errors itself, and end on a closed pipe with code 1.
    with command.make_context("wherry", list(argv), obj=run_of) as ctx:
        command.invoke(ctx)


def _flushed(code: int) -> int:
    """Gives ``code`` once standard output is on its way; help may be piped into a pager that is gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return PIPE_CLOSED
    return code


def _usage_error(problem: Any) -> UsageError:
    ctx = getattr(problem, "ctx", None)
    hint = f"see `{ctx.command_path} --help`" if ctx is not None else "see `wherry --help`"
    return UsageError(problem.format_message(), hint=hint)
