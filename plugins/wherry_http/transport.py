"""The ``http`` transport: addresses, TLS, and who may listen where."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Listening, Transport
from wherry.access import anybody
from wherry.buffers import BufferPool
from wherry.coding import Codings
from wherry.dial import NAMED
from wherry.errors import ConfigError, UsageError, in_words, local_error
from wherry.flow import FREE
from wherry.hosts import is_loopback, reachable
from wherry.limits import BUFFER_BYTES
from wherry.observe import quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.transport import BlockSource, Channel
    from wherry.access import Gate
    from wherry.dial import Dial
    from wherry.flow import Flow
    from wherry.observe import Emit
    from wherry_http.gateways import Gateways
    from wherry_http.options import HttpOptions

GATEWAY_PROTOCOL: Final = "transport-ipfs-gateway-http"  # specs/0028 §5
_SERVE_BUFFERS = 4  # for what cannot go by sendfile


class HttpTransport(Transport):
    """Blocks over HTTP/1.1."""

    schemes = frozenset({"http", "https"})
    obeys_dial = True

    def __init__(
        self,
        options: HttpOptions,
        *,
        allow_public: bool = False,
        dial: Dial = NAMED,
        codings: Callable[[], Codings] = Codings,
        emit: Emit = quiet,
        flow: Flow = FREE,
        gate: Gate = anybody,
    ) -> None:
        # The token is for those whom the user named: whoever is found by others would be given it for asking.
        self._options = options if dial.reach == "named" else replace(options, token=None)
        self._dial = dial
        self._allow_public = allow_public
        self._codings = codings
        self._emit = emit
        self._flow = flow
        self._gate = gate
        self._memory: Gateways | None = None

    def connect(self, address: str) -> AbstractAsyncContextManager[Channel]:
        """See `Transport.connect`; addresses are ``http://HOST:PORT`` and ``https://HOST[:PORT]``."""
        from wherry_http.channel import open_channel  # a server needs no client
        from wherry_http.gateways import Gateways
        from wherry_http.places import parse_base  # with yarl, 1.4 MB of a daemon that speaks no http

        base = parse_base(address)
        if base.port in (None, 0):
            raise UsageError(f"address {address!r} names no port", hint="write http://HOST:PORT")
        # A gateway may redirect to https, and is trusted there by the same certificates.
        tls = self._client_tls() if base.scheme == "https" or self._options.tls_ca else None
        if self._memory is None:
            self._memory = Gateways()
        return open_channel(base, tls, self._options, self._codings(), self._dial, memory=self._memory)

    async def name_record(self, address: str, name: str) -> bytes | None:
        """See `SupportsRecords.name_record`."""
        from wherry_http.names import record_at
        from wherry_http.places import parse_base

        base = parse_base(address)
        # As in connect: a gateway that redirects to https is trusted there by the same certificates.
        tls = self._client_tls() if base.scheme == "https" or self._options.tls_ca else None
        return await record_at(str(base), name, tls, self._options, self._dial)

    @asynccontextmanager
    async def listen(self, address: str, source: BlockSource) -> AsyncIterator[str]:
        """See `SupportsListen.listen`. A public address needs TLS, a token, or leave (``[serve] allow_public``)."""
        from wherry_http.places import parse_base
        from wherry_http.server import Server  # a client needs no server

        base = parse_base(address)
        host, port = base.host or "", base.explicit_port or 0
        options = self._options
        if not (is_loopback(host) or options.tls_cert or options.token or self._allow_public):
            hint = (
                "give [transport.http] tls_cert and tls_key, or a token (--token-file or WHERRY_TOKEN), "
                "or say --allow-public if everyone who reaches it may read the data"
            )
            raise UsageError(f"{address!r} is open to other machines, without TLS and without a token", hint=hint)
        if base.scheme == "https" and options.tls_cert is None:
            raise ConfigError(f"{address!r} needs a certificate", hint="give [transport.http] tls_cert and tls_key")
        tls = _server_tls(options) if options.tls_cert is not None else None
        pool = BufferPool(_SERVE_BUFFERS * BUFFER_BYTES)
        server = Server(source, options, self._codings, pool, self._emit, flow=self._flow, gate=self._gate)
        try:
            try:
                found = await server.start(host, port, tls)
            except OSError as problem:
                raise local_error(problem, "cannot listen on", address) from problem
            scheme = "https" if tls is not None else "http"
            shown = reachable(host)
            # A gateway for those alone who have a token is none that an IPFS client can use.
            spoken = (GATEWAY_PROTOCOL,) if options.gateway != "off" and options.token is None else ()
            yield Listening(f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{found}", protocols=spoken)
        finally:
            await server.stop()

    def _client_tls(self) -> ssl.SSLContext:
        from wherry.httpline import client_tls  # a server needs no client

        try:
            return client_tls(self._options.tls_ca)
        except OSError as problem:
            raise ConfigError(f"transport.http.tls_ca: {self._options.tls_ca}: {problem.strerror or problem}") from problem


def _server_tls(options: HttpOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(options.tls_cert), str(options.tls_key))
    except OSError as problem:  # ssl.SSLError is one
        hint = "both are PEM files: the certificate with its chain, and the key that belongs to it, without a passphrase"
        raise ConfigError(f"transport.http: cannot load tls_cert and tls_key: {in_words(problem)}", hint=hint) from problem
    return context
