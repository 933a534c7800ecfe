"""An HTTP server that misbehaves as its script says: for testing clients against peers that lie, stall and flood.

It speaks over plain sockets in threads, so that it can send what no honest library sends, and so that tests with and
without an event loop can use it alike:

    with HostileServer(answer(b"ok"), cut(b"x" * 100, after=10), silent()) as server:
        ...  # the first request gets 200, the second a cut body, every later one silence
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

_RESET: Final = struct.pack("ii", 1, 0)
_HEAD_BYTES_MAX: Final = 1 << 20
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Request:
    """What the client sent."""

    method: str
    path: str  # with the query
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Exchange:
    """One request under way, as a behaviour sees it: what was asked, and the bare connection to answer on."""

    def __init__(self, server: HostileServer, sock: socket.socket, request: Request) -> None:
        self.request = request
        self._server = server
        self._sock = sock

    def send(self, data: bytes) -> None:
        """Sends bytes as they are. Raises OSError once the client is gone or the server stops."""
        self._sock.sendall(data)
        self._server.count(len(data))

    def head(self, status: int | str = 200, headers: Mapping[str, object] | None = None) -> None:
        """Sends a status line and headers, as given: no Content-Length is added."""
        lines = [f"HTTP/1.1 {status}{' OK' if status == 200 else ' No' if isinstance(status, int) else ''}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def wait(self, seconds: float | None = None) -> bool:
        """Does nothing for so long (None: for ever). Tells whether the client is still there; False when it should end."""
        waited = 0.0
        while seconds is None or waited < seconds:
            if self._server.stopping.is_set():
                return False
            step = _POLL_S if seconds is None else min(_POLL_S, seconds - waited)
            if select.select([self._sock], [], [], step)[0]:
                try:
                    if not self._sock.recv(4096, socket.MSG_PEEK):
                        return False
                except OSError:
                    return False
                self._server.stopping.wait(step)  # the client sends more: that is no reason to go faster
            waited += step
        return True

    def reset(self) -> None:
        """Ends the connection with RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sock.close()


Behaviour: TypeAlias = Callable[[Exchange], bool | None]  # True: the connection may be used again
Body: TypeAlias = bytes | Callable[[Request], bytes]


def answer(body: Body = b"", *, status: int = 200, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Behaves well; keeps the connection. Give ``body`` as a function for an answer that depends on the request."""

    def behave(exchange: Exchange) -> bool:
        data = _body(body, exchange)
        exchange.head(status, {"Content-Length": len(data), **(headers or {})})
        exchange.send(data)
        return True

    return behave


def silent() -> Behaviour:
    """Takes the request and never answers."""

    def behave(exchange: Exchange) -> None:
        exchange.wait()

    return behave


def drip(body: Body, *, every_s: float = 0.2, size: int = 1, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Sends a right answer, ``size`` bytes of the body at a time with pauses between."""

    def behave(exchange: Exchange) -> bool:
        data = _body(body, exchange)
        exchange.head(200, {"Content-Length": len(data), **(headers or {})})
        return _dripped(exchange, data, every_s, size)

    return behave


def drip_head(*, every_s: float = 0.2) -> Behaviour:
    """Sends the status line and headers that never end, a byte at a time."""

    def behave(exchange: Exchange) -> None:
        _dripped(exchange, b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000, every_s, 1)

    return behave


def wrong_length(body: Body, *, claim: int, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Says ``claim`` bytes, sends the body, and closes in an orderly way."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": claim, **(headers or {})})
        exchange.send(_body(body, exchange))

    return behave


