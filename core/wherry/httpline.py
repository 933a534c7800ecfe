"""One kept-alive HTTP/1.1 connection for a thread that receives straight into lent buffers (specs/decisions/0004).

http.client speaks HTTP and TLS; it reads into memory that it is given, without a copy. An event loop cannot do that: every
asyncio client tried was two to three times slower. Several transports receive in this way, and plugins do not import one
another, so what guards such a connection lies here: its pace, its end from another thread, and the address policy at each
connect.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from wherry.dial import NAMED
from wherry.errors import PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, in_words
from wherry.limits import RATE_BYTES_MIN, STARVED_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from wherry.dial import Dial

DRAIN_BYTES_MAX: Final = 64 * 1024  # the rest of an answer that is worth to be read for the connection to be kept
HEADERS_BYTES: Final = 256 * 1024  # of an answer besides its body; also what keeps "100 Continue" from going on for ever
BUSY_S_MAX: Final = 60.0  # what is believed of a Retry-After
# What a request on a connection that had served before fails with when the server closed it meanwhile, which is its right.
REUSED_AND_GONE: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class Times(Protocol):
    """How long a connection may take, in seconds; the options of a transport are one."""

    @property
    def connect_timeout(self) -> float:
        """To be made, TLS included."""

    @property
    def idle_timeout(self) -> float:
        """To be silent, or slower than the least rate."""


class Paced(socket.socket):
    """A socket that gives up a peer which sends less than the least rate, or more than it was asked for."""

    taken = 0  # bytes that `recv_into` gave, in all

    def pace(self, window_s: float, bytes_max: int, awaited: Callable[[], bool] | None = None) -> None:
        """Begins to measure, for one answer: the time between two requests is nobody's fault.

        ``awaited`` tells whether others wait for the buffer that is being filled: a peer that has begun to answer has
        STARVED_S then, not ``window_s`` (`wherry.abc.transport.Lender.awaited`).
        """
        self._window_s, self._left, self._awaited = window_s, bytes_max, awaited
        self._since = self._starved_since = time.monotonic()
        self._got = self._starved_got = 0
        self._begun = False
        self.settimeout(window_s)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # as socket.socket has it
        """Receives; raises TimeoutError at the end of a window with too few bytes, OSError for too many in all."""
        count = self._receive(args, kwargs)
        self._got += count
        self._starved_got += count
        self._left -= count
        if self._left < 0:
            raise OSError("more bytes than were asked for")
        now = time.monotonic()
        if now - self._since > self._window_s:
            if self._got < RATE_BYTES_MIN * self._window_s:
                raise TimeoutError("slower than the least rate")
            self._since, self._got = now, 0
        if self._awaited is not None and now - self._starved_since > STARVED_S:
            if self._starved_got < RATE_BYTES_MIN * STARVED_S and self._begun and self._awaited():
                raise TimeoutError("slower than the least rate, and others wait for its buffer")
            self._starved_since, self._starved_got = now, 0
        if not self._begun and self._awaited is not None:
            self._begun = True
            self.settimeout(min(STARVED_S, self._window_s))
        self.taken += count
        return count

    def _receive(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Receives; silence is borne for a window, in the midst of an answer for STARVED_S while others wait."""
        began = time.monotonic()
        while True:
            try:
                return super().recv_into(*args, **kwargs)
            except TimeoutError:
                if not self._begun or time.monotonic() - began >= self._window_s:
                    raise
                if self._awaited is not None and self._awaited():
                    raise


class _PacedTLS(Paced, ssl.SSLSocket):
    """The same inside TLS; made by the context's ``wrap_socket``."""


