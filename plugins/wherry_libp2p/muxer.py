"""Yamux of py-libp2p, within bounds: by itself it takes any number of streams, and bytes past every window (specs/0035 §5)."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

_WINDOW_BYTES: Final = 1024 * 1024  # to which that of a stream grows, and a few bytes besides; py-libp2p's grow to 16 MiB
_WAITING_BYTES_MAX: Final = 8 * 1024 * 1024  # what came on all streams of one connection, and is not read yet
_STREAMS_MAX: Final = 64  # that the peer opened, of one connection

_log = logging.getLogger(__name__)


@cache
def bound() -> Any:
    """Has py-libp2p use it, in all of this process; gives the muxers of a host: this one."""
    import trio
    from libp2p.stream_muxer import muxer_multistream
    from libp2p.stream_muxer.yamux import yamux

    class Stream(yamux.YamuxStream):  # type: ignore[misc]  # mypy has no py-libp2p to look at
        """One stream."""

        def _apply_autotune_epoch(self, buffered: int) -> int:
            """Doubles the window where that is of use, up to a bound; gives by how much it grew."""
            if self.target_recv_window >= _WINDOW_BYTES:
                return 0
            grown: int = super()._apply_autotune_epoch(buffered)
            return grown

    class Bounded(yamux.Yamux):  # type: ignore[misc]  # mypy has no py-libp2p to look at
        """One connection."""

        async def start(self) -> None:
            """Runs it until it is closed, if it is wanted. Whoever waits for its beginning sees that it is closed."""
            door = getattr(self.swarm, "door", None)  # none in a self-test
            if door is None:
                await super().start()
            elif (number := await door.enter(self)) is None:
                await self.close()
                self.event_started.set()
            else:
                try:
                    await super().start()
                finally:
                    door.leave(number)

        async def _read_data_body(self, length: int) -> bytes:
            """Reads what a frame brings for a stream. A peer that has sent past its windows loses the connection."""
            waiting = sum(map(len, self.stream_buffers.values()))
            if waiting + length > _WAITING_BYTES_MAX:
                _log.info("%s: %d bytes wait", self.peer_id, waiting)
                raise trio.TooSlowError  # what ends the connection, wherever a frame is read
            data: bytes = await super()._read_data_body(length)
            return data

        async def accept_stream(self) -> Any:
            """Waits for a stream that the peer opens. Those beyond the bound are reset, whatever they are for."""
            while True:
                stream = await super().accept_stream()
                if sum(not other.is_initiator for other in self.streams.values()) <= _STREAMS_MAX:
                    return stream
                await stream.reset()

        def _finalize_stream_locked(self, stream: Any, *, fully_closed: bool) -> None:
            """Forgets a stream. What is left of one that was reset is read by nobody, and would be kept for a minute."""
            if stream.reset_received and (left := self.stream_buffers.get(stream.stream_id)):
                left.clear()
            super()._finalize_stream_locked(stream, fully_closed=fully_closed)

    yamux.YamuxStream = Stream
    muxer_multistream.Yamux = Bounded  # for this protocol it makes that, whatever class a host is given
    return {yamux.PROTOCOL_ID: Bounded}
