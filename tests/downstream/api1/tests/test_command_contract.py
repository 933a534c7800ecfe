"""The command keeps the contract of commands."""

from __future__ import annotations

from wherry.abc.command import Command
from wherry.testing.command import CommandContract

from acme_api1.command.command import RootsCommand


class TestCommand(CommandContract):
    def make_command(self) -> Command:
        return RootsCommand()
