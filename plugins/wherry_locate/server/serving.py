"""Runs a tracker: its listener, with a bound on connections, its book, and the sweeping of it (specs/0028 §4)."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wherry.errors import ConfigError, UsageError, WherryError, in_words, local_error
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.offload import in_thread
from wherry_locate.server.app import Tracker, is_loopback
from wherry_locate.server.book import Book

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from wherry_locate.server.options import TrackerServerOptions

_SHUTDOWN_S: Final = 2.0  # answers are small: what is not out by then is for nobody


@asynccontextmanager
async def tracking(
    address: str,
    store: Path,
    options: TrackerServerOptions,
    *,
    clock: Callable[[], float] = time.time,
    chance: random.Random | None = None,
) -> AsyncIterator[str]:
    """Runs a tracker at ``address`` (``http://HOST:PORT``, port 0 for any) over the file ``store``; gives its URL.

    ``clock`` gives seconds since 1970, ``chance`` chooses whom an answer names. Raises UsageError for a public address without
    leave, ConfigError, LocalError, StoreError.
    """
    scheme, host, _ = _parsed(address)
    if not (is_loopback(host) or options.allow_public):
        hint = "say --allow-public if everyone who reaches it may ask it and announce to it"
        raise UsageError(f"{address!r} is open to other machines", hint=hint)
    try:
        await in_thread(lambda: store.parent.mkdir(mode=0o700, parents=True, exist_ok=True))
    except OSError as problem:
        raise local_error(problem, "cannot make the folder of", str(store)) from problem
    book = await in_thread(lambda: Book(store, options))
    try:
        tracker = Tracker(book, options, host, clock, chance or random.SystemRandom())
        runner = web.AppRunner(
            tracker.app(), keepalive_timeout=options.keepalive_s, access_log=None, handle_signals=False,
            shutdown_timeout=_SHUTDOWN_S, lingering_time=0, logger=_logger(),
        )  # fmt: skip
        await runner.setup()
        try:
            listener = await _listen(runner, address, options)
            sweeping = asyncio.create_task(_sweep(book, options.sweep_s, clock))
            try:
                shown = f"[{host}]" if ":" in host else host
                yield f"{scheme}://{shown}:{listener.sockets[0].getsockname()[1]}"
            finally:
                sweeping.cancel()
                listener.close()
                await asyncio.wait([sweeping])
        finally:
            await runner.cleanup()
    finally:
        await in_thread(book.close)


async def _listen(runner: web.AppRunner, address: str, options: TrackerServerOptions) -> asyncio.Server:
    scheme, host, port = _parsed(address)
    tls = _tls(address, scheme, options)
    handshake_s = options.keepalive_s if tls is not None else None
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            _Doors(runner, options), host, port, ssl=tls, backlog=1024, ssl_handshake_timeout=handshake_s
        )
    except OSError as problem:
        raise local_error(problem, "cannot listen on", address) from problem


class _Doors:
    """Makes the protocol of each connection; turns away those that are too many."""

    def __init__(self, runner: web.AppRunner, options: TrackerServerOptions) -> None:
        self._runner = runner
        self._options = options

    def __call__(self) -> asyncio.Protocol:
        return _Door(self)

    def admit(self, transport: asyncio.Transport) -> None:
        """Gives a connection to the HTTP server, or ends it."""
        server = self._runner.server
        if server is None:
            transport.abort()
            return
        ip = _ip_of(transport)
        others = [connection.transport for connection in server.connections]
        same = sum(1 for other in others if other is not None and _ip_of(other) == ip)
        too_many = same >= self._options.connections_per_ip and ip not in self._options.proxies
        if len(others) >= self._options.connections_max or too_many:
            transport.abort()
            return
        handler = server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


class _Door(asyncio.Protocol):
    """What a connection meets first."""

    def __init__(self, doors: _Doors) -> None:
        self._doors = doors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admits it or not; from then on this object hears nothing."""
        if isinstance(transport, asyncio.Transport):
            self._doors.admit(transport)


def _ip_of(transport: asyncio.BaseTransport) -> Any:
    found = transport.get_extra_info("peername")
    return found[0] if isinstance(found, tuple) else None


async def _sweep(book: Book, pause_s: float, clock: Callable[[], float]) -> None:
    """Removes what has expired, now and then. A disk that fails is tried again: answers leave out what has expired anyway."""
    while True:
        more = False
        with suppress(WherryError):
            more = await in_thread(lambda: book.sweep(clock()))
        await asyncio.sleep(0 if more else pause_s)


def _parsed(address: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        raise UsageError(f"address {address[:80]!r}: {problem}", hint="write http://HOST:PORT") from problem
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not host or port is None or not plain or len(address) > ADDRESS_CHARS_MAX:
        raise UsageError(f"address {address[:80]!r} is not of the form http://HOST:PORT", hint="port 0 is any free one")
    return parts.scheme, host, port


def _tls(address: str, scheme: str, options: TrackerServerOptions) -> ssl.SSLContext | None:
    if scheme == "http":
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise ConfigError(f"{address!r} needs a certificate", hint="give --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(options.tls_cert), str(options.tls_key))
    except OSError as problem:  # ssl.SSLError is one
        hint = "both are PEM files: the certificate with its chain, and the key that belongs to it, without a passphrase"
        raise ConfigError(f"cannot load {options.tls_cert} and {options.tls_key}: {in_words(problem)}", hint=hint) from problem
    return context


def _logger() -> logging.Logger:
    """Gives aiohttp a logger that is silent on clients' faults and their leaving: strangers do not write to this terminal."""
    logger = logging.Logger("wherry_locate.server")  # noqa: LOG001 - of this server alone, so that a filter on it is too
    logger.parent = logging.getLogger()
    theirs = HttpProcessingError | ConnectionError
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], theirs)))
    return logger
