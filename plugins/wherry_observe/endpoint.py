"""Answers ``GET /metrics``: a listener of a few dozen lines, because the usual ones let strangers hold a thread for ever.

It closes each connection after one answer. A request has a deadline as a whole, and there are few at a time. Web pages are
turned away, as by wherry's own server (specs/0008 §5): a page that the user visits may send requests to this machine,
also under a name of its own that points here.
"""

from __future__ import annotations

import errno
import http.client
import io
import ipaddress
import re
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import ConfigError, local_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_BYTES_MAX: Final = 8192
_DEADLINE_S: Final = 5.0  # for a request and its answer
_AT_A_TIME: Final = 4
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EINTR})
_LISTEN: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})", re.ASCII)


def parse_listen(text: str, *, allow_public: bool) -> tuple[str, int]:
    """Reads ``HOST:PORT``. Raises ConfigError, also for a host that other machines reach, unless that is allowed."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ConfigError(f"observer.prometheus.listen: {text!r} is not of the form HOST:PORT", hint='write "127.0.0.1:9290"')
    host = match["v6"] or match["host"]
    if not allow_public and not is_loopback(host):
        raise ConfigError(
            f"observer.prometheus.listen: other machines reach {host!r}, and whoever does may read the metrics",
            hint='listen on "127.0.0.1:9290", or write allow_public = true',
        )
    return host, int(match["port"])


def is_loopback(host: str) -> bool:
    """Tells whether only this machine itself can dial ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Endpoint:
    """A listener with a thread of its own."""

    def __init__(self, host: str, port: int, text: Callable[[], bytes]) -> None:
        """Begins to answer with what ``text`` gives. Raises LocalError if the address cannot be bound."""
        self._host = host
        self._text = text
        self._slots = threading.Semaphore(_AT_A_TIME)
        self._answering: dict[threading.Thread, socket.socket] = {}
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family, backlog=16)
        except OSError as problem:
            raise local_error(problem, "show the metrics on", f"{host}:{port}") from problem
        self._thread = threading.Thread(target=self._accept, name="wherry-metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._listener.getsockname()[1]}/metrics"

    def close(self) -> None:
        """Stops, and cuts answers under way short."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept()
        self._thread.join(_DEADLINE_S)
        self._listener.close()
        for thread, connection in list(self._answering.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_DEADLINE_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as problem:
                if problem.errno in _PASSING:
                    time.sleep(0.1)  # out of descriptors, perhaps: later
                    continue
                return
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            thread = threading.Thread(target=self._answer, args=(connection,), name="wherry-metrics-answer", daemon=True)
            self._answering[thread] = connection
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError, http.client.HTTPException):
                end = time.monotonic() + _DEADLINE_S
                line, headers = _read_request(connection, end)
                status, kind, body = self._reply(line, headers)
                head = (
                    f"HTTP/1.1 {status} {http.client.responses[status]}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
                )
                connection.settimeout(max(0.01, end - time.monotonic()))
                connection.sendall(head.encode() + (b"" if line.startswith("HEAD ") else body))
        finally:
            self._slots.release()
            self._answering.pop(threading.current_thread(), None)

    def _reply(self, line: str, headers: Message) -> tuple[int, str, bytes]:
        words = line.split(" ")
        plain = "text/plain; charset=utf-8"
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return 400, plain, b"this is no request\n"
        if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") != "none":
            return 403, plain, b"this is no place for web pages\n"
        if is_loopback(self._host) and not all(self._is_ours(host) for host in headers.get_all("Host", [])):
            return 403, plain, b"this name does not lead here\n"
        if words[1].partition("?")[0] != "/metrics":
            return 404, plain, b"see /metrics\n"
        if words[0] not in ("GET", "HEAD"):
            return 405, plain, b"only GET\n"
        return 200, CONTENT_TYPE, self._text()

    def _is_ours(self, host: str) -> bool:
        """Tells whether a Host header names this machine to itself, or is what the listener was told."""
        name = host.strip().lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        return name == self._host.lower() or is_loopback(name)


def _read_request(connection: socket.socket, end: float) -> tuple[str, Message]:
    """Reads the head of a request by ``end``; a body is not read. Raises OSError, HTTPException."""
    data = b""
    while b"\r\n\r\n" not in data:
        connection.settimeout(max(0.01, end - time.monotonic()))
        piece = connection.recv(_REQUEST_BYTES_MAX)
        data += piece
        if not piece or len(data) > _REQUEST_BYTES_MAX or time.monotonic() > end:
            raise http.client.HTTPException("no request, a long one, or a slow one")
    line, _, rest = data.partition(b"\r\n")
    return line.decode("latin-1"), http.client.parse_headers(io.BytesIO(rest))
