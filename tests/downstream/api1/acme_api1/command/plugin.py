"""Registers the command acme.command. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.command.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.command import Command
    from wherry.env import Env


def build(options: Options, env: Env) -> Command:
    """Makes the command."""
    del env
    from acme_api1.command.command import RootsCommand

    return RootsCommand(options.rows)


@hookimpl
def wherry_register_commands() -> Iterable[Provider[Command]]:
    """Offers ``wherry acme.command``."""
    return [provider("acme.command", options=Options, build=build, summary="List what was added and fetched.", api=1)]
