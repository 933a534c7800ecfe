"""What HTTP/1.1 the control socket speaks: short requests, answers of JSON, streams of lines (specs/0027 §6).

aiohttp does all of it, and takes 14 MB for that in a daemon which needs it for nothing else as long as nobody speaks HTTP with
it. Only the user can open the socket; what comes in is bounded all the same.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

HEAD_BYTES_MAX: Final = 16 * 1024  # of a request line and headers: those of a browser that lost its way take 2 KiB
_FIELDS_MAX: Final = 16  # of a query
_REST_BYTES_MAX: Final = 1 << 20  # of a request that was refused: read and thrown away, or its sender would not read why
_REST_S: Final = 1.0
_TAKEN_S: Final = 30.0  # for a client to take an answer
_ENDING_S: Final = 2.0  # for answers that are under way when the server ends
_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_JSON: Final = "application/json"


class Refused(Exception):
    """A request that is not answered as it asks: its status, and why in words for people."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Answer:
    """An answer that is known whole. ``last``: the connection ends with it."""

    body: bytes
    status: int = 200
    last: bool = False


@dataclass(slots=True)
class Request:
    """One request. Its body is read when it is asked for."""

    method: str
    path: tuple[str, ...]  # its parts, decoded
    query: dict[str, str]
    headers: dict[str, str]  # by names in small letters
    newer: bool  # HTTP/1.1
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    left: int  # bytes of the body that were not read

    @property
    def text(self) -> str:
        """The path for people."""
        return "/" + "/".join(self.path)

    async def read(self) -> bytes:
        """Reads the body. Raises ConnectionError if the client goes meanwhile."""
        if self.left and self.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await self._reader.readexactly(self.left)
        except asyncio.IncompleteReadError as problem:
            raise ConnectionResetError("the client is gone") from problem
        self.left = 0
        return body

    def begin(self, kind: str) -> None:
        """Begins an answer of type ``kind`` that goes on with what `write` is given until `end`; the connection ends then."""
        lines = [("Connection", "close"), ("Transfer-Encoding", "chunked")]
        self._writer.write(_head(200, kind, lines if self.newer else lines[:1]))

    async def write(self, data: bytes) -> None:
        """Sends more of it, not nothing; waits while the client takes none. Raises ConnectionError if it is gone."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self.newer else data)
        await self._writer.drain()

    def end(self) -> None:
        """Ends an answer that has begun, in good order."""
        if self.newer:
            self._writer.write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Ends the connection at once, whatever the client has not taken yet."""
        self._writer.transport.abort()


class Server:
    """Answers on one socket. For one event loop."""

    def __init__(
        self, handle: Callable[[Request], Awaitable[Answer | None]], refuse: Callable[[int, str], Answer], *,
        body_bytes_max: int, patience_s: float,
    ) -> None:  # fmt: skip
        """``handle`` answers, raises `Refused`, or gives None if it sent a stream; ``refuse`` words what is refused.

        A client has ``patience_s`` seconds from one request to the next, and to send the head of each.
        """
        self._handle = handle
        self._refuse = refuse
        self._body_bytes_max = body_bytes_max
        self._patience_s = patience_s
        self._server: asyncio.Server | None = None
        self._idle: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Begins to take connections."""
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=HEAD_BYTES_MAX)

    async def stop(self) -> None:
        """Takes no more connections; answers that are under way have a moment to end. Twice is once."""
        if self._server is not None:
            self._server.close()
        for task in self._idle:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=_ENDING_S)
        left = self._idle | self._busy
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._idle.add(task)
        task.add_done_callback(self._idle.discard)
        task.add_done_callback(self._busy.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, one after the other."""
        try:
            with suppress(ConnectionError, TimeoutError):  # the client is gone, or says nothing
                while await self._answered(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; gives whether the connection may carry another one."""
        request: Request | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                first = await reader.read(1)
            if not first:
                return False
            async with asyncio.timeout(self._patience_s):
                request = _parsed(await _head_of(first, reader), reader, writer)
            if request.left > self._body_bytes_max:
                raise Refused(413, f"a request has at most {self._body_bytes_max} bytes")
            answer = await self._busily(request)
        except Refused as problem:
            answer = self._refuse(problem.status, str(problem))
        if answer is None:
            return False
        keep = request is not None and not (answer.last or request.left or _closes(request))
        lines = [("Content-Length", str(len(answer.body))), ("Connection", "keep-alive" if keep else "close")]
        writer.write(_head(answer.status, _JSON, lines))
        if request is None or request.method != "HEAD":
            writer.write(answer.body)
        try:
            async with asyncio.timeout(_TAKEN_S):
                await writer.drain()
        except TimeoutError:
            writer.transport.abort()
            return False
        if not keep:
            await _thrown_away(reader, writer)
        return keep

    async def _busily(self, request: Request) -> Answer | None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("no task answers")
        self._idle.discard(task)
        self._busy.add(task)
        try:
            return await self._handle(request)
        finally:
            self._busy.discard(task)
            self._idle.add(task)


async def _head_of(first: bytes, reader: asyncio.StreamReader) -> str:
    """Reads request line and headers. Raises Refused for what is none, as soon as that is seen."""
    if not first.isalpha():
        raise Refused(400, "this is no HTTP")
    try:
        found = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refused(400, f"a request has at most {HEAD_BYTES_MAX} bytes of headers") from None
    except asyncio.IncompleteReadError as problem:
        raise ConnectionResetError("the client is gone") from problem
    return found[:-4].decode("latin-1")


def _parsed(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """Reads a request's head. Raises Refused."""
    first, *lines = head.split("\r\n")
    found = _LINE.fullmatch(first)
    if found is None:
        raise Refused(400, "this is no request of HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        parts = _HEADER.fullmatch(line)
        if parts is None:
            raise Refused(400, "this is no header of HTTP/1.1")
        name = parts[1].lower()
        if name in ("content-length", "host") and name in headers:
            raise Refused(400, f"a request has one {name}")
        headers[name] = f"{headers[name]}, {parts[2].rstrip()}" if name in headers else parts[2].rstrip()
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not re.fullmatch(r"[0-9]{1,15}", length):
        raise Refused(400, "a request says the length of its body")
    path, _, query = found[2].partition("?")
    try:
        asked = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError:
        raise Refused(400, "a request has few fields of a query") from None
    places = tuple(unquote(part) for part in path[1:].split("/"))
    return Request(found[1], places, asked, headers, found[3] == "1", reader, writer, int(length))


def _closes(request: Request) -> bool:
    """Whether the client wants the connection to end with the answer."""
    return not request.newer or "close" in request.headers.get("connection", "").lower()


def _head(status: int, kind: str, lines: list[tuple[str, str]]) -> bytes:
    all_lines = [("Content-Type", kind), ("Cache-Control", "no-store"), *lines]
    text = "".join(f"{name}: {value}\r\n" for name, value in all_lines)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{text}\r\n".encode("latin-1")


async def _thrown_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads what is left of the last request: a socket that is closed with that unread loses the answer, too."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REST_S):
            if writer.can_write_eof():
                writer.write_eof()
            count = 0
            while count < _REST_BYTES_MAX and (piece := await reader.read(HEAD_BYTES_MAX)):
                count += len(piece)
