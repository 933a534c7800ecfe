"""Runs a tracker: its listener, with a bound on connections, its book, and the sweeping of it (specs/0028 §4)."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wherry.accepting import Reception, allow_open_files
from wherry.errors import ConfigError, UsageError, WherryError, in_words, local_error
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.offload import in_thread
from wherry_locate.server.app import Tracker, is_loopback
from wherry_locate.server.book import Book

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp.typedefs import Middleware

    from wherry_locate.server.app import Handler
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
    scheme, host, port = _parsed(address)
    if not (is_loopback(host) or options.allow_public):
        hint = "say --allow-public if everyone who reaches it may ask it and announce to it"
        raise UsageError(f"{address!r} is open to other machines", hint=hint)
    try:
        await in_thread(lambda: store.parent.mkdir(mode=0o700, parents=True, exist_ok=True))
    except OSError as problem:
        raise local_error(problem, "cannot make the folder of", str(store)) from problem
    allow_open_files()
    book = await in_thread(lambda: Book(store, options), undo=Book.close)
    try:
        tracker = Tracker(book, options, host, clock, chance or random.SystemRandom())
        app = tracker.app()
        runner = web.AppRunner(
            app, keepalive_timeout=options.keepalive_s, access_log=None, handle_signals=False,
            shutdown_timeout=_SHUTDOWN_S, lingering_time=0, logger=_logger(),
        )  # fmt: skip
        reception = _reception(runner, address, options)
        app.middlewares.insert(0, _heard(reception))
        await runner.setup()
        try:
            try:
                found = await reception.start(host, port)
            except OSError as problem:
                raise local_error(problem, "cannot listen on", address) from problem
            sweeping = asyncio.create_task(_sweep(book, options.sweep_s, clock))
            try:
                shown = f"[{host}]" if ":" in host else host
                yield f"{scheme}://{shown}:{found}"
            finally:
                sweeping.cancel()
                await reception.stop()
                await asyncio.wait([sweeping])
        finally:
            await runner.cleanup()
    finally:
        await in_thread(book.close)


def _reception(runner: web.AppRunner, address: str, options: TrackerServerOptions) -> Reception:
    """Makes what takes connections: not too many, and not too many of one address. Raises ConfigError."""

    def connection() -> asyncio.Protocol:
        if runner.server is None:
            raise ConnectionAbortedError("the tracker has stopped")
        return runner.server()

    def wanted(ip: str, others: list[str]) -> bool:
        same = 0 if ip in options.proxies else others.count(ip)
        return len(others) < options.connections_max and same < options.connections_per_ip

    return Reception(connection, _tls(address, options), options.keepalive_s, wanted=wanted)


def _heard(reception: Reception) -> Middleware:
    @web.middleware
    async def heard(request: web.Request, handler: Handler) -> web.StreamResponse:
        with reception.hearing(request.transport):
            return await handler(request)

    return heard


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


def _tls(address: str, options: TrackerServerOptions) -> ssl.SSLContext | None:
    if _parsed(address)[0] == "http":
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
