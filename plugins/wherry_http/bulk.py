"""Receives answers in threads, over blocking sockets, straight into lent buffers (specs/decisions/0004).

http.client speaks HTTP and TLS; it reads into memory that it is given, without a copy. An event loop cannot do that: every
asyncio client tried was two to three times slower.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from wherry.abc.transport import Arrival
from wherry.buffers import ROOM
from wherry.dial import NAMED
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.limits import BATCH_BYTES_MAX, RATE_BYTES_MIN
from wherry_http.coded import CodedReader, fill
from wherry_http.frames import (
    BLOCKS_PATH,
    BLOCKS_TYPE,
    CODED_TYPE,
    CODINGS_HEADER,
    HEADER_BYTES,
    RUN,
    SIZE_BYTES,
    WANTS_TYPE,
    Answer,
    encode_wants,
    offer,
    offered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Want
    from wherry.buffers import Buffer
    from wherry.coding import Codings
    from wherry.dial import Dial
    from wherry_http.options import HttpOptions


_HEADERS_BYTES: Final = 256 * 1024  # of an answer besides its body; also what keeps "100 Continue" from going on for ever


class _Paced(socket.socket):
    """A socket that gives up a peer which sends less than the least rate, or more than it was asked for."""

    def pace(self, window_s: float, bytes_max: int) -> None:
        """Begins to measure, for one answer: the time between two requests is nobody's fault."""
        self._window_s, self._left = window_s, bytes_max
        self._since, self._got = time.monotonic(), 0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # as socket.socket has it
        """Receives; raises TimeoutError at the end of a window with too few bytes, OSError for too many in all."""
        count = super().recv_into(*args, **kwargs)
        self._got += count
        self._left -= count
        if self._left < 0:
            raise OSError("more bytes than were asked for")
        now = time.monotonic()
        if now - self._since > self._window_s:
            if self._got < RATE_BYTES_MIN * self._window_s:
                raise TimeoutError("slower than the least rate")
            self._since, self._got = now, 0
        return count


class _PacedTLS(_Paced, ssl.SSLSocket):
    """The same inside TLS; made by the context's ``wrap_socket``."""


