"""Asks for one run of bytes: headers, redirects, and what is remembered of a server (specs/0020 §4, §5). For threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import PeerBusy, PeerProtocolError
from wherry.httpline import DRAIN_BYTES_MAX, asked, blaming, busy_for, ended
from wherry.observe import Note
from wherry.version import __version__
from wherry.weburl import REDIRECTS, REDIRECTS_MAX, too_many
from wherry_web.answers import SKIP_BYTES_MAX, receive
from wherry_web.options import header_pair

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable

    from wherry.dial import Dial
    from wherry.httpline import Line
    from wherry.httplines import Lines
    from wherry.observe import Emit
    from wherry.runs import Run
    from wherry.weburl import Url
    from wherry_web.options import WebOptions

    Holds = Callable[[Line | None], None]

LANDED_S: Final = 60.0  # how long a redirect is believed: signed URLs of hubs hold for minutes to hours
REMEMBERED_MAX: Final = 1024  # files of which something is remembered


class Landed(NamedTuple):
    """Where the redirects of a file ended, and how that may be dialled."""

    url: Url
    dial: Dial
    until: float


class Client:
    """What one channel knows of its server. Thread-safe."""

    def __init__(self, base: Url, lines: Lines, options: WebOptions, dial: Dial, emit: Emit) -> None:
        self._base, self._lines, self._dial, self._emit = base, lines, dial, emit
        self._peer = base.shown
        agent = options.user_agent or f"wherry/{__version__}"
        self._plain = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": agent}
        self._own = {**self._plain, **dict(map(header_pair, options.headers))}
        # Secrets are for whom the user listed, and not for whom others led to: a ticket may say any address.
        if dial.reach == "named" and base.origin in {_usual(origin) for origin in options.origins}:
            if options.token is not None:
                self._own["Authorization"] = f"Bearer {options.token}"
            if options.secret_header is not None:
                name, value = header_pair(options.secret_header)
                self._own[name] = value
        self._lock = threading.Lock()
        self._landed: OrderedDict[str, Landed] = OrderedDict()
        self._marks: OrderedDict[str, tuple[str | None, str | None]] = OrderedDict()
        self._noted: set[str] = set()
        self.rest_until = 0.0  # of time.monotonic: what a Retry-After asked for

    def hello(self, line: Line) -> None:
        """Proves that a web server is there; any answer does. Raises PeerError."""
        with blaming(line, self._peer):
            response = asked(line, lambda: self._ask(line, self._base, "HEAD", {}, 0))
            with response:
                status, keep = response.status, ended(response)
            line.used = True
        if keep:
            self._lines.give(line, self._base, self._dial)
        else:
            line.close()
        if status in (429, 503):
            raise PeerBusy(f"{self._peer} has too much to do (status {status})", peer=self._peer)

    def fetch(self, run: Run, view: memoryview, hold: Holds) -> int:
        """Receives what the server has of a run into ``view``; gives how many bytes, from its beginning on.

        ``hold`` is told of the connection in use, so that others can cut it. Raises PeerError.
        """
        url = self._base.file(run.path)
        if url is None:
            return 0
        landed = self._known(run.path)
        if landed is not None:
            count = self._follow(run, view, landed.url, landed.dial, hold, again=True)
            if count is not None:
                return count
        count = self._follow(run, view, url, self._dial, hold, again=False)
        return count or 0

    def _follow(self, run: Run, view: memoryview, url: Url, dial: Dial, hold: Holds, *, again: bool) -> int | None:
        """Asks at ``url`` and where that redirects. None, only if ``again``: what was remembered does not hold any more."""
        start = url
        for _ in range(REDIRECTS_MAX + 1):
            line = self._lines.take(url, dial)
            hold(line)
            try:
                with blaming(line, self._peer):
                    location, count, keep = self._once(line, run, view, url, again=again)
            finally:
                hold(None)
            if keep:
                self._lines.give(line, url, dial)
            else:
                line.close()
            if location is None:
                if count is not None and url is not start:
                    self._remember(run.path, Landed(url, dial, time.monotonic() + LANDED_S))
                return count
            dial = self._dial.onward(line.ip)
            url = url.redirected(location, self._peer)
        raise too_many(self._peer, f"{run.path!a}")

    def _once(self, line: Line, run: Run, view: memoryview, url: Url, *, again: bool) -> tuple[str | None, int | None, bool]:
        """One request. Gives where it redirects, or how many bytes came, and whether the connection may be used again."""
        headers = {"Range": f"bytes={run.offset}-{run.stop - 1}"}
        bytes_max = run.size + min(run.offset, SKIP_BYTES_MAX) + DRAIN_BYTES_MAX
        with asked(line, lambda: self._ask(line, url, "GET", headers, bytes_max)) as response:
            line.used = True
            if response.status in REDIRECTS:
                location = response.headers.get("Location")
                if location is None:
                    raise PeerProtocolError(f"{self._peer} redirects to nowhere (status {response.status})", peer=self._peer)
                return location, None, ended(response)
            if again and response.status not in (200, 206):
                self._forget(run.path)  # a signed URL that has expired, as a rule
                return None, None, ended(response)
            self._mark(run.path, response)
            count = receive(response, run, view, self._peer, line)
            if count is None:
                self._note(
                    "ranges", f"{self._peer} serves no ranges: of its files, only the first {SKIP_BYTES_MAX >> 20} MiB are used"
                )
                return None, 0, False
            return None, count, ended(response)

    def _ask(self, line: Line, url: Url, method: str, headers: dict[str, str], bytes_max: int) -> http.client.HTTPResponse:
        own = self._own if url.origin == self._base.origin else self._plain  # no other origin sees what is the base's
        connection = line.open(bytes_max)
        connection.request(method, url.target, headers={"Host": url.authority, **own, **headers})
        response = connection.getresponse()
        if response.status in (429, 503):
            rest = busy_for(response.headers.get("Retry-After"), datetime.now(UTC))
            self.rest_until = max(self.rest_until, time.monotonic() + rest)
        return response

    # What is remembered

    def _known(self, path: str) -> Landed | None:
        with self._lock:
            landed = self._landed.get(path)
            return landed if landed is not None and time.monotonic() < landed.until else None

    def _remember(self, path: str, landed: Landed) -> None:
        with self._lock:
            self._landed[path] = landed
            self._landed.move_to_end(path)
            if len(self._landed) > REMEMBERED_MAX:
                self._landed.popitem(last=False)

    def _forget(self, path: str) -> None:
        with self._lock:
            self._landed.pop(path, None)

    def _mark(self, path: str, response: http.client.HTTPResponse) -> None:
        """Notes when a file changes between two requests: then blocks that do not verify are nobody's malice."""
        if response.status not in (200, 206):
            return
        mark = response.headers.get("ETag"), response.headers.get("Last-Modified")
        with self._lock:
            before = self._marks.get(path, mark)
            self._marks[path] = mark
            self._marks.move_to_end(path)
            if len(self._marks) > REMEMBERED_MAX:
                self._marks.popitem(last=False)
        if any(one and other and one != other for one, other in zip(before, mark, strict=True)):
            self._note("changed", f"{self._peer}: {path!a} changed while it was fetched: what does not fit is refused")

    def _note(self, what: str, text: str) -> None:
        with self._lock:
            if what in self._noted:
                return
            self._noted.add(what)
        self._emit(Note("warning", text))


def _usual(origin: str) -> str:
    """Writes an origin of the options as `Url.origin` does."""
    from wherry_web.places import parse_address

    return parse_address(origin).origin
