"""Messages of libp2p's streams: what a length precedes, within bounds of bytes and of time (specs/0035 §5)."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final

from wherry_libp2p.faults import Slow

try:
    import trio
    from libp2p.bitswap.pb.bitswap_pb2 import Message
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = Message = None

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024  # as kubo's
_BEGUN_BYTES_MAX: Final = 32 * 1024 * 1024  # of all peers
_PEER_BYTES_MAX: Final = 8 * 1024 * 1024
_SMALL_BYTES: Final = 16 * 1024  # wants and their answers: they wait for nothing
_MESSAGE_S: Final = 10.0  # for which a message may take, and
_MIB_S: Final = 10.0  # for each MiB of it besides
_MIB: Final = 1024 * 1024
_RESET_S: Final = 2.0

_log = logging.getLogger(__name__)


class Room:
    """The memory for messages that have begun to come and are not done with, of all peers of a host."""

    def __init__(self, most: int = _BEGUN_BYTES_MAX, each: int = _PEER_BYTES_MAX) -> None:
        """``most`` bytes of all peers, ``each`` of one."""
        self._most, self._each = most, each
        self._taken: Counter[Any] = Counter()  # bytes of each peer
        self._freed = trio.Event()  # replaced whenever some are given back

    async def take(self, peer: Any, count: int, *, asked: bool) -> None:
        """Waits until ``count`` bytes more are free for a peer; all of a message at once, so that what has begun can end.

        Of whom nothing was ``asked``, who come by themselves, may have half: else a few of them would keep blocks from coming.
        """
        if count <= _SMALL_BYTES:
            return
        most = self._most if asked else self._most // 2
        while self._taken[peer] + count > self._each or self._taken.total() + count > most:
            await self._freed.wait()
        self._taken[peer] += count

    def give(self, peer: Any, count: int) -> None:
        """Takes bytes back."""
        if count <= _SMALL_BYTES:
            return
        self._taken[peer] -= count
        if not self._taken[peer]:
            del self._taken[peer]
        self._freed.set()
        self._freed = trio.Event()


async def delimited(stream: Any, most: int) -> bytes | None:
    """Reads what a length precedes; None at the end. Raises ValueError for more than ``most`` bytes."""
    length = await length_of(stream, most)
    return None if length is None else await _exactly(stream, length)


async def length_of(stream: Any, most: int) -> int | None:
    """Reads the length before a message; None at the end. Raises ValueError for more than ``most``."""
    length: int = 0
    shift = 0
    while True:
        byte = await stream.read(1)
        if not byte:
            return None
        length |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            break
        shift += 7
        if shift > 28:
            raise ValueError("a length of more than 5 bytes")
    if length > most:
        raise ValueError(f"a message of {length} bytes")
    return length


async def message_of(stream: Any, length: int) -> Any:
    """Reads a message of Bitswap whose length was read; None at the end. Raises ValueError, and Slow for what does not come."""
    seconds = _MESSAGE_S + _MIB_S * length / _MIB
    with trio.move_on_after(seconds) as scope:
        data = await _exactly(stream, length)
    if scope.cancelled_caught:
        raise Slow(f"a message of {length} bytes did not come within {seconds:.0f} s")
    return None if data is None else _parsed(data)


async def _exactly(stream: Any, length: int) -> bytes | None:
    data = bytearray()  # not a list of what comes: a peer may send single bytes, each of which would take dozens
    while len(data) < length:
        piece = await stream.read(length - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _parsed(data: bytes) -> Any:
    message = Message()
    try:
        message.ParseFromString(data)
    except Exception as problem:  # protobuf's own kind differs between its implementations
        raise ValueError("what is no message") from problem
    return message


async def closed(stream: Any) -> None:
    """Ends our side of a stream. What the peer does on its side is not cut."""
    try:
        with trio.move_on_after(_RESET_S):
            await stream.close()
    except Exception as problem:  # noqa: BLE001  # it is over already
        _log.debug("close: %r", problem)


async def reset(stream: Any) -> None:
    """Ends a stream at once."""
    try:
        with trio.move_on_after(_RESET_S):  # a peer that reads nothing would keep it for ever
            await stream.reset()
    except Exception as problem:  # noqa: BLE001  # it is over already
        _log.debug("reset: %r", problem)


def varint(value: int) -> bytes:
    """Writes a length, seven bits a byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
