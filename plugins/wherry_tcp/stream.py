"""Sockets that do not block, plain or inside TLS, for a reading and a writing thread at the same time (specs/0004 §7)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LATE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: drop what is unsent
LOW_BYTES: Final = 64 * 1024  # of a long piece: so much is there when its reader wakes; each packet would wake it otherwise
_RECORD_BYTES: Final = 17 * 1024  # of TLS: so much of what comes may lie inside OpenSSL, where the kernel does not count it
NOTSENT_BYTES: Final = 128 * 1024  # in the kernel and not on its way: so "sent" means nearly gone, and what is urgent gets by


class Stream:
    """A plain connection."""

    spans = True  # files may be sent by the kernel

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        self._socket = sock
        self._low = 1

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """See `socket.socket.getsockopt`."""
        return self._socket.getsockopt(level, option, size)

    def recv_into(self, view: memoryview) -> int:
        """Receives some bytes, 0 at the end. Raises BlockingIOError if there are none now, OSError."""
        return self._socket.recv_into(view)

    def expect(self, count: int) -> None:
        """Says that ``count`` bytes are sure to come: who waits to read may be woken when many of them are there.

        What is there can be received all the same. Raises OSError.
        """
        low = min(count, LOW_BYTES)
        if low != self._low:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low)
            self._low = low

    def send(self, data: memoryview, /) -> int:
        """Sends some bytes. Raises BlockingIOError if none can be sent now, OSError."""
        return self._socket.send(data)

    def wake(self) -> None:
        """Ends both directions: whoever waits for this connection wakes."""
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:  # it is gone already
            return

    def close(self, *, late: bool = False) -> None:
        """Closes it; ``late``: what is unsent is of no use, and the kernel lets go of it at once."""
        if late and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LATE)
        self._socket.close()


class TlsStream(Stream):
    """The same inside TLS. OpenSSL bears one thread at a time in a connection, and none of its calls blocks here."""

    spans = False

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self.tls = sock
        self._lock = threading.Lock()

    def recv_into(self, view: memoryview) -> int:
        """See `Stream.recv_into`."""
        with self._lock:
            try:
                return self.tls.recv_into(view)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as problem:
                raise BlockingIOError from problem
            except ssl.SSLEOFError:
                return 0

    def expect(self, count: int) -> None:
        """See `Stream.expect`."""
        super().expect(max(count - _RECORD_BYTES, 1))

    def send(self, data: memoryview, /) -> int:
        """See `Stream.send`."""
        with self._lock:
            try:
                return self.tls.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as problem:
                raise BlockingIOError from problem


async def readable(stream: Stream, timeout_s: float) -> None:
    """Waits until there is something to read. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    await _waited(loop.add_reader, loop.remove_reader, stream.fileno(), timeout_s)


async def writable(stream: Stream, timeout_s: float) -> None:
    """Waits until something can be sent. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    await _waited(loop.add_writer, loop.remove_writer, stream.fileno(), timeout_s)


async def _waited(
    add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool], fd: int, timeout_s: float | None
) -> None:
    if fd < 0:
        raise ConnectionAbortedError("the connection is closed")
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    finally:
        remove(fd)
