"""Receives answers in threads, over blocking sockets, straight into lent buffers (specs/decisions/0004).

The connections are those of `wherry.httpline`; here is what is asked on them, and how its answer is taken apart.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Arrival
from wherry.buffers import ROOM
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError
from wherry.httpline import asked, blaming, fill
from wherry.limits import BATCH_BYTES_MAX
from wherry.wire.frames import HEADER_BYTES, RUN, SIZE_BYTES, Answer
from wherry_http.coded import CodedReader
from wherry_http.frames import BLOCKS_PATH, BLOCKS_TYPE, CODED_TYPE, CODINGS_HEADER, WANTS_TYPE, encode_wants, offer, offered

if TYPE_CHECKING:
    import http.client
    from collections.abc import Sequence

    from wherry.abc.transport import Laid, Want
    from wherry.buffers import Buffer
    from wherry.coding import Codings
    from wherry.httpline import Line


_HINT: Final = "is it a wherry server? a plain web server is written as web+http://HOST/PATH/"


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


def exchange(line: Line, wants: Sequence[Want], asking: Asking, buffer: Buffer, peer: str) -> tuple[Arrival, PeerError | None]:
    """Asks for ``wants`` and receives the answer into ``buffer``; blocks its thread.

    Gives also the fault that ended the answer, where blocks had come by then. Raises PeerError where none had.
    """
    body = encode_wants(wants)
    incoming = _Incoming(line, wants, asking, buffer.view, peer)
    try:
        with blaming(line, peer):
            with asked(line, lambda: _ask(line, body, asking.headers, len(buffer.view))) as response:
                blocks, missing = incoming.receive(response)
            line.used = True
    except PeerError as problem:
        if not (came := incoming.whole()):
            raise
        return Arrival(buffer, came), problem
    return Arrival(buffer, blocks, missing), None


def _ask(line: Line, body: bytes, headers: dict[str, str], capacity: int) -> http.client.HTTPResponse:
    connection = line.open(ROOM + BATCH_BYTES_MAX)
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
        raise PeerProtocolError(f"{peer} answered with status {status}", peer=peer, hint=_HINT)
    if content_type != wanted_type:
        raise PeerProtocolError(f"{peer} answered with {content_type!a}", peer=peer, hint=_HINT)


class _Incoming:
    """An answer on its way into a lent buffer. For one thread."""

    def __init__(self, line: Line, wants: Sequence[Want], asking: Asking, view: memoryview, peer: str) -> None:
        self._line, self._wants, self._asking, self._view, self._peer = line, wants, asking, view, peer
        self._coded: CodedReader | None = None
        self._answer = Answer(wants, peer)
        self._start = 0  # of the bytes that are received last; 0: they are none of blocks

    def receive(self, response: http.client.HTTPResponse) -> tuple[Sequence[Laid], Sequence[int]]:
        """Gives the blocks that came, and the wants that are missing. Raises PeerError, OSError."""
        view, peer, names = self._view, self._peer, self._asking.names
        kind, length = response.headers.get("Content-Type"), response.length
        coded = kind == CODED_TYPE and bool(names)
        check_status(response.status, kind, peer, CODED_TYPE if coded else BLOCKS_TYPE)
        if length is None or not HEADER_BYTES <= length <= len(view):
            raise PeerProtocolError(f"{peer} promises {length} bytes, at most {len(view)} were asked for", peer=peer)
        if coded:
            self._coded = CodedReader(response, self._wants, names, self._asking.codings, peer, line=self._line)
            reader = self._coded.receive(length, view)
            return reader.blocks, reader.missing
        fill(response, view[:HEADER_BYTES], peer)
        first = self._answer.header(view[:HEADER_BYTES])
        behind = HEADER_BYTES + SIZE_BYTES * first.wants
        stop = ROOM + length - behind
        if first.kind == RUN and HEADER_BYTES + first.length == length and behind <= ROOM <= stop <= len(view):
            fill(response, view[HEADER_BYTES:behind], peer)  # one run: its bytes are received where they lie aligned
            if self._answer.run(first, view[HEADER_BYTES:behind], ROOM) != stop:
                raise PeerProtocolError(f"{peer} sent a run whose sizes do not add up", peer=peer)
            self._start = ROOM
            fill(response, view[ROOM:stop], peer, self._line)
        else:
            self._start = HEADER_BYTES
            fill(response, view[HEADER_BYTES:length], peer, self._line)
            self._answer = Answer(self._wants, peer)
            parse(self._answer, view[:length], peer)
        return self._answer.blocks, self._answer.missing

    def whole(self) -> list[Laid]:
        """Gives the blocks that lie in the buffer where the answer ended before its end."""
        if self._coded is not None:
            return self._coded.whole()
        if not self._start:
            return []
        end = self._start + self._line.filled
        if self._start == HEADER_BYTES:
            self._answer = Answer(self._wants, self._peer)
            with suppress(PeerProtocolError):  # the answer is cut off, and that is known
                parse(self._answer, self._view[:end], self._peer)
        return [laid for laid in self._answer.blocks if laid.stop <= end]


def parse(answer: Answer, view: memoryview, peer: str) -> None:
    """Notes the frames of a whole answer that lies in ``view``, where the blocks stay. Raises PeerProtocolError."""
    at = 0
    while at < len(view):
        if len(view) - at < HEADER_BYTES:
            raise PeerProtocolError(f"{peer} sent a cut-off frame", peer=peer)
        header = answer.header(view[at : at + HEADER_BYTES])
        at += HEADER_BYTES
        sizes = SIZE_BYTES * header.wants if header.kind == RUN else 0
        if sizes > len(view) - at:
            raise PeerProtocolError(f"{peer} sent a cut-off frame", peer=peer)
        # Noted also where it is cut off: its first blocks may have come.
        if header.kind == RUN and answer.run(header, view[at : at + sizes], at + sizes) != at + header.length:
            raise PeerProtocolError(f"{peer} sent a run whose sizes do not add up", peer=peer)
        if header.length > len(view) - at:
            raise PeerProtocolError(f"{peer} sent a frame that is longer than its answer", peer=peer)
        at += header.length
