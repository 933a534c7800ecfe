"""The web transport keeps the contract of transports that cannot listen, over http and https, of a file and of a directory."""

from __future__ import annotations

from contextlib import asynccontextmanager

from wherry.testing.hostile import HostileServer
from wherry.testing.source import SourceContract
from wherry.testing.web import plain_files
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport
from wherry_web.wherry_check import TestPlainServer as TheShippedCheck


class TestDirectory(TheShippedCheck):
    pass


class TestBehindAQuery(SourceContract):
    """A base with a query, and one connection."""

    def make_transport(self):
        return WebTransport(WebOptions(connect_timeout=2.0, idle_timeout=1.0, connections=1))

    @asynccontextmanager
    async def offering(self, folder, files):
        held = {f"/a%20b/{path}": b"".join(leaf.data for leaf in leaves) for path, leaves in files.items()}
        with HostileServer(plain_files({path.replace("%20", " "): data for path, data in held.items()})) as server:
            yield f"{server.url}/a%20b?sig=1"


del SourceContract, TheShippedCheck  # pytest would collect them here too
