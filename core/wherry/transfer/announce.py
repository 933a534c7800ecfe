"""Lets locators that can tell others of this node do so, for as long as it serves (specs/0018 §5, specs/0028 §6).

Serving is what was asked for; being found is a help. So a locator that cannot announce costs a note.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from wherry.abc.locator import Holding, SupportsAnnounce, SupportsProvide
from wherry.errors import WherryError
from wherry.limits import PROVIDE_CIDS_MAX
from wherry.observe import Note
from wherry.offload import in_thread
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.locator import Holdings, Locator
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.store.state import StateDB

_PATIENCE_S: Final = 5.0  # for each locator, to begin and to end


@asynccontextmanager
async def announced(
    locators: Sequence[tuple[str, Locator]],
    addresses: Sequence[str],
    observe: Observe,
    *,
    holdings: Holdings | None = None,
    patience_s: float = _PATIENCE_S,
) -> AsyncIterator[None]:
    """Announces ``addresses`` with each locator that can, until the context is left. Raises what the body raises alone.

    ``holdings`` gives what this node holds, to those locators that tell it: see `roots_of` and `only`.
    """
    begun: list[tuple[str, AbstractAsyncContextManager[None]]] = []

    def failed(name: str, doing: str, problem: Exception) -> None:
        if isinstance(problem, TimeoutError):
            why = f"it took more than {patience_s:.0f} s"
        else:
            why = problem.message if isinstance(problem, WherryError) else f"{type(problem).__name__}: {problem}"
        observe(Note("warning", f"the locator {name} cannot {doing} this node: {why[:200]}"))

    def tell(name: str) -> Callable[[str], None]:
        return lambda text: observe(Note("warning", f"the locator {name}: {text[:200]}"))

    def contexts(name: str, locator: Locator) -> Iterator[AbstractAsyncContextManager[None]]:
        if isinstance(locator, SupportsAnnounce):
            yield locator.announce(addresses)
        if holdings is not None and isinstance(locator, SupportsProvide):
            yield locator.provide(addresses, holdings, tell(name))

    try:
        for name, locator in locators:
            try:
                for context in contexts(name, locator):
                    async with asyncio.timeout(patience_s):
                        await context.__aenter__()
                    begun.append((name, context))
            except Exception as problem:  # noqa: BLE001 - whatever a stranger's locator raises, this node serves
                failed(name, "announce", problem)
        yield
    finally:
        for name, context in reversed(begun):
            try:
                async with asyncio.timeout(patience_s):
                    await context.__aexit__(None, None, None)
            except Exception as problem:  # noqa: BLE001 - as above; the others must end too
                failed(name, "withdraw", problem)


def roots_of(state: StateDB, fetched: Callable[[], Sequence[CID]] = tuple) -> Holdings:
    """Gives what a home holds, as `announced` wants it: its roots, the newest first. Of an encrypted dataset, its header.

    ``fetched`` gives the datasets that are being fetched: of those there is a part.
    """

    def look() -> list[Holding]:
        found: dict[CID, bool] = dict.fromkeys(fetched(), False)
        for row in state.roots():
            whole = not row.options.get("selection")
            found[row.cid] = found.get(row.cid, False) or whole
            if "unixfs" in row.options:
                found.setdefault(PublicCID.parse(row.options["unixfs"]).block(), whole)
            if len(found) >= PROVIDE_CIDS_MAX:
                break
        return [Holding(cid, complete) for cid, complete in found.items()]

    async def holdings() -> Sequence[Holding]:
        return await in_thread(look)

    return holdings


def only(root: CID, complete: Callable[[], bool]) -> Holdings:
    """Gives one dataset, as `announced` wants it: for a `get` that serves while it runs."""

    async def holdings() -> Sequence[Holding]:
        return [Holding(root, complete())]

    return holdings
