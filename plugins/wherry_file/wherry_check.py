"""How the ``file`` transport, which cannot listen, comes to have a source: for `wherry plugins check` (specs/0006 §13)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.testing.source import SourceContract
from wherry_file.transport import FileTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from wherry.abc.transport import Transport
    from wherry.testing.leaves import Leaf


class TestCopy(SourceContract):
    """A plain copy of the files."""

    plugin_module = "wherry_file.plugin"
    heavy = ("aiohttp", "sqlite3")

    def make_transport(self) -> Transport:
        """See `SourceContract.make_transport`."""
        return FileTransport()

    @asynccontextmanager
    async def offering(self, folder: Path, files: Mapping[str, Sequence[Leaf]]) -> AsyncIterator[str]:
        """See `SourceContract.offering`."""
        for path, leaves in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"".join(leaf.data for leaf in leaves))
        yield f"file://{folder}"
