"""The ``web`` transport: ``http://HOST/DIRECTORY/``, where the files of a dataset lie under their paths (specs/0020)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.abc.transport import Transport
from wherry.dial import NAMED
from wherry.errors import ConfigError
from wherry.observe import quiet
from wherry.offload import stoppable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from wherry.abc.transport import Channel
    from wherry.dial import Dial
    from wherry.observe import Emit
    from wherry_web.options import WebOptions


class WebTransport(Transport):
    """Files of web servers, read by ranges. It only fetches."""

    schemes = frozenset({"http", "https"})
    obeys_dial = True

    def __init__(self, options: WebOptions, *, dial: Dial = NAMED, emit: Emit = quiet) -> None:
        """``dial`` is asked at each connect; a redirect may besides lead no nearer than it came from."""
        self._options, self._dial, self._emit = options, dial, emit

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`; addresses are ``http://HOST[:PORT]/DIRECTORY/[?QUERY]``, or of a file."""
        from wherry.httplines import Lines
        from wherry_web.channel import WebChannel
        from wherry_web.client import Client
        from wherry_web.places import parse_address

        base = parse_address(address)
        lines = Lines(self._options, self._client_tls() if base.scheme == "https" or self._options.tls_ca else None)
        try:
            client = Client(base, lines, self._options, self._dial, self._emit)
            line = lines.take(base, self._dial)
            await stoppable(lambda: client.hello(line), line.cut)
            channel = WebChannel(client, base.shown, self._options)
            try:
                yield channel
            finally:
                channel.close()
        finally:
            lines.close()

    def _client_tls(self) -> ssl.SSLContext:
        from wherry.httpline import client_tls

        try:
            return client_tls(self._options.tls_ca)
        except OSError as problem:
            path = self._options.tls_ca
            raise ConfigError(f"transport.web.tls_ca: {path}: {problem.strerror or problem}") from problem
