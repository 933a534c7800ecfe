"""Lets locators that can tell others of this node, for as long as it serves (specs/0018 §5).

Serving is what was asked for; being found is a help. So a locator that cannot announce costs a note.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from wherry.abc.locator import SupportsAnnounce
from wherry.errors import WherryError
from wherry.observe import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.locator import Locator
    from wherry.observe import Observe

_PATIENCE_S: Final = 5.0  # for each locator, to begin and to end


@asynccontextmanager
async def announced(
    locators: Sequence[tuple[str, Locator]], addresses: Sequence[str], observe: Observe, *, patience_s: float = _PATIENCE_S
) -> AsyncIterator[None]:
    """Announces ``addresses`` with each locator that can, until the context is left. Raises what the body raises alone."""
    begun: list[tuple[str, AbstractAsyncContextManager[None]]] = []

    def failed(name: str, doing: str, problem: Exception) -> None:
        if isinstance(problem, TimeoutError):
            why = f"it took more than {patience_s:.0f} s"
        else:
            why = problem.message if isinstance(problem, WherryError) else f"{type(problem).__name__}: {problem}"
        observe(Note("warning", f"the locator {name} cannot {doing} this node: {why[:200]}"))

    try:
        for name, locator in locators:
            if not isinstance(locator, SupportsAnnounce):
                continue
            try:
                context = locator.announce(addresses)
                async with asyncio.timeout(patience_s):
                    await context.__aenter__()
            except Exception as problem:  # noqa: BLE001 - whatever a stranger's locator raises, this node serves
                failed(name, "announce", problem)
            else:
                begun.append((name, context))
        yield
    finally:
        for name, context in reversed(begun):
            try:
                async with asyncio.timeout(patience_s):
                    await context.__aexit__(None, None, None)
            except Exception as problem:  # noqa: BLE001 - as above; the others must end too
                failed(name, "withdraw", problem)
