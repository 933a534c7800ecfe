"""How fast the links to clients are, as the kernel measures it (specs/0015 §3.1).

A sender sees bytes vanish into the kernel's buffers, which hold a whole answer, so its own clock tells nothing of a slow
link. The kernel knows what was acknowledged, and for how long there was something to send. Where it does not tell (it is
Linux, since 4.10, that does), a rate is not known, and what needs one does without.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

_ACKED_AT: Final = 120  # struct tcp_info of linux/tcp.h, which only ever grew at its end: tcpi_bytes_acked ...
_BUSY_AT: Final = 168  # ... and tcpi_busy_time, in µs; both u64
_INFO_BYTES: Final = 176
_TICK_S: Final = 0.004  # the kernel's clock for it, at 250 Hz
_BYTES_MIN: Final = 1 << 20  # a measurement has so many bytes, or lasts so long: a tick more or less then matters little
_BUSY_MIN_S: Final = 0.025
_NEWEST: Final = 0.5  # weight of the newest measurement
_CONNECTIONS_MAX: Final = 4096  # remembered; the one that was asked for longest ago is forgotten


class Counters(NamedTuple):
    """What the kernel counts of one connection since it was made."""

    acked: int  # bytes
    busy_s: float  # time in which something was to be sent


class HasOptions(Protocol):
    """A socket, or what asyncio gives for one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """See `socket.socket.getsockopt`."""


def counters(sock: HasOptions) -> Counters | None:
    """Reads a connection's counters; None where there are none."""
    if sys.platform != "linux":
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:  # the connection is gone, or it is none of TCP
        return None
    if len(info) < _INFO_BYTES:
        return None
    (acked,), (busy,) = struct.unpack_from("=Q", info, _ACKED_AT), struct.unpack_from("=Q", info, _BUSY_AT)
    return Counters(acked, busy / 1e6)


@dataclass(slots=True)
class _Seen:
    counters: Counters
    rate: float | None = None


class Links:
    """Remembers rates by connection. For one thread."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int], _Seen] = OrderedDict()
        self._newest: OrderedDict[str, float] = OrderedDict()  # by address

    def rate(self, peer: tuple[str, int], found: Counters | None) -> float | None:
        """Gives the rate of the connection from ``peer`` in bytes a second, by its counters now and those of the last call.

        One that is new has the rate of the newest measurement for its address. None: not known.
        """
        if found is None:
            return None
        before = self._seen.get(peer)
        if before is None or found.acked < before.counters.acked:  # another connection of the same port
            before = self._seen[peer] = _Seen(Counters(0, 0.0))
        self._seen.move_to_end(peer)
        acked, busy_s = found.acked - before.counters.acked, found.busy_s - before.counters.busy_s
        if acked >= _BYTES_MIN or (busy_s >= _BUSY_MIN_S and acked > 0):
            newest = acked / max(busy_s, _TICK_S)
            before.rate = newest if before.rate is None else before.rate + _NEWEST * (newest - before.rate)
            before.counters = found
            self._newest[peer[0]] = before.rate
            self._newest.move_to_end(peer[0])
        for table in (self._seen, self._newest):
            if len(table) > _CONNECTIONS_MAX:
                table.popitem(last=False)
        return before.rate if before.rate is not None else self._newest.get(peer[0])
