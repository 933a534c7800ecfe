"""The serving side of the ``http`` transport: aiohttp speaks HTTP, worker threads move the bytes (specs/0008 §2-5)."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wherry.accepting import Reception, open_files_max
from wherry.access import anybody
from wherry.buffers import ROOM, BufferPool
from wherry.coder import Coder
from wherry.errors import CIDError, WherryError
from wherry.flow import FREE
from wherry.gateway import headers as said
from wherry.hosts import is_loopback
from wherry.limits import BATCH_BYTES_MAX, BATCH_WANTS_MAX, REQUEST_BYTES_MAX
from wherry.links import Links, counters
from wherry.observe import Refused, Served, quiet
from wherry.offload import in_thread
from wherry.wire.frames import charged, plan
from wherry_http.frames import (
    BLOCKS_PATH,
    BLOCKS_TYPE,
    CODED_TYPE,
    CODINGS_HEADER,
    INFO_PATH,
    PROTOCOL,
    WANTS_TYPE,
    decode_wants,
    offered,
)
from wherry_http.gateway.handler import Gateway
from wherry_http.sending import WALKERS, WORKERS, Sender, peer_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from wherry.abc.transport import BlockSource
    from wherry.access import Gate
    from wherry.coding import Codings
    from wherry.flow import Flow
    from wherry.observe import Emit, Refusal
    from wherry_http.options import HttpOptions

_BODY_S: Final = 15.0
_REASONS: Final[dict[int, Refusal]] = {
    401: "denied",
    403: "forbidden",
    429: "busy",
    503: "busy",
}  # of statuses
_NUMBER: Final = re.compile("-?[0-9]{1,100}")
BYTES_MAX: Final = ROOM + BATCH_BYTES_MAX  # an answer fits into one lent buffer


class Server:
    """Answers requests for blocks of one source. Made and used on one event loop."""

    def __init__(
        self,
        source: BlockSource,
        options: HttpOptions,
        codings: Callable[[], Codings],
        pool: BufferPool,
        emit: Emit = quiet,
        *,
        flow: Flow = FREE,
        gate: Gate = anybody,
    ) -> None:
        self._source = source
        # An answer holds two files beside its connection, and connections have a third of those that may be open.
        options = replace(options, max_requests=max(1, min(options.max_requests, open_files_max() // 4)))
        self._options = options
        self._emit = emit
        self._unwanted = gate
        self._threads = ThreadPoolExecutor(WORKERS, "wherry-serve")
        self._walkers = ThreadPoolExecutor(WALKERS, "wherry-walk")
        self._sender = Sender(self._threads, self._walkers, pool, flow, options.idle_timeout)
        self._gateway = None
        if options.gateway != "off":
            self._gateway = Gateway(source, options, self._sender, emit)
        self._coder = Coder(codings, options.coding)
        self._links = Links()
        self._host, self._loopback = "", False
        self._runner: web.AppRunner | None = None
        self._reception: Reception | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Begins to listen; gives the port. Raises OSError if the address cannot be bound."""
        self._host, self._loopback = host, is_loopback(host)
        scheme = "http" if tls is None else "https"
        self._reception = Reception(
            self._connection, tls, self._options.keepalive, refused=lambda: self._emit(Refused(scheme, "busy"))
        )
        middlewares = [_heard(self._reception), self._told, self._gate]
        app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=middlewares)
        app.on_response_prepare.append(_name)
        app.router.add_get(INFO_PATH, self._info)
        app.router.add_post(BLOCKS_PATH, self._blocks)
        # The server's only deadline for a request's header is its keep-alive time (specs/0008 §5.1).
        if self._gateway is not None:
            self._gateway.mount(app)
        self._runner = web.AppRunner(
            app, keepalive_timeout=self._options.keepalive, access_log=None, handle_signals=False, shutdown_timeout=8.0,
            lingering_time=0, logger=_logger(),  # who sends more than it should is not waited for
        )  # fmt: skip
        await self._runner.setup()
        return await self._reception.start(host, port)

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server if self._runner is not None else None
        if server is None:
            raise ConnectionAbortedError("the server has stopped")
        return server()

    async def stop(self) -> None:
        """Stops accepting, gives answers under way eight seconds, and frees everything."""
        if self._reception is not None:
            await self._reception.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._gateway is not None:
            self._gateway.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._walkers.shutdown(wait=True, cancel_futures=True)
        self._coder.close()

    @web.middleware
    async def _told(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Tells the observers of requests that are refused."""
        try:
            return await handler(request)
        except web.HTTPException as refused:
            self._emit(Refused(request.scheme, _REASONS.get(refused.status, "malformed" if refused.status < 500 else "failed")))
            if refused is request.match_info.http_exception and refused.status == 404 and self._gateway is not None:
                refused.text = "nothing is here; ask for /ipfs/CID or /ipns/NAME\n"
            raise

    @web.middleware
    async def _gate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Lets in only who may: nobody who is banned, no browser's page, and whoever shows the token if there is one."""
        peer = peer_of(request)
        if peer is not None and self._unwanted(peer[0], ""):
            raise web.HTTPForbidden(text="you are not wanted here\n")  # why, is no stranger's concern
        public = self._gateway is not None and self._gateway.serves(request)  # read alone, and meant for pages too
        beside = self._gateway is not None and self._gateway.is_beside(request)  # links lead there, and icons are asked for
        by_page = not beside and request.headers.get("Sec-Fetch-Site", "none") != "none"
        if not public and ("Origin" in request.headers or by_page):
            raise web.HTTPForbidden(text="this is no place for web pages\n")
        if self._loopback and not all(self._is_ours(host) for host in request.headers.getall("Host", ())):
            raise web.HTTPForbidden(text="this name does not lead here\n")  # a page's own name, made to point to us
        token = self._options.token
        if token is not None:
            scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
            right = hmac.compare_digest(shown.lstrip(" ").encode("utf-8", "replace"), token.encode())
            if not right or scheme.lower() != "bearer":  # in any case (RFC 9110 §11.1)
                raise web.HTTPUnauthorized(text="a token is needed\n", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    def _is_ours(self, host: str) -> bool:
        """Tells whether a Host header names this machine to itself, or is what the listener was told."""
        name = host.strip().lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        return name == self._host.lower() or is_loopback(name)

    async def _info(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.json_response({"wherry": PROTOCOL, "wants": BATCH_WANTS_MAX, "bytes": BYTES_MAX})

    async def _blocks(self, request: web.Request) -> web.StreamResponse:
        if self._sender.active >= self._options.max_requests:
            raise web.HTTPServiceUnavailable(text="too many requests at a time\n", headers={"Retry-After": "2"})
        self._sender.active += 1
        try:
            return await self._answer(request)
        finally:
            self._sender.active -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        if request.content_type != WANTS_TYPE:
            raise web.HTTPUnsupportedMediaType(text=f"send {WANTS_TYPE}\n")
        try:
            async with asyncio.timeout(min(_BODY_S, self._options.idle_timeout)):
                wants = decode_wants(await request.read())
            most = request.query.get("max", str(BYTES_MAX))
            if not _NUMBER.fullmatch(most):
                raise web.HTTPBadRequest(text="max is a number of bytes\n")
            bytes_max = min(BYTES_MAX, int(most))
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the request's body took too long\n") from None
        except (CIDError, ValueError) as problem:
            raise web.HTTPBadRequest(text=f"{problem}\n") from None
        try:
            frames = await in_thread(lambda: plan(self._source.find(wants), bytes_max), self._threads)
        except WherryError:
            raise web.HTTPInternalServerError(text="the store cannot be read\n") from None
        peer = peer_of(request)
        decodes = offered(request.headers.get(CODINGS_HEADER, "")) if peer is not None else ()
        async with self._coder.coded(frames, decodes, self._rate(request, peer), loopback=_is_local(peer)) as coded:
            kind = BLOCKS_TYPE if coded is None else CODED_TYPE
            plain, frames = frames, coded or frames
            response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
            response.content_length = sum([len(frame.head) + frame.size for frame in frames])
            if decodes and peer is not None:
                self._links.answering(peer, asyncio.get_running_loop().time(), response.content_length)
            sent = await self._sender.send(request, response, frames, flow=charged(plain))
        if self._emit is not quiet:
            blocks = [block.size for frame in plain for block in frame.blocks]
            self._emit(
                Served(
                    scheme=request.scheme, blocks=len(blocks), bytes=sum(blocks), wire_bytes=response.content_length,
                    seconds=time.monotonic() - began, ok=sent,
                )
            )  # fmt: skip
        return response

    def _rate(self, request: web.Request, peer: tuple[str, int] | None) -> float | None:
        """Gives the rate of the link to who asks, in bytes a second, where it matters and is known."""
        if request.transport is None or peer is None or self._options.coding != "auto":
            return None
        found = counters(request.transport.get_extra_info("socket"))
        return self._links.rate(peer, asyncio.get_running_loop().time(), found)


def _heard(reception: Reception) -> Middleware:
    @web.middleware
    async def heard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        with reception.hearing(request.transport):
            return await handler(request)

    return heard


async def _name(_request: web.Request, response: web.StreamResponse) -> None:
    """Says what answers, and not of which version it and what it runs on are: strangers need not know.

    Whatever refuses a request, no browser makes anything of the answer. What aiohttp cannot read does not come here.
    """
    response.headers["Server"] = "wherry"
    if response.status >= 400:
        for name, value in said.REFUSAL.items():
            response.headers.setdefault(name, value)


def _is_local(peer: tuple[str, int] | None) -> bool:
    return peer is not None and is_loopback(peer[0])


def _logger() -> logging.Logger:
    """Gives aiohttp a logger that is silent on clients' faults and their leaving: strangers do not write to this terminal."""
    logger = logging.Logger("wherry_http.server")  # noqa: LOG001 - of this server alone, so that a filter on it is too
    logger.parent = logging.getLogger()
    theirs = HttpProcessingError | ConnectionError
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], theirs)))
    return logger
