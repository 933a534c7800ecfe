"""Receives answers in threads, over blocking sockets, straight into lent buffers (specs/decisions/0004).

The connections are those of `wherry.httpline`; here is what is asked on them, and how its answer is taken apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Arrival
from wherry.buffers import ROOM
from wherry.errors import PeerBusy, PeerDenied, PeerProtocolError
from wherry.httpline import asked, blaming, fill
from wherry.limits import BATCH_BYTES_MAX
from wherry.wire.frames import HEADER_BYTES, RUN, SIZE_BYTES, Answer
from wherry_http.coded import CodedReader
from wherry_http.frames import BLOCKS_PATH, BLOCKS_TYPE, CODED_TYPE, CODINGS_HEADER, WANTS_TYPE, encode_wants, offer, offered

if TYPE_CHECKING:
    import http.client
    from collections.abc import Sequence

    from wherry.abc.transport import Want
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


def exchange(line: Line, wants: Sequence[Want], asking: Asking, buffer: Buffer, peer: str) -> Arrival:
    """Asks for ``wants`` and receives the answer into ``buffer``; blocks its thread. Raises PeerError."""
    body = encode_wants(wants)
    with blaming(line, peer):
        with asked(line, lambda: _ask(line, body, asking.headers, len(buffer.view))) as response:
            arrival = _receive(response, wants, asking, buffer, peer)
        line.used = True
    return arrival


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


def _receive(response: http.client.HTTPResponse, wants: Sequence[Want], asking: Asking, buffer: Buffer, peer: str) -> Arrival:
    kind = response.headers.get("Content-Type")
    coded = kind == CODED_TYPE and bool(asking.names)
    check_status(response.status, kind, peer, CODED_TYPE if coded else BLOCKS_TYPE)
    length, view = response.length, buffer.view
    if length is None or not HEADER_BYTES <= length <= len(view):
        raise PeerProtocolError(f"{peer} promises {length} bytes, at most {len(view)} were asked for", peer=peer)
    if coded:
        reader = CodedReader(response, wants, asking.names, asking.codings, peer).receive(length, view)
        return Arrival(buffer, reader.blocks, reader.missing)
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
