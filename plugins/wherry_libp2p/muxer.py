"""Yamux of py-libp2p, within bounds: by itself it takes any number of streams, and bytes past every window (specs/0035 §5)."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

_WINDOW_BYTES: Final = 1024 * 1024  # to which that of a stream grows, from 256 KiB; py-libp2p's grow to 16 MiB
_GROWN_BYTES_MAX: Final = 3 * 1024 * 1024  # by which all those of one connection have grown, as a few streams need it
_STREAMS_MAX: Final = 48  # that the peer opened, of one connection; it is asked for fewer blocks at a time

_log = logging.getLogger(__name__)


@cache
def bound() -> Any:
    """Has py-libp2p use it, in all of this process; gives the muxers of a host: this one."""
    import trio
    from libp2p.stream_muxer import muxer_multistream
    from libp2p.stream_muxer.yamux import yamux

    class Stream(yamux.YamuxStream):  # type: ignore[misc]  # mypy has no py-libp2p to look at
        """One stream."""

        _pending_recv_release: int  # what was read, and is not allowed anew yet

        @property
        def recv_window(self) -> int:
            """The bytes that the peer may still send."""
            return self._allowed

        @recv_window.setter
        def recv_window(self, count: int) -> None:
            self._allowed: int = count
            if count < 0:
                self.conn.overrun = True

        async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
            """Allows the peer as much as was read, half a window at a time. py-libp2p allows more than the window has."""
            self._pending_recv_release += bytes_read
            if 2 * self._pending_recv_release < self.target_recv_window:
                return
            count, self._pending_recv_release = self._pending_recv_release, 0
            self.recv_window += count
            count += self._apply_autotune_epoch(len(self.conn.stream_buffers.get(self.stream_id, b"")))
            await self.send_window_update(count)

        def _apply_autotune_epoch(self, buffered: int) -> int:
            """Doubles the window where that is of use, up to a bound; gives by how much it grew."""
            grown = sum(stream.target_recv_window - yamux.DEFAULT_WINDOW_SIZE for stream in self.conn.streams.values())
            if self.target_recv_window >= _WINDOW_BYTES or grown + self.target_recv_window > _GROWN_BYTES_MAX:
                return 0
            more: int = super()._apply_autotune_epoch(buffered)
            return more

    class Bounded(yamux.Yamux):  # type: ignore[misc]  # mypy has no py-libp2p to look at
        """One connection."""

        overrun = False  # more came on a stream than its window allowed

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
            """Reads what a frame brings for a stream. A peer that has sent past the window of one loses the connection."""
            allowed = max((stream.recv_window for stream in self.streams.values()), default=0)
            if self.overrun or length > max(allowed, yamux.DEFAULT_WINDOW_SIZE):  # for which stream is known afterwards
                _log.info("%s keeps to no window", self.peer_id)
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
