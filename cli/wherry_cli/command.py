"""How a verb becomes a command: its function, its examples, the global options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
import typer.main

from wherry_cli.options import add_global_options

if TYPE_CHECKING:
    from collections.abc import Callable


def epilog(*examples: str) -> str:
    """The end of a verb's help: examples, one a line. The mark keeps click from joining the lines."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {example}" for example in examples)])


def single(function: Callable[..., None], *examples: str) -> Any:
    """Makes the command of a verb from its function; the docstring is its help."""
    app = _typer()
    app.command(epilog=epilog(*examples))(function)
    return finished(app)


def group(help_text: str, *examples: str, bare: Callable[..., None] | None = None) -> typer.Typer:
    """Makes the app of a verb with verbs below it; add them with `member`, then call `finished`.

    ``bare`` is what it does without a verb below, and does nothing if there is one; without it, that is a usage error.
    """
    app = _typer()

    def without_verb(ctx: typer.Context) -> None:
        need_verb(ctx)

    app.callback(invoke_without_command=True, help=help_text, epilog=epilog(*examples))(bare or without_verb)
    return app


def member(app: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Adds a verb below the verb of ``app``."""
    app.command(name, epilog=epilog(*examples))(function)


def finished(app: typer.Typer) -> Any:
    """Makes the command of ``app``, with the global options on all of it."""
    command = typer.main.get_command(app)
    add_global_options(command)
    return command


def need_verb(ctx: typer.Context) -> None:
    """Shows the help on standard error and ends as a usage error, if no verb was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


def _typer() -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
