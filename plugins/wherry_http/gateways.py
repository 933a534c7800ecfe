"""Asks a gateway, and follows where it redirects (specs/0033 §11). For threads.

Some gateways answer every CID from an origin of its own, or from https alone, and send a client there. That is followed as
0020 §5 has it: a few times, never from https to http, never nearer to this machine than where it came from, and without the
token, which is for the server that the user named.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerBusy, PeerDenied, PeerProtocolError
from wherry.httpline import asked, blaming, busy_for, check_plain, ended
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
_REMEMBERED_MAX: Final = 1024


class Gateways:
    """What a process remembers of the gateways that it asked, by address: whether they give CARs, and rest. Any thread."""

    def __init__(self) -> None:
        self._cars: dict[str, bool] = {}
        self._asking: set[str] = set()
        self._rests: dict[str, float] = {}  # until when, of time.monotonic
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

    def busy(self, peer: str, retry_after: str | None) -> None:
        """Notes that ``peer`` has too much to do, and for how long it asks to be left alone."""
        now = time.monotonic()
        until = now + (busy_for(retry_after, datetime.now(UTC)) or _REST_S)
        with self._lock:
            if len(self._rests) >= _REMEMBERED_MAX:
                self._rests = {one: end for one, end in self._rests.items() if end > now}
            if len(self._rests) < _REMEMBERED_MAX:
                self._rests[peer] = until

    def check_rest(self, peer: str) -> None:
        """Raises PeerBusy while ``peer`` is to be left alone."""
        with self._lock:
            left = self._rests.get(peer, 0.0) - time.monotonic()
        if left > 0:
            raise PeerBusy(f"{peer} asks to be left alone for {left:.0f} s", peer=peer)


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

    def __init__(self, base: Url, lines: Lines, options: HttpOptions, dial: Dial, memory: Gateways | None = None) -> None:
        self.peer = base.origin
        self.memory = memory or Gateways()
        self._named = base.origin
        self._base, self._lines, self._options, self._dial = base, lines, options, dial

    def prove(self, hold: Hold) -> None:
        """Checks that a Trustless Gateway is there: it answers for the empty identity CID. Raises PeerError.

        A PeerProtocolError begins with the peer. Where all of it moved to another origin, such as from http to https, that is
        asked from now on.
        """
        with self.answer(PROBE, RAW_TYPE, 0, hold) as (response, url, dial):
            self._check_status(response)
            if response.status not in (200, 204):
                raise PeerProtocolError(f"{self.peer} answered with status {response.status} to {PROBE}", peer=self.peer)
            if response.status == 200 and kind_of(response) != RAW_TYPE:
                raise PeerProtocolError(f"{self.peer} answered with {kind_of(response)!a} to {PROBE}", peer=self.peer)
            if url.target == self._base.target.rstrip("/") + PROBE:
                self._base, self._dial = url._replace(target=self._base.target), dial

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
        self._check_status(response)
        check_plain(response, self.peer)

    def _check_status(self, response: http.client.HTTPResponse) -> None:
        status, peer = response.status, self.peer
        if status in (429, 503):
            self.memory.busy(peer, response.headers.get("Retry-After"))
            raise PeerBusy(f"{peer} has too much to do (status {status})", peer=peer)
        if status in (401, 403):
            raise PeerDenied(
                f"{peer} refuses us (status {status})", peer=peer, hint="give its token: WHERRY_TOKEN or --token-file"
            )


def kind_of(response: http.client.HTTPResponse) -> str:
    """Gives the media type of an answer, without its parameters."""
    return (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
