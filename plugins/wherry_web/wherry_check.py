"""How the ``web`` transport, which cannot listen, comes to have a source: for `wherry plugins check` (specs/0006 §13)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from wherry.plugin import Duration
from wherry.testing.hostile import HostileServer
from wherry.testing.source import SourceContract
from wherry.testing.web import plain_files
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from wherry.abc.transport import Transport
    from wherry.testing.leaves import Leaf


class TestPlainServer(SourceContract):
    """A web server with the files in one directory."""

    plugin_module = "wherry_web.plugin"
    heavy = ("aiohttp", "asyncio", "ssl", "http.client")
    secrets: ClassVar[tuple[str, ...]] = ("the-token", "the-key")

    def make_transport(self) -> Transport:
        """See `SourceContract.make_transport`."""
        return WebTransport(
            WebOptions(
                connect_timeout=Duration(2.0), idle_timeout=Duration(1.0), token="the-token",  # noqa: S106 - a test's own
                secret_header="X-Key: the-key", origins=("http://127.0.0.1",),  # noqa: S106 - a test's own
            )
        )  # fmt: skip

    @asynccontextmanager
    async def offering(self, folder: Path, files: Mapping[str, Sequence[Leaf]]) -> AsyncIterator[str]:
        """See `SourceContract.offering`."""
        del folder
        held = {f"/data/{path}": b"".join(leaf.data for leaf in leaves) for path, leaves in files.items()}
        with HostileServer(plain_files(held)) as server:
            yield f"{server.url}/data/"
