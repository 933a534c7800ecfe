"""The locator: reads who has what from a file. What it gives are hints; wherry bounds, dials and verifies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wherry.abc.locator import Locator
from wherry.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from wherry.cid import CID

FILE_BYTES_MAX: Final = 1 << 20


class FileLocator(Locator):
    """Lines of ``CID ADDRESS``, or ``* ADDRESS`` for a peer that is asked for everything. ``#`` begins a comment."""

    reach = "named"  # the user wrote the file, so it may name any machine; "public" is for what strangers say

    def __init__(self, file: Path) -> None:
        self._file = file

    async def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """See `Locator.locate`: those who have it by name come first. No file, no addresses."""
        try:
            text = await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as problem:
            raise PeerError(f"{self._file}: {problem}", peer=str(self._file)) from problem
        rows = [words for line in text.splitlines() if len(words := line.partition("#")[0].split()) == 2]
        named = [address for name, address in rows if name == str(cid)]
        for address in dict.fromkeys(named + [address for name, address in rows if name == "*"]):  # each of them once
            yield address

    def _read(self) -> str:
        with self._file.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ValueError(f"has more than {FILE_BYTES_MAX} bytes")
        return data.decode()
