"""How fast the links to clients are (specs/0015 §3.1).

A sender sees bytes vanish into the kernel's buffers, which hold a whole answer, so the time that sending takes tells nothing
of a slow link. Two others do. The kernel knows what was acknowledged, and for how long there was something to send (on Linux,
since 4.10); but behind a proxy or a tunnel it knows the way to that only. And a client that keeps its connection asks again
when it has all: the time from one request to the next is never shorter than the transfer, but longer if the client rests, so
the best of the last few counts. The lower of the two is the link's rate.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")

_ACKED_AT: Final = 120  # struct tcp_info of linux/tcp.h, which only ever grew at its end: tcpi_bytes_acked ...
_BUSY_AT: Final = 168  # ... and tcpi_busy_time, in µs; both u64
_INFO_BYTES: Final = 176
_TRIP_AT: Final = 68  # tcpi_rtt in µs ...
_RESENT_AT: Final = 100  # ... and tcpi_total_retrans; both u32
_TICK_S: Final = 0.004  # the kernel's clock for it, at 250 Hz
_BYTES_MIN: Final = 1 << 20  # a measurement has so many bytes, or lasts so long: a tick more or less then matters little
_BUSY_MIN_S: Final = 0.025
_NEWEST: Final = 0.5  # weight of the newest measurement
_TURN_BYTES_MIN: Final = 256 * 1024  # of an answer whose time tells of the link, and not of the way there and back
_TURNS: Final = 4  # the last answers to an address, of which the fastest counts ...
_TURNS_MIN: Final = 2  # ... once there are so many
_CONNECTIONS_MAX: Final = 4096  # remembered; the one that was asked for longest ago is forgotten


class Counters(NamedTuple):
    """What the kernel counts of one connection since it was made."""

    acked: int  # bytes
    busy_s: float  # time in which something was to be sent


class Trips(NamedTuple):
    """What the kernel knows of the way to a peer."""

    seconds: float  # there and back, smoothed
    resent: int  # segments, since the connection was made


_NOTHING: Final = Counters(0, 0.0)


class HasOptions(Protocol):
    """A socket, or what asyncio gives for one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """See `socket.socket.getsockopt`."""


def _info(sock: HasOptions) -> bytes | None:
    """Gives what the kernel tells of a connection; None where it tells nothing."""
    if sys.platform != "linux":
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:  # the connection is gone, or it is none of TCP
        return None
    return info if len(info) >= _INFO_BYTES else None


def counters(sock: HasOptions) -> Counters | None:
    """Reads a connection's counters; None where there are none."""
    info = _info(sock)
    if info is None:
        return None
    (acked,), (busy,) = struct.unpack_from("=Q", info, _ACKED_AT), struct.unpack_from("=Q", info, _BUSY_AT)
    return Counters(acked, busy / 1e6)


def trips(sock: HasOptions) -> Trips | None:
    """Reads the round trip of a connection; None where the kernel does not tell it."""
    info = _info(sock)
    if info is None:
        return None
    (trip,), (resent,) = struct.unpack_from("=I", info, _TRIP_AT), struct.unpack_from("=I", info, _RESENT_AT)
    return Trips(trip / 1e6, resent) if trip else None


@dataclass(slots=True)
class _Connection:
    counters: Counters = _NOTHING
    rate: float | None = None  # by the kernel
    began: float = 0.0  # the newest answer; loop time
    sent: int = 0  # its bytes


@dataclass(slots=True)
class _Address:
    rate: float | None = None  # by the kernel, the newest of its connections
    turns: deque[float] = field(default_factory=lambda: deque(maxlen=_TURNS))


class Links:
    """Remembers rates by connection and address. Bounded; for one thread. Has no clock: times are the caller's."""

    def __init__(self) -> None:
        self._connections: OrderedDict[tuple[str, int], _Connection] = OrderedDict()
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def rate(self, peer: tuple[str, int], now: float, found: Counters | None) -> float | None:
        """Gives the rate of the link to ``peer``, which asks at ``now``, in bytes a second; None: not known yet.

        ``found`` are its connection's counters. A connection that is new has the rate of the newest one of its address.
        """
        line = _kept(self._connections, peer, _Connection)
        place = _kept(self._addresses, peer[0], _Address)
        if line.sent >= _TURN_BYTES_MIN and now > line.began:
            place.turns.append(line.sent / (now - line.began))
        line.sent = 0
        if found is not None:
            self._measure(line, place, found)
        by_kernel = line.rate if line.rate is not None else place.rate
        by_turns = max(place.turns) if len(place.turns) >= _TURNS_MIN else None
        return min((rate for rate in (by_kernel, by_turns) if rate is not None), default=None)

    def answering(self, peer: tuple[str, int], now: float, count: int) -> None:
        """Notes that an answer of ``count`` bytes begins to be sent."""
        line = _kept(self._connections, peer, _Connection)
        line.began, line.sent = now, count

    def _measure(self, line: _Connection, place: _Address, found: Counters) -> None:
        if found.acked < line.counters.acked:  # another connection, of the same port
            line.counters, line.rate = _NOTHING, None
        acked, busy_s = found.acked - line.counters.acked, found.busy_s - line.counters.busy_s
        if acked >= _BYTES_MIN or (busy_s >= _BUSY_MIN_S and acked > 0):
            newest = acked / max(busy_s, _TICK_S)
            line.rate = newest if line.rate is None else line.rate + _NEWEST * (newest - line.rate)
            line.counters = found
            place.rate = line.rate


def _kept(table: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """Gives what the table has for ``key``, or a new one; the one that was asked for longest ago makes room."""
    found = table.get(key)
    if found is None:
        found = table[key] = make()
        if len(table) > _CONNECTIONS_MAX:
            table.popitem(last=False)
    table.move_to_end(key)
    return found
