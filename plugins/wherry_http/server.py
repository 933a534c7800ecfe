"""The serving side of the ``http`` transport: aiohttp speaks HTTP, worker threads move the bytes (specs/0008 §2-5)."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wherry.access import anybody
from wherry.buffers import ROOM, BufferPool
from wherry.coder import Coder
from wherry.errors import CIDError, WherryError
from wherry.flow import FREE
from wherry.hosts import is_loopback
from wherry.limits import BATCH_BYTES_MAX, BATCH_WANTS_MAX, RATE_BYTES_MIN, REQUEST_BYTES_MAX
from wherry.links import Links, counters, trips
from wherry.observe import Refused, Served, quiet
from wherry.offload import in_thread
from wherry.outlet import GATHER_BYTES, CutShort, Outlet, Pump, read_small
from wherry.wire.frames import HEADER_BYTES, plan, withdrawn
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
from wherry_http.paced import PacedWriter

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from wherry.abc.transport import BlockSource
    from wherry.access import Gate
    from wherry.coding import Codings
    from wherry.flow import Flow
    from wherry.observe import Emit, Refusal
    from wherry.wire.frames import Frame
    from wherry_http.options import HttpOptions

_WORKERS: Final = 6
_PATIENCE_MS: Final = 50  # a worker waits so long for a full socket while no other answer waits for a worker
_HOLD_S: Final = 0.1  # how long an answer keeps a buffer for a reader that takes nothing
_BODY_S: Final = 15.0
_REASONS: Final[dict[int, Refusal]] = {401: "denied", 403: "forbidden", 503: "busy"}  # of statuses; others by their class
_LATE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: drop what is unsent
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
        self._options = options
        self._pool = pool
        self._emit = emit
        self._flow = flow
        self._unwanted = gate
        self._threads = ThreadPoolExecutor(_WORKERS, "wherry-serve")
        self._coder = Coder(codings, options.coding)
        self._links = Links()
        self._host, self._loopback = "", False
        self._active = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Begins to listen; gives the port. Raises OSError if the address cannot be bound."""
        self._host, self._loopback = host, is_loopback(host)
        app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[self._told, self._gate])
        app.router.add_get(INFO_PATH, self._info)
        app.router.add_post(BLOCKS_PATH, self._blocks)
        # The server's only deadline for a request's header is its keep-alive time (specs/0008 §5.1).
        self._runner = web.AppRunner(
            app, keepalive_timeout=self._options.keepalive, access_log=None, handle_signals=False, shutdown_timeout=8.0,
            lingering_time=0, logger=_logger(),  # who sends more than it should is not waited for
        )  # fmt: skip
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=1024)
        await site.start()
        found: int = self._runner.addresses[0][1]
        return found

    async def stop(self) -> None:
        """Stops accepting, gives answers under way eight seconds, and frees everything."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._threads.shutdown(wait=True, cancel_futures=True)
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
            raise

    @web.middleware
    async def _gate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Lets in only who may: nobody who is banned, no browser's page, and whoever shows the token if there is one."""
        peer = self._peer(request)
        if peer is not None and self._unwanted(peer[0], ""):
            raise web.HTTPForbidden(text="you are not wanted here\n")  # why, is no stranger's concern
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
            raise web.HTTPForbidden(text="this is no place for web pages\n")
        if self._loopback and not all(self._is_ours(host) for host in request.headers.getall("Host", ())):
            raise web.HTTPForbidden(text="this name does not lead here\n")  # a page's own name, made to point to us
        token = self._options.token
        if token is not None:
            shown = request.headers.get("Authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(shown, b"Bearer " + token.encode()):
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
        if self._active >= self._options.max_requests:
            raise web.HTTPServiceUnavailable(text="too many requests at a time\n", headers={"Retry-After": "2"})
        self._active += 1
        try:
            return await self._answer(request)
        finally:
            self._active -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        if request.content_type != WANTS_TYPE:
            raise web.HTTPUnsupportedMediaType(text=f"send {WANTS_TYPE}\n")
        try:
            async with asyncio.timeout(min(_BODY_S, self._options.idle_timeout)):
                wants = decode_wants(await request.read())
            bytes_max = min(BYTES_MAX, int(request.query.get("max", BYTES_MAX)))
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the request's body took too long\n") from None
        except (CIDError, ValueError) as problem:
            raise web.HTTPBadRequest(text=f"{problem}\n") from None
        try:
            frames = await in_thread(lambda: plan(self._source.find(wants), bytes_max), self._threads)
        except WherryError:
            raise web.HTTPInternalServerError(text="the store cannot be read\n") from None
        peer = self._peer(request)
        decodes = offered(request.headers.get(CODINGS_HEADER, "")) if peer is not None else ()
        async with self._coder.coded(frames, decodes, self._rate(request, peer), loopback=_is_local(peer)) as coded:
            kind = BLOCKS_TYPE if coded is None else CODED_TYPE
            plain, frames = frames, coded or frames
            response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})
            response.content_length = sum([len(frame.head) + frame.size for frame in frames])
            if decodes and peer is not None:
                self._links.answering(peer, asyncio.get_running_loop().time(), response.content_length)
            sent = await self._send(request, response, frames)
        if self._emit is not quiet:
            blocks = [block.size for frame in plain for block in frame.blocks]
            self._emit(
                Served(
                    scheme=request.scheme, blocks=len(blocks), bytes=sum(blocks), wire_bytes=response.content_length,
                    seconds=time.monotonic() - began, ok=sent,
                )
            )  # fmt: skip
        return response

    def _peer(self, request: web.Request) -> tuple[str, int] | None:
        found = request.transport.get_extra_info("peername") if request.transport is not None else None
        return (found[0], found[1]) if isinstance(found, tuple) else None

    def _rate(self, request: web.Request, peer: tuple[str, int] | None) -> float | None:
        """Gives the rate of the link to who asks, in bytes a second, where it matters and is known."""
        if request.transport is None or peer is None or self._options.coding != "auto":
            return None
        found = counters(request.transport.get_extra_info("socket"))
        return self._links.rate(peer, asyncio.get_running_loop().time(), found)

    async def _send(self, request: web.Request, response: web.StreamResponse, frames: list[Frame]) -> bool:
        """Sends an answer; False: its reader went away, or was too slow."""
        transport = request.transport
        if transport is None:  # the client is gone already
            return False
        tls = transport.get_extra_info("ssl_object") is not None
        if not tls:
            transport.set_write_buffer_limits(high=0)  # so that drain() means: all is in the kernel
        writer = await response.prepare(request)
        if writer is None:
            return False
        writer.send_headers()
        raw: socket.socket = transport.get_extra_info("socket")
        peer = self._peer(request)
        flow = self._flow.of_peer(peer[0]) if peer is not None else self._flow
        paced = PacedWriter(writer, flow)
        try:
            if tls:
                await self._copy_out(paced, frames)
            else:
                async with asyncio.timeout(self._options.idle_timeout):
                    await writer.drain()
                await self._pump_out(raw, frames, flow)
            await response.write_eof()
            return True
        except BaseException as problem:
            if raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LATE)  # frees the kernel's memory at once
            transport.abort()
            if not isinstance(problem, OSError | CutShort):
                raise
            return False
        finally:
            paced.close()

    async def _pump_out(self, raw: socket.socket, frames: list[Frame], flow: Flow) -> None:
        """Sends past the event loop, by workers."""
        sock = socket.socket(fileno=os.dup(raw.fileno()))  # so that the loop does not mistake our waiting for its own
        sock.setblocking(False)
        outlet = Outlet(sock, frames, self._pool, flow=flow)
        try:
            await self._run(outlet, sock, flow)
        finally:
            outlet.close()
            sock.close()

    async def _run(self, outlet: Outlet, sock: socket.socket, flow: Flow) -> None:
        """Lets workers pump until all is sent. Raises TimeoutError for a reader that is slower than the least rate."""
        loop, idle_s = asyncio.get_running_loop(), self._options.idle_timeout
        window, mark = loop.time(), 0
        while True:
            patience = _PATIENCE_MS if self._active <= _WORKERS else 0
            state = await in_thread(partial(outlet.pump, patience), self._threads)
            if flow.limited and (found := trips(sock)) is not None:
                flow.sampled(found.seconds, lost=found.resent > outlet.resent)
                outlet.resent = found.resent
            if state is Pump.DONE:
                return
            if state is Pump.LEAVE:
                window += await self._take_leave(outlet, flow)  # it is not the reader who is slow
                continue
            if state is Pump.BUFFER:
                outlet.buffer = await self._pool.lend()
                continue
            try:
                await _writable(sock, min(_HOLD_S, idle_s))
            except TimeoutError:
                outlet.rest()
                await _writable(sock, idle_s)
            if loop.time() - window > idle_s:
                if outlet.sent - mark < RATE_BYTES_MIN * idle_s:
                    raise TimeoutError
                window, mark = loop.time(), outlet.sent

    async def _take_leave(self, outlet: Outlet, flow: Flow) -> float:
        """Waits until a piece may be sent; gives how long it took."""
        outlet.rest()
        loop = asyncio.get_running_loop()
        began, piece = loop.time(), flow.up_piece
        await flow.up(piece)
        outlet.allowed = piece
        return loop.time() - began

    async def _copy_out(self, writer: PacedWriter, frames: list[Frame]) -> None:
        """Sends through the event loop, which has the TLS: block by block through a lent buffer."""
        for frame in frames:
            if frame.size > GATHER_BYTES:
                await self._copy_run(writer, frame)
                continue
            if not frame.blocks:
                await self._write_all(writer, frame.head)
                continue
            await self._write(writer, await in_thread(partial(read_small, frame), self._threads))

    async def _write_all(self, writer: PacedWriter, data: bytes) -> None:
        """Writes the bytes of coded blocks piece by piece, so that a slow reader fills no buffer of ours."""
        with memoryview(data) as view:
            for start in range(0, len(view), GATHER_BYTES):
                await self._write(writer, bytes(view[start : start + GATHER_BYTES]))

    async def _copy_run(self, writer: PacedWriter, frame: Frame) -> None:
        head = frame.head
        for block in frame.blocks:
            at = 0
            while at < block.size:
                buffer = await self._pool.lend()
                try:
                    piece = buffer.view[: block.size]
                    try:
                        await in_thread(partial(block.read_into, piece), self._threads)
                    except WherryError as problem:
                        if not head:
                            raise CutShort from problem
                        await self._write(writer, withdrawn(frame))
                        await self._fill(writer, len(frame.head) + frame.size - HEADER_BYTES)
                        return
                    if head:
                        await self._write(writer, head)
                        head = b""
                    at = await self._write_some(writer, piece, at)
                finally:
                    buffer.release()
                await self._write(writer, b"")
                await writer.leave(min(GATHER_BYTES, block.size - at))

    async def _write_some(self, writer: PacedWriter, piece: memoryview, at: int) -> int:
        """Writes from ``at`` until the reader makes us wait; gives how far it came."""
        try:
            while at < len(piece):
                data = bytes(piece[at : at + GATHER_BYTES])
                if not writer.may(len(data)):
                    return at  # others get the buffer while this one waits
                at += len(data)
                async with asyncio.timeout(_HOLD_S):
                    await writer.write(data)
        except TimeoutError:  # `data` is written: what takes so long is that it goes out
            return at
        return at

    async def _write(self, writer: PacedWriter, data: bytes | bytearray) -> None:
        """Writes a little, and waits until it is on its way. Raises TimeoutError for a reader that takes nothing."""
        await writer.leave(len(data))
        async with asyncio.timeout(self._options.idle_timeout):
            if data:
                await writer.write(data)
            await writer.drain()

    async def _fill(self, writer: PacedWriter, count: int) -> None:
        for start in range(0, count, GATHER_BYTES):
            await self._write(writer, bytes(min(GATHER_BYTES, count - start)))


def _is_local(peer: tuple[str, int] | None) -> bool:
    return peer is not None and is_loopback(peer[0])


def _logger() -> logging.Logger:
    """Gives aiohttp a logger that is silent on clients' faults: strangers do not write to this terminal."""
    logger = logging.Logger("wherry_http.server")  # noqa: LOG001 - of this server alone, so that a filter on it is too
    logger.parent = logging.getLogger()
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger


async def _writable(sock: socket.socket, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, wake)
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    finally:
        loop.remove_writer(sock)
