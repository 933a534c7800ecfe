"""Receives an answer that has coded blocks: decoded on the way into the lent buffer, one at a time (specs/0008 §3.1, §6).

The peer's bytes are hostile until core has hashed them. Every size is checked before a byte is taken for it, a block is
decoded within the size that was asked for, and the memory beside the lent buffer is one coded block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.buffers import ROOM
from wherry.errors import DecodeError, PeerProtocolError
from wherry.httpline import fill
from wherry_http.frames import CODED, HEADER_BYTES, PAIR_BYTES, RUN, SIZE_BYTES, Answer

if TYPE_CHECKING:
    import http.client
    from collections.abc import Sequence

    from wherry.abc.transport import Want
    from wherry.coding import Codings
    from wherry_http.frames import Header

_SKIP_BYTES: Final = 64 * 1024


class CodedReader:
    """Takes one answer apart as it comes. Used by one thread."""

    def __init__(
        self, response: http.client.HTTPResponse, wants: Sequence[Want], names: Sequence[str], codings: Codings, peer: str
    ) -> None:
        """``names`` are the codings that were offered, in their order."""
        self._response = response
        self._names = names
        self._codings = codings
        self._peer = peer
        self.answer = Answer(wants, peer)
        self._scratch = bytearray(_SKIP_BYTES)

    def receive(self, length: int, view: memoryview) -> Answer:
        """Receives ``length`` bytes; lays the blocks into ``view`` from ROOM on, in their order. Raises PeerProtocolError."""
        at = ROOM
        while length:
            if length < HEADER_BYTES:
                raise self._wrong("a cut-off frame")
            header = self.answer.header(self._take(HEADER_BYTES), len(self._names))
            length -= HEADER_BYTES + header.length
            if length < 0:
                raise self._wrong("a frame that is longer than its answer")
            if header.kind == CODED:
                at = self._coded(header, view, at)
            elif header.kind == RUN:
                at = self._run(header, view, at)
            else:
                self._skip(header.length)
        return self.answer

    def _take(self, count: int) -> memoryview:
        """Receives bytes into memory that the next call uses again."""
        if len(self._scratch) < count:
            self._scratch = bytearray(count)
        piece = memoryview(self._scratch)[:count]
        fill(self._response, piece, self._peer)
        return piece

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._take(min(count, _SKIP_BYTES)))

    def _run(self, header: Header, view: memoryview, at: int) -> int:
        end = self.answer.run(header, self._take(SIZE_BYTES * header.wants), at)
        if end - at != header.length - SIZE_BYTES * header.wants or end > len(view):
            raise self._wrong("a run whose sizes do not add up, or more than was asked for")
        fill(self._response, view[at:end], self._peer)
        return end

    def _coded(self, header: Header, view: memoryview, at: int) -> int:
        found = self.answer.coded(header, self._take(PAIR_BYTES * header.wants), at)
        name = self._names[header.coding - 1]
        if found[-1][0].stop > len(view):
            raise self._wrong("more than was asked for")
        for laid, size in found:
            try:
                self._codings.decode_into(name, self._take(size), view[laid.start : laid.stop])
            except DecodeError as problem:
                raise self._wrong(f"a block that does not decode: {problem.message}") from problem
            at = laid.stop
        return at

    def _wrong(self, what: str) -> PeerProtocolError:
        return PeerProtocolError(f"{self._peer} sent {what}", peer=self._peer)
