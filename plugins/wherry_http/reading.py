"""The fetching side beside a gateway that is not wherry's: raw blocks, one request each (specs/0033 §11).

Any Trustless Gateway answers ``GET /ipfs/{cid}?format=raw`` (specs.ipfs.tech/http-gateways/trustless-gateway). A few threads
take the wants of a fetch one after the other, each on a connection that is kept, and receive straight into the lent buffer.
Nothing that comes is believed: core hashes it against the CID that was asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM
from wherry.cid import RAW
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError
from wherry.httpline import Line, asked, blaming, fill
from wherry.limits import LEAF_BYTES_MAX, PB_BYTES_MAX

if TYPE_CHECKING:
    import http.client
    import ssl
    from collections.abc import AsyncGenerator, Sequence

    from yarl import URL

    from wherry.abc.transport import Lender, Want
    from wherry.buffers import Buffer
    from wherry.dial import Dial
    from wherry_http.options import HttpOptions

RAW_TYPE: Final = "application/vnd.ipld.raw"
PROBE: Final = "/ipfs/bafkqaaa?format=raw"  # the empty identity CID, which every trustless gateway answers
_BATCHES: Final = 4  # under way at a time: each holds a buffer of the process's budget
_ABSENT: Final = frozenset({404, 410, 412, 451})
_REST_S: Final = 5.0  # that a gateway is left alone which has too much to do and does not say how long
_REST_MAX_S: Final = 60.0


class GatewayChannel(Channel):
    """A way to one trustless gateway. Made by `wherry_http.channel.open_channel`, which has probed it."""

    def __init__(self, base: URL, tls: ssl.SSLContext | None, options: HttpOptions, *, dial: Dial) -> None:
        self._base, self._tls, self._options, self._dial = base, tls, options, dial
        self._peer = str(base)
        self._path = base.path.rstrip("/")
        self._host = base.host or "" if base.is_default_port() else f"{base.host}:{base.port}"
        self.parallel = min(options.connections, _BATCHES)  # type: ignore[misc]  # an instance's own number, as configured
        self._threads = ThreadPoolExecutor(options.connections, "wherry-gateway")
        self._lines: list[Line] = []
        self._lock = threading.Lock()
        self._rest_until = 0.0

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        left = self._rest_until - time.monotonic()
        if left > 0:
            raise PeerBusy(f"{self._peer} asks to be left alone for {left:.0f} s", peer=self._peer)
        buffer = await lender.lend()
        try:
            batch = _Batch(wants, buffer, self)
            await self._work(batch)
            if batch.failure is not None and not batch.blocks and not batch.missing:
                raise batch.failure
        except BaseException:
            buffer.release()
            raise
        yield Arrival(buffer, batch.blocks, batch.missing)
        if batch.failure is not None:
            raise batch.failure

    async def _work(self, batch: _Batch) -> None:
        """Has a few threads work on a batch. Cancelled, it cuts their connections and waits for them."""
        hands = max(1, min(self._options.connections, len(batch.wants)))
        started = [self._threads.submit(batch.work) for _ in range(hands)]
        waiting = [asyncio.wrap_future(one) for one in started]
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            batch.cut()
            for one in started:
                one.cancel()
            while any(not one.done() for one in waiting):
                with suppress(asyncio.CancelledError):  # cancelled again: the threads must have let go of the buffer
                    await asyncio.wait(waiting)
            raise
        for done in waiting:
            done.result()

    def take(self) -> Line:
        """Gives a connection to one thread."""
        with self._lock:
            if self._lines:
                return self._lines.pop()
        return Line(self._base.host or "", self._base.port or 80, self._tls, self._options, self._dial)

    def give(self, line: Line) -> None:
        """Takes it back."""
        with self._lock:
            self._lines.append(line)

    def block(self, line: Line, want: Want, room: _Room) -> Laid | None:
        """Receives a block into the room that ``room`` finds for it. None: the gateway does not have it. Raises PeerError."""
        with blaming(line, self._peer), asked(line, lambda: self._ask(line, want)) as response:
            line.used = True
            if response.status in _ABSENT:
                self._skip(line, response)
                return None
            self._check(response)
            laid = room.laid(response.length)
            if laid is None:
                raise _Full
            fill(response, room.view[laid.start : laid.stop], self._peer)
        return laid

    def _ask(self, line: Line, want: Want) -> http.client.HTTPResponse:
        connection = line.open(LEAF_BYTES_MAX)
        headers = {"Host": self._host, "Accept": RAW_TYPE, "Accept-Encoding": "identity"}
        if self._options.token:
            headers["Authorization"] = f"Bearer {self._options.token}"
        connection.request("GET", f"{self._path}/ipfs/{want.cid}?format=raw", headers=headers)
        return connection.getresponse()

    def _skip(self, line: Line, response: http.client.HTTPResponse) -> None:
        """Reads over the words of an error if they are few, so that the connection can be used again."""
        if response.length is None or response.length > ROOM:
            line.close()
        else:
            response.read(ROOM)

    def _check(self, response: http.client.HTTPResponse) -> None:
        status, peer = response.status, self._peer
        if status in (429, 503):
            self._rest_until = time.monotonic() + _rest(response.headers.get("Retry-After"))
            raise PeerBusy(f"{peer} has too much to do (status {status})", peer=peer)
        if status in (401, 403):
            raise PeerDenied(
                f"{peer} refuses us (status {status})", peer=peer, hint="give its token: WHERRY_TOKEN or --token-file"
            )
        kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if status != 200 or kind != RAW_TYPE:
            raise PeerProtocolError(f"{peer} answered with status {status} and {kind!a} to a raw block", peer=peer)
        if response.length is None:
            raise PeerProtocolError(f"{peer} does not say how long a block is", peer=peer)

    def close(self) -> None:
        """Ends the connections; fetches are over by then."""
        for line in self._lines:
            line.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Full(Exception):
    """There is no room for a block of unknown size: it is asked for again."""


class _Room:
    """Where the next block may lie in the buffer. For one want."""

    def __init__(self, batch: _Batch, number: int) -> None:
        self._batch, self._number = batch, number
        self.view = batch.buffer.view

    def laid(self, length: int | None) -> Laid | None:
        """Finds room for ``length`` bytes. Raises PeerProtocolError for more than was asked for."""
        want, batch = self._batch.wants[self._number], self._batch
        most = want.size if want.size is not None else (LEAF_BYTES_MAX if want.cid.codec == RAW else PB_BYTES_MAX)
        if length is None or length > most or (want.size is not None and length != want.size):
            raise PeerProtocolError(f"{batch.peer} promises {length} bytes for block {want.cid}, not {most}", peer=batch.peer)
        with batch.lock:
            start = batch.at
            if start + length > len(self.view):
                return None
            batch.at += length
        return Laid(self._number, start, start + length)


class _Batch:
    """The wants of one fetch, and what came of them. Worked on by several threads."""

    def __init__(self, wants: Sequence[Want], buffer: Buffer, channel: GatewayChannel) -> None:
        self.wants, self.buffer = wants, buffer
        self.peer = channel._peer
        self.lock = threading.Lock()
        self.at = ROOM
        self.blocks: list[Laid] = []
        self.missing: list[int] = []
        self.failure: PeerError | None = None
        self._channel = channel
        self._left = deque(range(len(wants)))
        self._lines: set[Line] = set()
        self._stopped = False

    def work(self) -> None:
        """Takes wants until there are none."""
        line = self._channel.take()
        with self.lock:
            self._lines.add(line)
        try:
            while (number := self._next()) is not None:
                try:
                    laid = self._channel.block(line, self.wants[number], _Room(self, number))
                except _Full:
                    line.close()
                    return
                with self.lock:
                    self.blocks.append(laid) if laid is not None else self.missing.append(number)
        except PeerError as problem:
            with self.lock:
                self.failure = self.failure or problem
        finally:
            with self.lock:
                self._lines.discard(line)
                stopped = self._stopped
            if stopped:
                line.close()
            else:
                self._channel.give(line)

    def _next(self) -> int | None:
        with self.lock:
            return self._left.popleft() if self._left and not self._stopped and self.failure is None else None

    def cut(self) -> None:
        """Wakes the threads; they end soon."""
        with self.lock:
            self._stopped = True
            lines = list(self._lines)
        for line in lines:
            line.cut()


def _rest(header: str | None) -> float:
    """Reads a Retry-After in seconds; a date, or nonsense, counts as nothing said."""
    text = (header or "").strip()
    return min(float(text), _REST_MAX_S) if text.isascii() and text.isdigit() and len(text) < 6 else _REST_S
