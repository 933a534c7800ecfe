"""Receives answers in threads, over blocking sockets, straight into lent buffers (specs/decisions/0004).

http.client speaks HTTP and TLS; it reads into memory that it is given, without a copy. An event loop cannot do that: every
asyncio client tried was two to three times slower.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.transport import Arrival
from wherry.buffers import ROOM
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.limits import RATE_BYTES_MIN
from wherry_http.frames import BLOCKS_PATH, BLOCKS_TYPE, HEADER_BYTES, RUN, SIZE_BYTES, WANTS_TYPE, Answer, encode_wants

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from wherry.abc.transport import Want
    from wherry.buffers import Buffer
    from wherry_http.options import HttpOptions


class _PacedSocket(socket.socket):
    """A socket that gives up a peer which sends, but slower than the least rate."""

    def pace(self, window_s: float) -> None:
        """Begins to measure."""
        self._window_s = window_s
        self._since = time.monotonic()
        self._got = 0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # as socket.socket has it
        """Receives; raises TimeoutError at the end of a window with too few bytes."""
        count = super().recv_into(*args, **kwargs)
        self._got += count
        now = time.monotonic()
        if now - self._since > self._window_s:
            if self._got < RATE_BYTES_MIN * self._window_s:
                raise TimeoutError("slower than the least rate")
            self._since, self._got = now, 0
        return count


class Line:
    """One connection that is kept alive; used by one thread at a time, cut by any."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, options: HttpOptions) -> None:
        self._host, self._port, self._tls, self._options = host, port, tls, options
        self._http: http.client.HTTPConnection | None = None
        self._cut = threading.Event()
        self.used = False

    def open(self) -> http.client.HTTPConnection:
        """Gives the connection, made if there is none. Raises OSError."""
        if self._http is None:
            plain = socket.create_connection((self._host, self._port), self._options.connect_timeout)
            paced: socket.socket = _PacedSocket(plain.family, plain.type, plain.proto, plain.detach())
            paced.settimeout(self._options.idle_timeout)
            paced.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                paced = self._tls.wrap_socket(paced, server_hostname=self._host)
            elif isinstance(paced, _PacedSocket):
                paced.pace(self._options.idle_timeout)
            self._http = http.client.HTTPConnection(self._host, self._port)
            self._http.sock = paced
            self.used = False
            if self._cut.is_set():
                self.cut()
        return self._http

    def cut(self) -> None:
        """Wakes a thread that is blocked in this connection; it will see an OSError."""
        self._cut.set()
        line = self._http
        if line is not None and line.sock is not None:
            try:
                line.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # already gone
                return

    def close(self) -> None:
        """Closes the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None


_REUSED_AND_GONE: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


def exchange(line: Line, wants: Sequence[Want], headers: dict[str, str], buffer: Buffer, peer: str) -> Arrival:
    """Asks for ``wants`` and receives the answer into ``buffer``; blocks its thread. Raises PeerError."""
    body = encode_wants(wants)
    try:
        try:
            response = _ask(line, body, headers, len(buffer.view))
        except _REUSED_AND_GONE:
            if not line.used:
                raise
            line.close()  # the server closed it while it was idle, which is its right
            response = _ask(line, body, headers, len(buffer.view))
        with response:
            arrival = _receive(response, wants, buffer, peer)
        line.used = True
    except PeerError:
        line.close()
        raise
    except TimeoutError as problem:
        line.close()
        raise PeerTimeout(
            f"{peer} was silent or too slow", peer=peer, hint="it is asked again, or another source is"
        ) from problem
    except ConnectionRefusedError as problem:
        line.close()
        raise PeerUnreachable(f"{peer} refuses connections", peer=peer) from problem
    except (OSError, http.client.HTTPException) as problem:
        line.close()
        raise PeerProtocolError(f"{peer} cut the connection or broke HTTP: {problem!r}", peer=peer) from problem
    return arrival


def _ask(line: Line, body: bytes, headers: dict[str, str], capacity: int) -> http.client.HTTPResponse:
    connection = line.open()
    connection.request("POST", f"{BLOCKS_PATH}?max={capacity}", body, {**headers, "Content-Type": WANTS_TYPE})
    return connection.getresponse()


def check_status(status: int, content_type: str | None, peer: str, wanted_type: str = BLOCKS_TYPE) -> None:
    """Raises the error that a status other than 200, or another content type, stands for."""
    if status in (401, 403):
        raise PeerDenied(f"{peer} refuses us (status {status})", peer=peer, hint="give its token: WHERRY_TOKEN or --token-file")
    if status in (429, 503):
        raise PeerBusy(f"{peer} has too much to do (status {status})", peer=peer)
    if 300 <= status < 400:
        raise PeerProtocolError(f"{peer} redirects (status {status}), which is not followed", peer=peer)
    if status != 200:
        raise PeerProtocolError(f"{peer} answered with status {status}", peer=peer, hint="is it a wherry server?")
    if content_type != wanted_type:
        raise PeerProtocolError(f"{peer} answered with {content_type!a}", peer=peer, hint="is it a wherry server?")


def _receive(response: http.client.HTTPResponse, wants: Sequence[Want], buffer: Buffer, peer: str) -> Arrival:
    check_status(response.status, response.headers.get("Content-Type"), peer)
    length, view = response.length, buffer.view
    if length is None or not HEADER_BYTES <= length <= len(view):
        raise PeerProtocolError(f"{peer} promises {length} bytes, at most {len(view)} were asked for", peer=peer)
    answer = Answer(wants, peer)
    _fill(response, view[:HEADER_BYTES], peer)
    first = answer.header(view[:HEADER_BYTES])
    behind = HEADER_BYTES + SIZE_BYTES * first.wants
    if first.kind == RUN and HEADER_BYTES + first.length == length and behind <= ROOM:
        _fill(response, view[HEADER_BYTES:behind], peer)  # one run: its bytes are received where they lie aligned
        _fill(response, view[ROOM : ROOM + length - behind], peer)
        end = answer.run(first, view[HEADER_BYTES:behind], ROOM)
        if end != ROOM + length - behind:
            raise PeerProtocolError(f"{peer} sent a run whose sizes do not add up", peer=peer)
    else:
        _fill(response, view[HEADER_BYTES:length], peer)
        answer = Answer(wants, peer)
        parse(answer, view[:length], peer)
    return Arrival(buffer, answer.blocks, answer.missing)


def _fill(response: http.client.HTTPResponse, view: memoryview, peer: str) -> None:
    done = 0
    while done < len(view):
        got = response.readinto(view[done:] if done else view)
        if not got:
            raise PeerProtocolError(f"{peer} cut its answer short", peer=peer)
        done += got


def parse(answer: Answer, view: memoryview, peer: str) -> None:
    """Notes the frames of a whole answer that lies in ``view``, where the blocks stay. Raises PeerProtocolError."""
    at = 0
    while at < len(view):
        if len(view) - at < HEADER_BYTES:
            raise PeerProtocolError(f"{peer} sent a cut-off frame", peer=peer)
        header = answer.header(view[at : at + HEADER_BYTES])
        at += HEADER_BYTES
        if header.length > len(view) - at:
            raise PeerProtocolError(f"{peer} sent a frame that is longer than its answer", peer=peer)
        if header.kind == RUN:
            sizes = SIZE_BYTES * header.wants
            if answer.run(header, view[at : at + sizes], at + sizes) != at + header.length:
                raise PeerProtocolError(f"{peer} sent a run whose sizes do not add up", peer=peer)
        at += header.length
