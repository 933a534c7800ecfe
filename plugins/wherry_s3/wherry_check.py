"""How the ``s3`` transport, which cannot listen, comes to have a source: for `wherry plugins check` (specs/0006 §13)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from wherry.plugin import Duration
from wherry.testing.hostile import HostileServer
from wherry.testing.source import SourceContract
from wherry.testing.web import plain_files
from wherry_s3.options import S3Options
from wherry_s3.transport import S3Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from wherry.abc.transport import Transport
    from wherry.testing.leaves import Leaf

SAYS = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}  # as S3 does


class TestBucket(SourceContract):
    """What answers as S3 does to a request for an object."""

    plugin_module = "wherry_s3.plugin"
    heavy = ("aiohttp", "asyncio", "ssl", "obstore")
    secrets: ClassVar[tuple[str, ...]] = ("the-key", "the-secret")
    _endpoint = "http://127.0.0.1:1"

    def make_transport(self) -> Transport:
        """See `SourceContract.make_transport`."""
        return S3Transport(
            S3Options(
                endpoint=self._endpoint, allow_http=True, access_key_id="the-key", secret_access_key="the-secret",  # noqa: S106 - a test's own
                connect_timeout=Duration(2.0), idle_timeout=Duration(1.0),
            )
        )  # fmt: skip

    @asynccontextmanager
    async def offering(self, folder: Path, files: Mapping[str, Sequence[Leaf]]) -> AsyncIterator[str]:
        """See `SourceContract.offering`."""
        del folder
        held = {f"/bucket/data/{path}": b"".join(leaf.data for leaf in leaves) for path, leaves in files.items()}
        with HostileServer(plain_files(held, headers=SAYS)) as server:
            self._endpoint = server.url
            yield "s3://bucket/data/"
