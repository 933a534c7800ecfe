"""Asks a gateway, and follows where it redirects (specs/0033 §11). For threads.

Some gateways answer every CID from an origin of its own, or from https alone, and send a client there. That is followed as
0020 §5 has it: a few times, never from https to http, never nearer to this machine than where it came from, and without the
token, which is for the server that the user named.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerBusy, PeerDenied
from wherry.httpline import asked, blaming, check_plain, ended
from wherry.version import __version__
from wherry.weburl import REDIRECTS, REDIRECTS_MAX, Url, too_many

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Iterator

    from wherry.dial import Dial
    from wherry.httpline import Line
    from wherry.httplines import Lines
    from wherry_http.options import HttpOptions

    Hold = Callable[[Line, bool], None]
    Found = tuple[http.client.HTTPResponse, Url, Dial]

RAW_TYPE: Final = "application/vnd.ipld.raw"
CAR_TYPE: Final = "application/vnd.ipld.car"
PROBE: Final = "/ipfs/bafkqaaa?format=raw"  # the empty identity CID, which every trustless gateway answers
ABSENT: Final = frozenset({404, 410, 412, 451})
_REST_S: Final = 5.0  # that a gateway is left alone which has too much to do and does not say how long
_REST_MAX_S: Final = 60.0
_REMEMBERED_MAX: Final = 1024


class Gateways:
    """What a process remembers of the gateways that it asked, by address: whether they give CARs. Any thread."""

    def __init__(self) -> None:
        self._cars: dict[str, bool] = {}
        self._asking: set[str] = set()
        self._lock = threading.Lock()

    def may_ask(self, peer: str) -> bool:
        """Tells whether ``peer`` may be asked for a CAR now: it gives them, or nobody tries that yet. Then say `told`."""
        with self._lock:
            known = self._cars.get(peer)
            if known is None and peer not in self._asking:
                self._asking.add(peer)
                return True
            return known is True

    def gives_none(self, peer: str) -> bool:
        """Tells whether ``peer`` is known to give none."""
        with self._lock:
            return self._cars.get(peer) is False

    def told(self, peer: str, gives: bool | None) -> None:
        """Notes what came of asking ``peer``; None: nothing is known by it."""
        with self._lock:
            self._asking.discard(peer)
            if gives is not None and (peer in self._cars or len(self._cars) < _REMEMBERED_MAX):
                self._cars[peer] = gives


class Held:
    """The connections that threads use now, so that they can be cut."""

    def __init__(self, awaited: Callable[[], bool] | None = None) -> None:
        """``awaited``: whether others wait for the buffer that they fill."""
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._awaited = awaited
        self.stopped = False

    def hold(self, line: Line, on: bool) -> None:
        """A thread uses a connection from now on, or no more."""
        line.awaited = self._awaited if on else None
        with self._lock:
            (self._lines.add if on else self._lines.discard)(line)
            stopped = self.stopped
        if on and stopped:
            line.cut()

    def cut(self) -> None:
        """Wakes the threads; they end soon."""
        with self._lock:
            self.stopped = True
            lines = list(self._lines)
        for line in lines:
            line.cut()


class Asker:
    """Asks one gateway. Thread-safe."""

    def __init__(self, base: Url, lines: Lines, options: HttpOptions, dial: Dial) -> None:
        self.peer = base.origin
        self._named = base.origin
        self._base, self._lines, self._options, self._dial = base, lines, options, dial
        self._lock = threading.Lock()
        self._rest_until = 0.0

    @property
    def resting(self) -> float:
        """For how many seconds it asked to be left alone."""
        return self._rest_until - time.monotonic()

    def is_gateway(self, hold: Hold) -> bool:
        """Tells whether a Trustless Gateway is there: it answers for the empty identity CID. Raises PeerError.

        Where all of it moved to another origin, such as from http to https, that is asked from now on.
        """
        with self.answer(PROBE, RAW_TYPE, 0, hold) as (response, url, dial):
            alive = response.status == 204 or (response.status == 200 and kind_of(response) == RAW_TYPE)
            if alive and url.target == self._base.target.rstrip("/") + PROBE:
                self._base, self._dial = url._replace(target=self._base.target), dial
            return alive

    @contextmanager
    def answer(self, path: str, accept: str, bytes_max: int, hold: Hold) -> Iterator[Found]:
        """Gives the answer for a path that begins with "/", behind all redirects, and from where it is.

        ``hold`` is told of each connection in use. What is left of the answer need not be read. Raises PeerError, also for
        what libraries raise inside of the context.
        """
        url, dial = self._base._replace(target=self._base.target.rstrip("/") + path), self._dial
        for _ in range(REDIRECTS_MAX + 1):
            line = self._lines.take(url, dial)
            keep = False
            hold(line, True)
            try:
                with blaming(line, self.peer), asked(line, partial(self._ask, line, url, accept, bytes_max)) as response:
                    line.used = True
                    if response.status not in REDIRECTS:
                        yield response, url, dial
                        keep = ended(response)
                        return
                    location = response.headers.get("Location")
                    keep = ended(response)
                onward = self._dial.onward(line.ip)
            finally:
                hold(line, False)
                if keep:
                    self._lines.give(line, url, dial)
                else:
                    line.close()
            url, dial = url.redirected(location, self.peer), onward
        raise too_many(self.peer)

    def _ask(self, line: Line, url: Url, accept: str, bytes_max: int) -> http.client.HTTPResponse:
        headers = {
            "Host": url.authority, "Accept": accept, "Accept-Encoding": "identity", "User-Agent": f"wherry/{__version__}",
        }  # fmt: skip
        if self._options.token and url.origin == self._named:
            headers["Authorization"] = f"Bearer {self._options.token}"
        connection = line.open(bytes_max)
        connection.request("GET", url.target, headers=headers)
        return connection.getresponse()

    def check(self, response: http.client.HTTPResponse) -> None:
        """Raises PeerBusy and PeerDenied for answers that mean so, PeerProtocolError for one that is coded."""
        status, peer = response.status, self.peer
        if status in (429, 503):
            self._rest_until = time.monotonic() + _rest(response.headers.get("Retry-After"))
            raise PeerBusy(f"{peer} has too much to do (status {status})", peer=peer)
        if status in (401, 403):
            raise PeerDenied(
                f"{peer} refuses us (status {status})", peer=peer, hint="give its token: WHERRY_TOKEN or --token-file"
            )
        check_plain(response, peer)


def kind_of(response: http.client.HTTPResponse) -> str:
    """Gives the media type of an answer, without its parameters."""
    return (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()


def _rest(header: str | None) -> float:
    """Reads a Retry-After in seconds; a date, or nonsense, counts as nothing said."""
    text = (header or "").strip()
    return min(float(text), _REST_MAX_S) if text.isascii() and text.isdigit() and len(text) < 6 else _REST_S
