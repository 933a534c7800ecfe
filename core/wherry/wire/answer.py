"""Takes an answer apart as it comes: says, piece by piece, into which memory the next bytes belong (specs/0004 §3.5, §7).

The bytes of blocks go straight into the lent buffer, never through here. The peer's bytes are hostile until core has hashed
them: every size is checked before a byte is taken for it, a coded block is decoded within the size that was asked for, and the
memory beside the lent buffer is one coded block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import DecodeError, PeerProtocolError
from wherry.limits import ROOM_BYTES
from wherry.wire.frames import CODED, HEADER_BYTES, PAIR_BYTES, RUN, SIZE_BYTES, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from wherry.abc.transport import Laid, Want
    from wherry.wire.frames import Header

    Decode = Callable[[str, memoryview, memoryview], None]
    Pieces = Generator["memoryview | None", None, None]

_SKIP_BYTES: Final = 64 * 1024


class AnswerReader:
    """One answer on its way in. Used by one thread at a time."""

    def __init__(self, wants: Sequence[Want], peer: str, names: Sequence[str] = (), decode: Decode | None = None) -> None:
        """``names`` are the codings that were offered, in their order; ``decode`` undoes one (`Codings.decode_into`)."""
        self._peer = peer
        self._names = names if decode is not None else ()
        self._decode = decode
        self._answer = Answer(wants, peer)
        self._scratch = bytearray(HEADER_BYTES)
        self._at = ROOM_BYTES
        self.view: memoryview | None = None  # of the lent buffer; to be set when `pieces` gives None
        self.bulk = False  # whether the bytes that come next are those of blocks
        self._plain = False  # whether they go where the blocks are to lie

    @property
    def blocks(self) -> list[Laid]:
        """Where blocks lie in the view: from ROOM on, those of one file back to back."""
        return self._answer.blocks

    @property
    def missing(self) -> list[int]:
        """Wants that the peer does not have."""
        return self._answer.missing

    def whole(self, filled: int) -> list[Laid]:
        """Gives the blocks that lie in the view already; ``filled`` bytes of the piece that `pieces` gave last have come."""
        end = self._at + (filled if self._plain else 0)
        return [laid for laid in self._answer.blocks if laid.stop <= end]

    def pieces(self, length: int) -> Pieces:
        """Gives the memory that the next bytes, ``length`` in all, are to be put into, piece by piece, each to be filled whole.

        None stands for a buffer that is to be lent, and set as `view`, before it goes on. The frames must end where the bytes
        do. Raises PeerProtocolError.
        """
        while length:
            if length < HEADER_BYTES:
                raise self._wrong("a cut-off frame")
            head = self._memory(HEADER_BYTES)
            yield head
            header = self._answer.header(head, len(self._names))
            length -= HEADER_BYTES + header.length
            if length < 0:
                raise self._wrong("a frame that is longer than its answer")
            if header.kind == RUN:
                yield from self._run(header)
            elif header.kind == CODED:
                yield from self._coded(header)
            else:
                yield from skipped(header.length)
        self._scratch = bytearray(HEADER_BYTES)  # what a coded block took is not kept

    def _memory(self, count: int) -> memoryview:
        """Gives memory that the next call uses again."""
        if len(self._scratch) < count:
            self._scratch = bytearray(count)
        return memoryview(self._scratch)[:count]

    def _run(self, header: Header) -> Pieces:
        sizes = self._memory(SIZE_BYTES * header.wants)
        yield sizes
        start = self._at
        end = self._answer.run(header, sizes, start)
        if end - start != header.length - len(sizes):
            raise self._wrong("a run whose sizes do not add up")
        yield from self._lent(end)
        if self.view is not None and end > start:
            self.bulk = self._plain = True
            yield self.view[start:end]
            self.bulk = self._plain = False
        self._at = end

    def _coded(self, header: Header) -> Pieces:
        pairs = self._memory(PAIR_BYTES * header.wants)
        yield pairs
        found = self._answer.coded(header, pairs, self._at)
        yield from self._lent(found[-1][0].stop)
        self.bulk = True  # decoding is work for a thread, too
        for laid, size in found:
            data = self._memory(size)
            yield data
            if self.view is not None and self._decode is not None:
                try:
                    self._decode(self._names[header.coding - 1], data, self.view[laid.start : laid.stop])
                except DecodeError as problem:
                    raise self._wrong(f"a block that does not decode: {problem.message}") from problem
            self._at = laid.stop
        self.bulk = False

    def _lent(self, end: int) -> Pieces:
        """Has a buffer lent if there is none. Raises PeerProtocolError if blocks would end behind it."""
        if self.view is None:
            yield None
        if self.view is None or end > len(self.view):
            raise self._wrong("more than was asked for")

    def _wrong(self, what: str) -> PeerProtocolError:
        return PeerProtocolError(f"{self._peer} sent {what}", peer=self._peer)


def skipped(count: int) -> Generator[memoryview, None, None]:
    """Gives memory for bytes that are of no use."""
    waste = memoryview(bytearray(min(count, _SKIP_BYTES)))
    while count:
        piece = waste[:count]
        count -= len(piece)
        yield piece
