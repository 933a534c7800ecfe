"""The command: reaches the engine through `wherry.Session`, as any program does."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from wherry.abc.command import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.command import Invocation

SCHEMA = "acme.command/roots/1"


class RootsCommand(Command):
    """``wherry acme.command [--rows N]``."""

    def __init__(self, rows: int = 50) -> None:
        self._rows = rows

    def run(self, arguments: Sequence[str], invocation: Invocation) -> int:
        """See `Command.run`."""
        parser = argparse.ArgumentParser("wherry acme.command", description="List what was added and fetched.")
        parser.add_argument("--rows", type=int, default=self._rows, help="how many are shown at most (%(default)s)")
        try:
            given = parser.parse_args(arguments)
        except SystemExit as ended:  # argparse has said why; 0 after --help, 2 otherwise, which are wherry's codes too
            return int(ended.code or 0)
        rows = asyncio.run(self._rows_of(invocation))[: given.rows]
        if invocation.json:
            sys.stdout.write(json.dumps({"schema": SCHEMA, "roots": rows}) + "\n")
            return 0
        for row in rows:
            sys.stdout.write(f"{row['how']:<4} {row['cid']}  {row['path']!r}\n")
        return 0

    async def _rows_of(self, invocation: Invocation) -> list[dict[str, object]]:
        from wherry import Session  # `--help` needs no engine

        async with Session.open(home=invocation.home, config=invocation.config, verb="acme.command") as session:
            return [{"cid": str(row.cid), "path": row.path, "how": row.how, "at": row.at} for row in await session.roots()]
