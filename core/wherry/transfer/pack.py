"""Packs the leaves of a walk into jobs: at most a buffer of bytes, at most a batch of wants, small files never torn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.flow import FREE
from wherry.limits import BATCH_BYTES_MAX, BATCH_WANTS_MAX, BUFFER_BYTES

if TYPE_CHECKING:
    from wherry.flow import Flow
    from wherry.transfer.sink import Piece, Sealer


class Packer:
    """Gathers pieces in order and gives full batches. A long file begins a batch, so its runs lie aligned; small ones
    may follow its end.
    """

    __slots__ = ("_bytes", "_flow", "_full", "_pieces", "_sealing")

    def __init__(self, sealing: Sealer | None = None, flow: Flow = FREE) -> None:
        """``sealing`` tells how long pieces are on their way, ``flow`` how much may come at once."""
        self._flow = flow
        self._sealing = sealing
        self._full = BUFFER_BYTES if sealing is None else BATCH_BYTES_MAX
        self._pieces: list[Piece] = []
        self._bytes = 0

    @property
    def _most(self) -> int:
        """Where the link is limited, a batch is no burst, as far as leaves can be so small."""
        return min(self._full, self._flow.down_piece) if self._flow.limited else self._full

    def _wire(self, piece: Piece) -> int:
        if self._sealing is None or not piece.key:
            return piece.size
        return self._sealing.wire_size(piece.size, piece.key) or piece.size

    def small(self, pieces: list[Piece]) -> list[Piece]:
        """Takes all pieces of a small file; gives the batch that they did not fit into, or nothing."""
        size = sum(map(self._wire, pieces))
        full: list[Piece] = []
        if self._bytes + size > self._most or len(self._pieces) + len(pieces) > BATCH_WANTS_MAX:
            full = self.flush()
        self._pieces += pieces
        self._bytes += size
        return full

    def long(self, piece: Piece) -> list[Piece]:
        """Takes the next piece of a long file; gives a batch that is full, or nothing."""
        full: list[Piece] = []
        if self._pieces and not self._goes_on(piece):
            full = self.flush()
        self._pieces.append(piece)
        self._bytes += self._wire(piece)
        return full

    def _goes_on(self, piece: Piece) -> bool:
        last = self._pieces[-1]
        adjacent = last.slot is piece.slot and last.offset + last.size == piece.offset
        # Batches begin at multiples of a buffer in the file, also behind a gap that an earlier run left.
        aligned = piece.offset // BUFFER_BYTES == self._pieces[0].offset // BUFFER_BYTES
        room = self._bytes + self._wire(piece) <= self._most and len(self._pieces) < BATCH_WANTS_MAX
        return adjacent and room and (aligned or BUFFER_BYTES % piece.size != 0)

    def flush(self) -> list[Piece]:
        """Gives what is gathered."""
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        return pieces
