"""Receives an answer that has coded blocks: decoded on the way into the lent buffer, one at a time (specs/0008 §3.1, §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.httpline import fill
from wherry.wire.answer import AnswerReader

if TYPE_CHECKING:
    import http.client
    from collections.abc import Sequence

    from wherry.abc.transport import Laid, Want
    from wherry.coding import Codings
    from wherry.httpline import Line


class CodedReader:
    """Takes one answer apart as it comes. Used by one thread."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        wants: Sequence[Want],
        names: Sequence[str],
        codings: Codings,
        peer: str,
        *,
        line: Line | None = None,
    ) -> None:
        """``names`` are the codings that were offered, in their order; ``line`` is where it comes, for `whole`."""
        self._line = line
        self._response = response
        self._peer = peer
        self._reader = AnswerReader(wants, peer, names, codings.decode_into)

    def whole(self) -> list[Laid]:
        """Gives the blocks that have come and are decoded, of an answer that ended before its end."""
        return self._reader.whole(self._line.filled if self._line is not None else 0)

    def receive(self, length: int, view: memoryview) -> AnswerReader:
        """Receives ``length`` bytes; lays the blocks into ``view`` from ROOM on, in their order. Raises PeerProtocolError."""
        self._reader.view = view
        for piece in self._reader.pieces(length):
            if piece is not None:
                fill(self._response, piece, self._peer, self._line)
        return self._reader