class Line:
    """One connection that is kept alive; used by one thread at a time, cut by any."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, times: Times, dial: Dial = NAMED) -> None:
        """``dial`` is asked for each resolved address at each connect."""
        self._host, self._port, self._tls, self._times, self._dial = host, port, tls, times, dial
        if tls is not None:
            tls.sslsocket_class = _PacedTLS
        self._http: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None  # whatever http.client does with it, so that it can be cut
        self._cut = threading.Event()
        self.used = False  # it has served an answer, and may be closed by the server at any time
        self.awaited: Callable[[], bool] | None = None  # whether others wait for the buffer that it fills; of the next answers
        self.ip = ""  # that it is connected to
        self.filled = 0  # bytes of the last view that `fill` was given with this line, which lie there for sure

    def open(self, bytes_max: int) -> http.client.HTTPConnection:
        """Gives the connection, made if there is none, for one request with an answer of at most ``bytes_max``, headers apart.

        Begins to measure its pace. Raises OSError, and PeerDenied if the address policy leaves no address.
        """
        if self._http is None or self._http.sock is None:  # none: the peer said that it would close after its answer
            self.close()
            sock = self._connected()
            self._http = http.client.HTTPConnection(self._host, self._port)
            self._http.auto_open = 0  # it would connect without TLS and without a time-out
            self._http.sock = sock
            self.used = False
        if isinstance(self._http.sock, Paced):
            self._http.sock.pace(self._times.idle_timeout, bytes_max + HEADERS_BYTES, self.awaited)
        return self._http

    def _connected(self) -> Paced:
        failure: OSError | PeerDenied = ConnectionRefusedError("its name has no address")
        for family, kind, proto, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            try:
                self._dial.check(str(address[0]), f"{self._host}:{self._port}")
            except PeerDenied as problem:
                failure = problem
                continue
            paced = Paced(family, kind, proto)
            try:
                self._hold(paced)
                paced.settimeout(self._times.connect_timeout)
                paced.connect(address)
                paced.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.ip = str(address[0])
                if self._tls is None:
                    paced.settimeout(self._times.idle_timeout)
                    return paced
                wrapped = self._tls.wrap_socket(paced, server_hostname=self._host, do_handshake_on_connect=False)
            except OSError as problem:
                paced.close()
                failure = problem
                continue
            try:
                self._hold(wrapped)
                wrapped.do_handshake()
                wrapped.settimeout(self._times.idle_timeout)
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

    @property
    def taken(self) -> int:
        """Bytes that its connection has given, in all."""
        return self._socket.taken if isinstance(self._socket, Paced) else 0

    @property
    def is_cut(self) -> bool:
        """Whether it was cut: then it is of no more use."""
        return self._cut.is_set()

    def close(self) -> None:
        """Closes the connection."""
        if self._http is not None:
            self._http.close()
        self._http = None
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def client_tls(authorities: Path | None) -> ssl.SSLContext:
    """Makes what a client speaks TLS with: 1.2 at least, checked against ``authorities`` (PEM), or the system's for None.

    Raises OSError for a file that cannot be read or is none of certificates.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fill(response: http.client.HTTPResponse, view: memoryview, peer: str, line: Line | None = None) -> None:
    """Receives exactly ``view``. Raises PeerProtocolError if the answer ends before, OSError.

    ``line`` is the one over which it comes: its `Line.filled` tells how much of ``view`` lies there, also when this fails.
    """
    done, before = 0, line.taken if line is not None else 0
    try:
        while done < len(view):
            got = response.readinto(view[done:] if done else view)
            if not got:
                raise PeerProtocolError(f"{peer} cut its answer short", peer=peer)
            done += got
    except OSError:  # midway in a `readinto`, which then tells no count: what it took by then lies in the view
        done = max(done, min(line.taken - before, len(view))) if line is not None else done
        raise
    finally:
        if line is not None:
            line.filled = done


def ended(response: http.client.HTTPResponse) -> bool:
    """Reads what little is left of an answer; tells whether the connection may be used again. Raises OSError, HTTPException."""
    if response.isclosed():  # http.client notes the end of an answer itself
        return not response.will_close
    if response.chunked:
        return not response.read(1) and not response.will_close
    if response.length is None or response.length > DRAIN_BYTES_MAX:
        return False
    response.read()
    return not response.will_close


def busy_for(retry_after: str | None, now: datetime) -> float:
    """Reads a Retry-After (RFC 9110 §10.2.3): seconds, or a date; 0.0 for none. At most BUSY_S_MAX are believed."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return min(float(text), BUSY_S_MAX)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), BUSY_S_MAX)


def check_plain(response: http.client.HTTPResponse, peer: str) -> None:
    """Refuses what is coded: a small answer could become a huge one, and its ranges are not those of the file."""
    for name, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        for value in response.headers.get_all(name, ()):
            if value.strip().lower() != plain:
                raise PeerProtocolError(
                    f"{peer} sends what is coded ({name}: {value[:40]!a}), though plain bytes were asked for", peer=peer
                )


def asked(line: Line, ask: Callable[[], http.client.HTTPResponse]) -> http.client.HTTPResponse:
    """Gives the answer of ``ask``, which is called once more if the server had closed a connection that was idle.

    Only for requests that change nothing. Raises OSError, HTTPException, PeerError.
    """
    try:
        return ask()
    except REUSED_AND_GONE:
        if not line.used:
            raise
        line.close()
        return ask()


@contextmanager
def blaming(line: Line, peer: str) -> Iterator[None]:
    """Closes ``line`` when what is done with it fails, and raises a PeerError that names ``peer`` for what libraries raise."""
    try:
        yield
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
    except ssl.SSLCertVerificationError as problem:
        line.close()
        why = f"{peer} shows a certificate that is not trusted: {problem.verify_message}"
        raise PeerUnreachable(why, peer=peer, hint="give the certificate to trust: tls_ca of its transport") from problem
    except socket.gaierror as problem:
        line.close()
        raise PeerUnreachable(f"cannot find {peer}: {problem.strerror}", peer=peer, hint="check the address") from problem
    except (OSError, http.client.HTTPException) as problem:
        line.close()
        raise PeerProtocolError(f"{peer} cut the connection or broke HTTP: {in_words(problem)}", peer=peer) from problem
