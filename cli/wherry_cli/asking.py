"""How a verb asks the daemon of the home that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from wherry_cli.control.client import Control
    from wherry_cli.invocation import Invocation


def home_of(run: Invocation) -> Path:
    """Gives the home that is meant, whether or not it exists."""
    from wherry.store.home import default_home

    return (run.home or default_home(run.environ)).expanduser().absolute()


def ask(run: Invocation, question: Callable[[Control], Awaitable[None]]) -> None:
    """Runs ``question`` with the daemon of the home. Raises NotFound if none runs, and what the daemon raises."""

    async def work() -> None:
        from wherry_cli.control.client import connected

        async with connected(home_of(run)) as control:
            await question(control)

    run.drive(work)