def cut(body: Body, *, after: int, reset: bool = False, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Says the right length and stops after so many bytes, with an orderly end or with RST."""

    def behave(exchange: Exchange) -> None:
        data = _body(body, exchange)
        exchange.head(200, {"Content-Length": len(data), **(headers or {})})
        exchange.send(data[:after])
        if reset:
            exchange.reset()

    return behave


def stall(body: Body, *, after: int, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Says the right length, sends so many bytes, and then nothing; the connection stays open."""

    def behave(exchange: Exchange) -> None:
        data = _body(body, exchange)
        exchange.head(200, {"Content-Length": len(data), **(headers or {})})
        exchange.send(data[:after])
        exchange.wait()

    return behave


def redirect(location: str, *, status: int = 302) -> Behaviour:
    """Sends the client elsewhere."""
    return answer(status=status, headers={"Location": location})


def endless(piece: bytes = b"\0" * 65536, *, chunked: bool = True, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Sends a body without end: chunked, or with no length at all."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, {**({"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}), **(headers or {})})
        data = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
        while True:  # ends with OSError when the client hangs up or the server stops
            exchange.send(data)

    return behave


def garbage(data: bytes = b"\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n") -> Behaviour:
    """Sends bytes that are no HTTP answer, and closes."""

    def behave(exchange: Exchange) -> None:
        exchange.send(data)

    return behave


def oversize_headers(size: int = 1 << 20) -> Behaviour:
    """Sends one header of ``size`` bytes."""
    return answer(headers={"X-Big": "a" * size})


def endless_headers() -> Behaviour:
    """Sends small headers without end, as fast as they are taken."""

    def behave(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n")
        number = 0
        while True:
            exchange.send(b"".join(b"X-%d: a\r\n" % n for n in range(number, number + 1000)))
            number += 1000

    return behave


def hang_up(*, reset: bool = False) -> Behaviour:
    """Takes the request and closes, with an orderly end or with RST."""

    def behave(exchange: Exchange) -> None:
        if reset:
            exchange.reset()

    return behave


def _body(body: Body, exchange: Exchange) -> bytes:
    return body if isinstance(body, bytes) else body(exchange.request)


def _dripped(exchange: Exchange, data: bytes, every_s: float, size: int) -> bool:
    for start in range(0, len(data), size):
        exchange.send(data[start : start + size])
        if not exchange.wait(every_s):
            return False
    return True


class HostileServer:
    """Serves on a free port of loopback; a context manager that ends every connection and thread when it is left.

    Each request takes the next behaviour of the script, over all connections; the last one repeats. ``by_path`` goes
    first: the behaviour of the longest prefix of the request's path that is in it.
    """

    def __init__(self, *script: Behaviour, by_path: Mapping[str, Behaviour] | None = None) -> None:
        self.script = script or (answer(status=404),)
        self.by_path = by_path or {}
        self.port = 0  # known once entered
        self.requests: list[Request] = []  # in the order in which they came
        self.connections = 0
        self.bytes_sent = 0
        self.stopping = threading.Event()
        self._next = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # wakes send and recv
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, sent: int) -> None:
        """Adds to ``bytes_sent``."""
        with self._lock:
            self.bytes_sent += sent

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="hostile", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self.stopping.is_set():
                    sock.close()
                    return
                self.connections += 1
                self._open.add(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, contextlib.suppress(OSError):
                while (request := _read_request(sock)) is not None:
                    if not self._behaviour(request)(Exchange(self, sock, request)):
                        if sock.fileno() >= 0:
                            sock.shutdown(socket.SHUT_WR)
                        return
        finally:
            with self._lock:
                self._open.discard(sock)

    def _behaviour(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            prefix = max((path for path in self.by_path if request.path.startswith(path)), key=len, default=None)
            if prefix is not None:
                return self.by_path[prefix]
            behaviour = self.script[min(self._next, len(self.script) - 1)]
            self._next += 1
            return behaviour


def _read_request(sock: socket.socket) -> Request | None:
    """Reads one request; None at the end of the connection or of our patience with its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more or len(data) > _HEAD_BYTES_MAX:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3:
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    if headers.get("expect") == "100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            more = sock.recv(65536)
            if not more:
                return None
            body += more
        return Request(words[0], words[1], headers, _unchunked(body))
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            return None
        body += more
    return Request(words[0], words[1], headers, body)


def _unchunked(body: bytes) -> bytes:
    found = bytearray()
    while body:
        size, _, rest = body.partition(b"\r\n")
        count = int(size.split(b";")[0], 16)
        found += rest[:count]
        body = rest[count + 2 :] if count else b""
    return bytes(found)
