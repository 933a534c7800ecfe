"""Liars, for ``swarm``: real nodes with keys of their own that say they have everything, and do not give it.

    python -m wherry_cli.bench.liars FOLDER HOW COUNT WHAT

adds WHAT to COUNT homes in FOLDER, serves each of them on a port of its own, prints ``{"cid": ..., "listen": [...]}``, and lies
until it is ended. HOW is one of `LIES`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Held
from wherry.cid import RAW
from wherry.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.cid import CID

_ENDED: Final = threading.Event()


class Flipped(Held):
    """A block of which one bit is another."""

    def __init__(self, held: Held) -> None:
        self._held, self.size = held, held.size

    def read_into(self, view: memoryview) -> None:
        """Gives what is not the block."""
        self._held.read_into(view)
        view[len(view) // 2] ^= 1


class Unsaid(Held):
    """A block whose answer begins and never goes on."""

    def __init__(self, held: Held) -> None:
        self.size = held.size

    def read_into(self, view: memoryview) -> None:
        """Gives nothing."""
        del view
        _ENDED.wait()


# What a liar makes of a leaf that it has. Its manifest is right, unless it is silent: then it says nothing of that either.
LIES: Final[dict[str, Callable[[Held], Held | None]]] = {
    "wrong": Flipped,  # and this is proof
    "none": lambda _held: None,  # what it said that it has, it has not
    "silent": Unsaid,
}


async def lie(folder: Path, how: str, count: int, what: str) -> None:
    """Serves until it is cancelled."""
    addresses, cid = [], ""
    async with AsyncExitStack() as stack:
        for number in range(count):
            session = await stack.enter_async_context(Session.open(home=folder / str(number), environ={}))
            cid = (await session.add(what)).cid
            holdings = session._node.holdings
            holdings.find = _lying(holdings.find, LIES[how])  # type: ignore[assignment, method-assign]  # all that differs
            serving = await stack.enter_async_context(session.serve((), listen=["tcps://127.0.0.1:0"]))
            addresses += serving.listen
        print(json.dumps({"cid": cid, "listen": addresses}), flush=True)
        await asyncio.Event().wait()


def _lying(
    find: Callable[[Sequence[CID]], list[Held | None]], lie: Callable[[Held], Held | None]
) -> Callable[[Sequence[CID]], list[Held | None]]:
    def found(cids: Sequence[CID]) -> list[Held | None]:
        return [
            lie(held) if held is not None and (cid.codec == RAW or lie is Unsaid) else held
            for cid, held in zip(cids, find(cids), strict=True)
        ]

    return found


if __name__ == "__main__":
    asyncio.run(lie(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
