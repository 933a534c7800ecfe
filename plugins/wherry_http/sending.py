"""Sends answers: worker threads move the bytes past the event loop, at the rate and in the time that are set (specs/0008)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.limits import RATE_BYTES_MIN
from wherry.links import trips
from wherry.offload import in_thread
from wherry.outlet import GATHER_BYTES, CutShort, Outlet, Pump, read_small, whole
from wherry.wire.frames import HEADER_BYTES, withdrawn
from wherry_http.paced import PacedWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import ThreadPoolExecutor

    from aiohttp import web

    from wherry.buffers import BufferPool
    from wherry.flow import Flow
    from wherry.wire.frames import Frame

WORKERS: Final = 6
WALKERS: Final = 2  # for CARs and archives: what they are made of takes the processor, for a million small files minutes of it
_PATIENCE_MS: Final = 50  # a worker waits so long for a full socket while no other answer waits for a worker
_HOLD_S: Final = 0.1  # how long an answer keeps a buffer for a reader that takes nothing
_GONE_S: Final = 1.0  # and how long one that has closed its side and takes nothing is waited for
_LATE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: drop what is unsent


def peer_of(request: web.Request) -> tuple[str, int] | None:
    """Gives the address of who asks; None where it has none."""
    found = request.transport.get_extra_info("peername") if request.transport is not None else None
    return (found[0], found[1]) if isinstance(found, tuple) else None


class Sender:
    """Sends the answers of one server. Used on one event loop."""

    def __init__(
        self, threads: ThreadPoolExecutor, walkers: ThreadPoolExecutor, pool: BufferPool, flow: Flow, idle_s: float
    ) -> None:
        """``idle_s``: a reader that takes nothing for so long, or less than the least rate, is left.

        ``walkers`` send what is found by walking a tree, so that whoever asks for that waits for his like alone.
        """
        self._threads = threads
        self.walkers = walkers
        self._pool = pool
        self._flow = flow
        self._idle_s = idle_s
        self.active = 0  # answers under way
        self._walks = 0  # of them, those that the walkers send

    async def send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        frames: Iterable[Frame],
        *,
        strict: bool = False,
        flow: Flow | None = None,
        walk: bool = False,
    ) -> bool:
        """Sends an answer; False: its reader went away, was too slow, or the answer could not be made to its end.

        ``frames`` may be made as they are sent; they are made on worker threads. ``strict``: see `Outlet`. A WherryError that
        they raise ends the answer abnormally. ``flow``: of the transfer that it is charged to, if it is of one. ``walk``: it is
        for the walkers.
        """
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
        peer = peer_of(request)
        flow = flow or self._flow
        flow = flow.of_peer(peer[0]) if peer is not None else flow
        paced = PacedWriter(writer, flow)
        self._walks += walk
        try:
            if tls:
                await self._copy_out(paced, frames, strict=strict, walk=walk)
            else:
                async with asyncio.timeout(self._idle_s):
                    await writer.drain()
                await self._pump_out(transport, frames, flow, strict=strict, walk=walk)
            await response.write_eof()
            return True
        except BaseException as problem:
            if raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LATE)  # frees the kernel's memory at once
            transport.abort()
            if not isinstance(problem, OSError | CutShort | WherryError):
                raise
            return False
        finally:
            self._walks -= walk
            paced.close()

    async def _pump_out(
        self, transport: asyncio.Transport, frames: Iterable[Frame], flow: Flow, *, strict: bool, walk: bool
    ) -> None:
        """Sends past the event loop, by workers."""
        raw: socket.socket = transport.get_extra_info("socket")
        sock = socket.socket(fileno=os.dup(raw.fileno()))  # so that the loop does not mistake our waiting for its own
        sock.setblocking(False)
        outlet = Outlet(sock, frames, self._pool, flow=flow, strict=strict)
        try:
            await self._run(outlet, sock, flow, transport, walk=walk)
        finally:
            outlet.close()
            sock.close()

    async def _run(self, outlet: Outlet, sock: socket.socket, flow: Flow, transport: asyncio.Transport, *, walk: bool) -> None:
        """Lets workers pump until all is sent. Raises TimeoutError for a reader that is slower than the least rate."""
        loop, idle_s = asyncio.get_running_loop(), self._idle_s
        window, mark = loop.time(), 0
        if flow.limited and (before := trips(sock)) is not None:
            outlet.resent = before.resent  # by the answers before it on this connection
        while True:
            others_wait = self._walks > WALKERS if walk else self.active - self._walks > WORKERS
            patience = 0 if others_wait else _PATIENCE_MS
            state = await in_thread(partial(outlet.pump, patience), self.walkers if walk else self._threads)
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
                await _taken(sock, idle_s, transport)
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

    async def _copy_out(self, writer: PacedWriter, frames: Iterable[Frame], *, strict: bool, walk: bool) -> None:
        """Sends through the event loop, which has the TLS: block by block through a lent buffer."""
        rest = iter(frames)
        threads = self.walkers if walk else self._threads
        while (frame := await in_thread(partial(next, rest, None), threads)) is not None:
            if frame.size > GATHER_BYTES:
                await self._copy_run(writer, frame, strict=strict)
            elif not frame.blocks:
                await self._write_all(writer, frame.head)
            else:
                await self._write(writer, await in_thread(partial(read_small, frame, strict=strict), self._threads))

    async def _write_all(self, writer: PacedWriter, data: bytes) -> None:
        """Writes the bytes of coded blocks piece by piece, so that a slow reader fills no buffer of ours."""
        with memoryview(data) as view:
            for start in range(0, len(view), GATHER_BYTES):
                await self._write(writer, bytes(view[start : start + GATHER_BYTES]))

    async def _copy_run(self, writer: PacedWriter, frame: Frame, *, strict: bool) -> None:
        head = frame.head
        if head and not strict and not await in_thread(partial(whole, frame), self._threads):
            await self._write(writer, withdrawn(frame))
            await self._fill(writer, len(frame.head) + frame.size - HEADER_BYTES)
            return
        for block in frame.blocks:
            at = 0
            while at < block.size:
                buffer = await self._pool.lend()
                try:
                    piece = buffer.view[: block.size]
                    try:
                        await in_thread(partial(block.read_into, piece), self._threads)
                    except WherryError as problem:
                        if strict or not head:
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
        while at < len(piece):
            data = bytes(piece[at : at + GATHER_BYTES])
            if not writer.may(len(data)):
                return at  # others get the buffer while this one waits
            at += len(data)
            # It is not cancelled: aiohttp would take that for the end of all waiting on this connection.
            writing = asyncio.ensure_future(writer.write(data))
            writing.add_done_callback(_heard)
            done, _ = await asyncio.wait([writing], timeout=_HOLD_S)
            if not done:  # `data` is written: what takes so long is that it goes out
                return at
            await writing
        return at

    async def _write(self, writer: PacedWriter, data: bytes | bytearray) -> None:
        """Writes a little, and waits until it is on its way. Raises TimeoutError for a reader that takes nothing."""
        await writer.leave(len(data))
        async with asyncio.timeout(self._idle_s):
            if data:
                await writer.write(data)
            await writer.drain()

    async def _fill(self, writer: PacedWriter, count: int) -> None:
        for start in range(0, count, GATHER_BYTES):
            await self._write(writer, bytes(min(GATHER_BYTES, count - start)))


def _heard(writing: asyncio.Future[None]) -> None:
    """Takes what a write ended with that nobody waits for any more: the next one on its connection meets the same."""
    if not writing.cancelled():
        writing.exception()


async def _taken(sock: socket.socket, timeout_s: float, transport: asyncio.Transport) -> None:
    """Waits until the reader has taken something. Raises TimeoutError; sooner, if it has closed its side of the connection.

    Its socket may be gone without the kernel's saying so: a window that is shut when it is closed is probed, not reset.
    """
    while True:
        gone = transport.is_closing()
        try:
            return await _writable(sock, min(_GONE_S, timeout_s))
        except TimeoutError:
            timeout_s -= _GONE_S
            if gone or timeout_s <= 0:
                raise


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
