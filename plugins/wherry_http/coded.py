"""Receives an answer that has coded blocks: decoded on the way into the lent buffer, one at a time (specs/0008 §3.1, §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.httpline import fill
from wherry.wire.answer import AnswerReader

if TYPE_CHECKING:
    import http.client
    from collections.abc import Sequence

    from wherry.abc.transport import Want
    from wherry.coding import Codings


class CodedReader:
    """Takes one answer apart as it comes. Used by one thread."""

    def __init__(
        self, response: http.client.HTTPResponse, wants: Sequence[Want], names: Sequence[str], codings: Codings, peer: str
    ) -> None:
        """``names`` are the codings that were offered, in their order."""
        self._response = response
        self._peer = peer
        self._reader = AnswerReader(wants, peer, names, codings.decode_into)

    def receive(self, length: int, view: memoryview) -> AnswerReader:
        """Receives ``length`` bytes; lays the blocks into ``view`` from ROOM on, in their order. Raises PeerProtocolError."""
        self._reader.view = view
        for piece in self._reader.pieces(length):
            if piece is not None:
                fill(self._response, piece, self._peer)
        return self._reader
