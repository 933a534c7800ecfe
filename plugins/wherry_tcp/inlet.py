"""Receives what arrives on one connection, blocks straight into lent buffers (specs/decisions/0004, specs/0004 §7).

`wherry.wire.Connection.incoming` says where the next bytes belong; `Inlet.pump` puts them there, on the event loop while
they are few, on a worker's thread while they are those of blocks.
"""

from __future__ import annotations

import enum
import select
from typing import TYPE_CHECKING, Final

from wherry.wire.connection import Asked
from wherry.wire.messages import Have

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.wire.connection import Connection
    from wherry_tcp.stream import Stream

_WASTE_BYTES: Final = 64 * 1024
_EVENTS: Final = 32  # taken in one go on the loop, so that a peer that says much does not keep it from the others


class Took(enum.Enum):
    """Why `Inlet.pump` came back."""

    DRY = "dry"  # nothing more is there for now
    EVENTS = "events"  # messages stand in `Connection.received`
    BUFFER = "buffer"  # one is to be lent for the request that is being filled
    BULK = "bulk"  # what comes next is for a thread
    ENDED = "ended"  # the peer has closed


class Inlet:
    """The receiving side of a connection. Used by one thread at a time."""

    def __init__(self, stream: Stream, wire: Connection, settle: Callable[[Asked], None]) -> None:
        """``settle`` is called, in a thread, when all blocks of a request have come."""
        self._stream = stream
        self._wire = wire
        self._settle = settle
        self._pieces = wire.incoming()
        self._piece: memoryview | None = None
        self._at = 0
        self._skip = 0  # bytes of a piece that is not wanted any more
        self._waste = memoryview(bytearray(0))
        self.got = 0  # bytes

    @property
    def midway(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._at) or self._wire.filling is not None or self._skip > 0

    @property
    def filled(self) -> int:
        """Bytes of the piece that is being received which have come."""
        return self._at

    def divert(self) -> None:
        """Lets go of the buffer that is being filled, if its request is not wanted any more."""
        filling = self._wire.filling
        if filling is not None and filling.unwanted and filling.reader.bulk and self._piece is not None:
            self._skip = len(self._piece) - self._at
            self._piece, self._at = None, 0
            filling.reader.bulk = False

    def pump(self, patience_ms: int, *, threaded: bool) -> Took:
        """Receives what is there, waiting at most ``patience_ms`` for more.

        Raises OSError, and PeerProtocolError for what must not come.
        """
        while True:
            if self._skip:
                count = self._receive(self._wasted())
            else:
                if self._piece is None:
                    took = self._next(threaded=threaded)
                    if took is not None:
                        return took
                filling = self._wire.filling
                if filling is not None and filling.reader.bulk:
                    if filling.unwanted:
                        self.divert()
                        continue
                    if not threaded:
                        return Took.BULK
                count = self._receive(self._rest())
            if count is None:
                self._stream.expect(self._sure())
                if not self._patient(patience_ms):
                    return Took.DRY
            elif not count:
                return Took.ENDED
            else:
                self._took(count)

    def _took(self, count: int) -> None:
        self.got += count
        if self._skip:
            self._skip -= count
            return
        self._at += count
        if self._piece is not None and self._at == len(self._piece):
            self._piece, self._at = None, 0

    def _next(self, *, threaded: bool) -> Took | None:
        """Goes on to the next piece; gives why not."""
        received = self._wire.received
        if len(received) >= (1 if threaded else _EVENTS) or (received and isinstance(received[-1], Have)):
            return Took.EVENTS  # a long map takes a MiB while it waits to be heard
        before = len(received)
        piece = next(self._pieces)
        if piece is None:
            return Took.BUFFER
        self._piece, self._at = piece, 0
        if len(received) > before and threaded:
            done = received[-1]
            if isinstance(done, Asked):
                self._settle(done)
            return Took.EVENTS
        return None

    def _rest(self) -> memoryview:
        piece = self._piece
        if piece is None:
            raise RuntimeError("there is no piece to be filled")  # `pump` has just made sure that there is
        return piece[self._at :] if self._at else piece

    def _sure(self) -> int:
        """Gives how many bytes must come before anything can be done with them; at least 1."""
        if self._skip:
            return self._skip
        filling = self._wire.filling
        return len(self._rest()) if filling is not None and filling.reader.bulk else 1

    def _wasted(self) -> memoryview:
        if not self._waste:
            self._waste = memoryview(bytearray(_WASTE_BYTES))
        return self._waste[: self._skip]

    def _receive(self, view: memoryview) -> int | None:
        try:
            return self._stream.recv_into(view)
        except BlockingIOError:
            return None

    def _patient(self, patience_ms: int) -> bool:
        if not patience_ms:
            return False
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        return bool(poll.poll(patience_ms))