class Line:
    """One connection that is kept alive; used by one thread at a time, cut by any."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, options: HttpOptions, dial: Dial = NAMED) -> None:
        self._host, self._port, self._tls, self._options, self._dial = host, port, tls, options, dial
        if tls is not None:
            tls.sslsocket_class = _PacedTLS
        self._http: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None  # whatever http.client does with it, so that it can be cut
        self._cut = threading.Event()
        self.used = False

    def open(self) -> http.client.HTTPConnection:
        """Gives the connection, made if there is none, and begins to measure its pace. Raises OSError."""
        if self._http is None or self._http.sock is None:  # none: the peer said that it would close after its answer
            self.close()
            sock = self._connected()
            self._http = http.client.HTTPConnection(self._host, self._port)
            self._http.auto_open = 0  # it would connect without TLS and without a time-out
            self._http.sock = sock
            self.used = False
        if isinstance(self._http.sock, _Paced):
            self._http.sock.pace(self._options.idle_timeout, ROOM + BATCH_BYTES_MAX + _HEADERS_BYTES)
        return self._http

    def _connected(self) -> _Paced:
        failure: OSError | PeerDenied = ConnectionRefusedError("its name has no address")
        for family, kind, proto, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            try:
                self._dial.check(str(address[0]), f"{self._host}:{self._port}")
            except PeerDenied as problem:
                failure = problem
                continue
            paced = _Paced(family, kind, proto)
            try:
                self._hold(paced)
                paced.settimeout(self._options.connect_timeout)
                paced.connect(address)
                paced.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is None:
                    paced.settimeout(self._options.idle_timeout)
                    return paced
                wrapped = self._tls.wrap_socket(paced, server_hostname=self._host, do_handshake_on_connect=False)
            except OSError as problem:
                paced.close()
                failure = problem
                continue
            try:
                self._hold(wrapped)
                wrapped.do_handshake()
                wrapped.settimeout(self._options.idle_timeout)
            except BaseException:
                wrapped.close()
                raise
            return cast("_PacedTLS", wrapped)
        raise failure

    def _hold(self, made: socket.socket) -> None:
        self._socket = made
        if self._cut.is_set():
            raise ConnectionAbortedError("cut")

    def cut(self) -> None:
        """Wakes a thread that is blocked in this connection; it will see an OSError, or the end of the stream."""
        self._cut.set()
        held = self._socket
        if held is not None:
            try:
                socket.socket.shutdown(held, socket.SHUT_RDWR)  # SSLSocket's own would let ciphertext pass for plain text
            except OSError:  # already gone, or not yet connected: `_hold` sees it
                return

    def close(self) -> None:
        """Closes the connection."""
        if self._http is not None:
            self._http.close()
        self._http = None
        if self._socket is not None:
            self._socket.close()
        self._socket = None


_REUSED_AND_GONE: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class Asking(NamedTuple):
    """How a channel asks: its headers, what it says that it decodes, and who then does so."""

    headers: dict[str, str]
    names: tuple[str, ...]
    codings: Codings

    @classmethod
    def of(cls, headers: dict[str, str], codings: Codings) -> Asking:
        """Offers all that ``codings`` decodes. Raises what `Codings.names` does."""
        text = offer(codings.names)
        return cls({**headers, "Content-Type": WANTS_TYPE, **({CODINGS_HEADER: text} if text else {})}, offered(text), codings)


def exchange(line: Line, wants: Sequence[Want], asking: Asking, buffer: Buffer, peer: str) -> Arrival:
    """Asks for ``wants`` and receives the answer into ``buffer``; blocks its thread. Raises PeerError."""
    body = encode_wants(wants)
    try:
        try:
            response = _ask(line, body, asking.headers, len(buffer.view))
        except _REUSED_AND_GONE:
            if not line.used:
                raise
            line.close()  # the server closed it while it was idle, which is its right
            response = _ask(line, body, asking.headers, len(buffer.view))
        with response:
            arrival = _receive(response, wants, asking, buffer, peer)
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
    connection.request("POST", f"{BLOCKS_PATH}?max={capacity}", body, headers)
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


def _receive(response: http.client.HTTPResponse, wants: Sequence[Want], asking: Asking, buffer: Buffer, peer: str) -> Arrival:
    kind = response.headers.get("Content-Type")
    coded = kind == CODED_TYPE and bool(asking.names)
    check_status(response.status, kind, peer, CODED_TYPE if coded else BLOCKS_TYPE)
    length, view = response.length, buffer.view
    if length is None or not HEADER_BYTES <= length <= len(view):
        raise PeerProtocolError(f"{peer} promises {length} bytes, at most {len(view)} were asked for", peer=peer)
    if coded:
        answer = CodedReader(response, wants, asking.names, asking.codings, peer).receive(length, view)
        return Arrival(buffer, answer.blocks, answer.missing)
    answer = Answer(wants, peer)
    fill(response, view[:HEADER_BYTES], peer)
    first = answer.header(view[:HEADER_BYTES])
    behind = HEADER_BYTES + SIZE_BYTES * first.wants
    if first.kind == RUN and HEADER_BYTES + first.length == length and behind <= ROOM and ROOM + length - behind <= len(view):
        fill(response, view[HEADER_BYTES:behind], peer)  # one run: its bytes are received where they lie aligned
        fill(response, view[ROOM : ROOM + length - behind], peer)
        end = answer.run(first, view[HEADER_BYTES:behind], ROOM)
        if end != ROOM + length - behind:
            raise PeerProtocolError(f"{peer} sent a run whose sizes do not add up", peer=peer)
    else:
        fill(response, view[HEADER_BYTES:length], peer)
        answer = Answer(wants, peer)
        parse(answer, view[:length], peer)
    return Arrival(buffer, answer.blocks, answer.missing)


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
