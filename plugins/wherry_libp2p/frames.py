"""The frames between wherry and its libp2p process (specs/0035 §3). Pure; the standard library only.

That process may run under another interpreter, where wherry is not installed.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
BLOCK_BYTES_MAX: Final = 2 * 1024 * 1024  # what every Bitswap implementation reads
CID_BYTES: Final = 36
_SIZE: Final = struct.Struct(">I")
_UNKNOWN: Final = 0xFFFF_FFFF  # the size of a block
WANT_BYTES: Final = CID_BYTES + _SIZE.size
WANTS_MAX: Final = 512
TEXT_BYTES_MAX: Final = 16 * 1024
QUESTION_BYTES_MAX: Final = 256
ANSWER_BYTES_MAX: Final = 512 * 1024  # of a DHT's peer: a thousand providers with their addresses

HEAD: Final = struct.Struct(">BIII")  # kind, request, index, bytes of the body


class Kind(IntEnum):
    """What a frame says."""

    START = 1  # to the process: JSON, how to run
    READY = 2  # from it: JSON, who it is and where it listens
    DIAL = 3  # to: a multiaddr with a peer id
    DONE = 4  # from: the request is fulfilled; after a WANT, what was not sent is missing
    WANT = 5  # to: CIDs, each with the size of its block; index is the request of the DIAL
    BLOCK = 6  # from: index is the want's; to: the answer to a SEEK
    MISSING = 7  # to: the answer to a SEEK, the block is not here
    FAIL = 8  # from: UTF-8 text; index is a Fault; request 0 is the whole process
    CANCEL = 9  # to: the request is of no more use
    CLOSE = 10  # to: the DIAL of this request is over
    SEEK = 11  # from: one CID that a peer asks for
    PING = 12  # to
    PONG = 13  # from: JSON, counts
    ASK = 14  # to: a byte, which DHT (0 of the Internet, 1 of a private network), and a question; index as of a WANT
    SAID = 15  # from: the answer to an ASK
    MEET = 16  # from: a new connection, on which nothing is said yet: the peer id that it proved, a space, its IP address
    ADMIT = 17  # to: the connection of this MEET is wanted
    DENY = 18  # to: it is not, or not any more
    PART = 19  # from: the connection of this MEET is over


class Fault(IntEnum):
    """Why a request failed."""

    UNREACHABLE = 1
    TIMEOUT = 2
    PROTOCOL = 3
    ABSENT = 4  # py-libp2p is not installed where the process runs
    UNFIT = 5  # the self-test failed
    LISTEN = 6  # an address cannot be bound
    ANOTHER = 7  # a peer of another id answers where it was dialled
    LIES = 8  # the peer sends blocks that were not asked for


_BODY_MAX: Final = {
    Kind.START: TEXT_BYTES_MAX,
    Kind.READY: TEXT_BYTES_MAX,
    Kind.DIAL: 1024,
    Kind.DONE: 0,
    Kind.WANT: WANTS_MAX * WANT_BYTES,
    Kind.BLOCK: BLOCK_BYTES_MAX,
    Kind.MISSING: 0,
    Kind.FAIL: 1024,
    Kind.CANCEL: 0,
    Kind.CLOSE: 0,
    Kind.SEEK: CID_BYTES,
    Kind.PING: 0,
    Kind.PONG: TEXT_BYTES_MAX,
    Kind.ASK: 1 + QUESTION_BYTES_MAX,
    Kind.SAID: ANSWER_BYTES_MAX,
    Kind.MEET: 256,
    Kind.ADMIT: 0,
    Kind.DENY: 0,
    Kind.PART: 0,
}


class Head(NamedTuple):
    """The head of a frame: what follows it, and for which request."""

    kind: Kind
    request: int
    at: int  # the index
    length: int  # bytes of the body


def head_of(data: bytes | bytearray | memoryview) -> Head:
    """Reads 13 bytes. Raises ValueError for an unknown kind, or a body longer than its kind may have."""
    number, request, at, length = HEAD.unpack(data)
    kind = Kind(number)
    if length > _BODY_MAX[kind]:
        raise ValueError(f"a frame {kind.name} of {length} bytes")
    return Head(kind, request, at, length)


def pack(kind: Kind, request: int = 0, index: int = 0, body: bytes = b"") -> bytes:
    """Writes a whole frame. Raises ValueError for a body that is too long."""
    if len(body) > _BODY_MAX[kind]:
        raise ValueError(f"a frame {kind.name} of {len(body)} bytes")
    return HEAD.pack(kind, request, index, len(body)) + body


def fields_of(body: bytes | bytearray) -> dict[str, object]:
    """Reads a body of JSON. Raises ValueError unless it is an object."""
    try:
        value = json.loads(body)
    except RecursionError as problem:
        raise ValueError("nested too deep") from problem
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  # of foreign bytes, as all that is wrong with them
    return value


def pack_wants(wants: Iterable[tuple[bytes, int | None]]) -> bytes:
    """Writes the body of a WANT: CIDs, and how many bytes the block of each has; None: not known."""
    return b"".join(cid + _SIZE.pack(_UNKNOWN if size is None else size) for cid, size in wants)


def wants_of(body: bytes | bytearray) -> list[tuple[bytes, int | None]]:
    """Takes the body of a WANT apart. Raises ValueError unless it is whole wants, one at least."""
    if not body or len(body) % WANT_BYTES:
        raise ValueError(f"wants in {len(body)} bytes")
    wants = []
    for at in range(0, len(body), WANT_BYTES):
        (size,) = _SIZE.unpack_from(body, at + CID_BYTES)
        wants.append((bytes(body[at : at + CID_BYTES]), None if size == _UNKNOWN else size))
    return wants
