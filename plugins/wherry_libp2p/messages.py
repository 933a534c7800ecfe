"""Messages of libp2p's streams: what a length precedes, within bounds of bytes and of time (specs/0035 §5)."""

from __future__ import annotations

import logging
from typing import Any, Final

from wherry_libp2p.faults import Slow
from wherry_libp2p.room import Begun

try:
    import trio
    from libp2p.bitswap.pb.bitswap_pb2 import Message
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = Message = None

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024  # as kubo's
_RESET_S: Final = 2.0

_log = logging.getLogger(__name__)


async def delimited(stream: Any, most: int) -> bytes | None:
    """Reads what a length precedes; None at the end. Raises ValueError for more than ``most`` bytes."""
    length = await length_of(stream, most)
    return None if length is None else await _exactly(stream, Begun(None, length))


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


async def message_of(stream: Any, length: int, begun: Begun | None = None) -> Any:
    """Reads a message of Bitswap whose length was read; None at the end. Raises ValueError, and Slow for what does not come.

    ``begun`` is what was taken for it of a `Room`.
    """
    begun = begun or Begun(None, length)
    with begun.scope:
        data = await _exactly(stream, begun)
    if begun.scope.cancelled_caught:
        raise Slow(f"a message of {length} bytes did not come within {begun.took:.0f} s")
    return None if data is None else _parsed(data)


async def _exactly(stream: Any, begun: Begun) -> bytes | None:
    data = bytearray()  # not a list of what comes: a peer may send single bytes, each of which would take dozens
    while len(data) < begun.length:
        piece = await stream.read(begun.length - len(data))
        if not piece:
            return None
        data += piece
        begun.have = len(data)
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
