"""The UnixFS message that a dag-pb node holds in its data (specs/0031 §3; https://specs.ipfs.tech/unixfs/).

    message Data {
      required Type Type = 1; optional bytes Data = 2; optional uint64 filesize = 3; repeated uint64 blocksizes = 4;
      optional uint64 hashType = 5; optional uint64 fanout = 6; optional uint32 mode = 7; optional UnixTime mtime = 8 }
    message UnixTime { required int64 Seconds = 1; optional fixed32 FractionalNanoseconds = 2 }

What a field means in a node of some type, and whether it fits the links, is looked at by those who read and build nodes;
here is the message alone. What is absent stays apart from zero.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wherry.errors import DecodeError, LimitExceeded
from wherry.limits import PB_BYTES_MAX, PB_LINKS_MAX
from wherry.protobuf import BYTES, FIXED32, UINT64_MAX, VARINT, fields, varint, varint_at

RAW_LEAF: Final = 0  # a leaf of old files
DIRECTORY: Final = 1
FILE: Final = 2
METADATA: Final = 3  # in the definition, and never used
SYMLINK: Final = 4
HAMT_SHARD: Final = 5
TYPES: Final = {
    RAW_LEAF: "raw", DIRECTORY: "directory", FILE: "file", METADATA: "metadata", SYMLINK: "symlink", HAMT_SHARD: "hamt-shard",
}  # fmt: skip

_UINT32_MAX: Final = 2**32 - 1
_NANOS_MAX: Final = 999_999_999
_NUMBERS: Final = {3: "filesize", 5: "hashType", 6: "fanout", 7: "mode"}


class UnixTime(NamedTuple):
    """A time: whole seconds since 1970, which may be negative, and nanoseconds that are added to them."""

    seconds: int
    nanos: int = 0


class Data(NamedTuple):
    """One message; None stands for what is absent."""

    type: int
    data: bytes | None = None
    filesize: int | None = None
    blocksizes: tuple[int, ...] = ()  # bytes of the file below each link
    hash_type: int | None = None
    fanout: int | None = None
    mode: int | None = None  # 32 bits; those above 0o7777 have no meaning and are kept
    mtime: UnixTime | None = None

    @property
    def size(self) -> int:
        """Bytes of the file that this node says it stands for: those inside, and those below its links."""
        return len(self.data or b"") + sum(self.blocksizes)


def encode(message: Data) -> bytes:
    """Writes a message: fields by their numbers, ``blocksizes`` one by one. Raises ValueError for a number without a form."""
    for what, number in (("filesize", message.filesize), ("hashType", message.hash_type), ("fanout", message.fanout)):
        if number is not None and not 0 <= number <= UINT64_MAX:
            raise ValueError(f"UnixFS has no form for {what} {number}")
    out = [b"\x08", varint(message.type)]
    if message.data is not None:
        out += [b"\x12", varint(len(message.data)), message.data]
    if message.filesize is not None:
        out += [b"\x18", varint(message.filesize)]
    for size in message.blocksizes:
        out += [b"\x20", varint(size)]
    if message.hash_type is not None:
        out += [b"\x28", varint(message.hash_type)]
    if message.fanout is not None:
        out += [b"\x30", varint(message.fanout)]
    if message.mode is not None:
        if not 0 <= message.mode <= _UINT32_MAX:
            raise ValueError(f"UnixFS has no form for mode {message.mode}")
        out += [b"\x38", varint(message.mode)]
    if message.mtime is not None:
        time = _encode_time(message.mtime)
        out += [b"\x42", varint(len(time)), time]
    return b"".join(out)


def _encode_time(time: UnixTime) -> bytes:
    if not -(2**63) <= time.seconds < 2**63 or not 0 <= time.nanos <= _NANOS_MAX:
        raise ValueError(f"UnixFS has no form for the time {time}")
    out = b"\x08" + varint(time.seconds & UINT64_MAX)
    return out + b"\x15" + time.nanos.to_bytes(4, "little") if time.nanos else out


def decode(data: bytes) -> Data:
    """Reads a message. Unknown fields are passed over, as the format asks; a field that is there twice, is written in another
    way or has no type is refused. Raises DecodeError, LimitExceeded beyond a bound.
    """
    if len(data) > PB_BYTES_MAX:
        raise LimitExceeded(f"UnixFS message of {len(data)} bytes, at most {PB_BYTES_MAX} are read")
    try:
        return _decoded(data)
    except DecodeError as problem:
        raise DecodeError(f"UnixFS: {problem.message}") from problem


def _decoded(data: bytes) -> Data:
    kind: int | None = None
    inner: bytes | None = None
    numbers: dict[int, int] = {}
    sizes: list[int] = []
    mtime: UnixTime | None = None
    for number, how, value in fields(data):
        if number == 1 and how == VARINT and isinstance(value, int) and kind is None:
            kind = value
        elif number == 2 and isinstance(value, bytes) and inner is None:
            inner = value
        elif number == 4:
            sizes += _packed(value) if isinstance(value, bytes) else [value]
            if how not in (VARINT, BYTES):
                raise DecodeError("blocksizes in a form that they do not have")
            if len(sizes) > PB_LINKS_MAX:
                raise LimitExceeded(f"UnixFS: more than {PB_LINKS_MAX} block sizes")
        elif number in _NUMBERS and how == VARINT and isinstance(value, int) and number not in numbers:
            numbers[number] = value
        elif number == 8 and isinstance(value, bytes) and mtime is None:
            mtime = _time(value)
        elif number <= 8:
            raise DecodeError(f"field {number} twice, or in a form that it does not have")
    if kind is None or kind not in TYPES:
        raise DecodeError("no type" if kind is None else f"type {kind} is unknown")
    mode = numbers.get(7)
    if mode is not None and mode > _UINT32_MAX:
        raise DecodeError("a mode of more than 32 bits")
    return Data(kind, inner, numbers.get(3), tuple(sizes), numbers.get(5), numbers.get(6), mode, mtime)


def _packed(data: bytes) -> list[int]:
    """Reads numbers that share one field, a form that nobody writes here and every reader of the format takes."""
    found = []
    at, end = 0, len(data)
    while at < end:
        number, at = varint_at(data, at, end)
        found.append(number)
        if len(found) > PB_LINKS_MAX:
            raise LimitExceeded(f"UnixFS: more than {PB_LINKS_MAX} block sizes")
    return found


def _time(data: bytes) -> UnixTime:
    seconds: int | None = None
    nanos: int | None = None
    for number, how, value in fields(data):
        if number == 1 and how == VARINT and isinstance(value, int) and seconds is None:
            seconds = value - 2**64 if value >= 2**63 else value
        elif number == 2 and how == FIXED32 and isinstance(value, int) and nanos is None:
            nanos = value
        elif number <= 2:
            raise DecodeError(f"field {number} of a time twice, or in a form that it does not have")
    if seconds is None:
        raise DecodeError("a time without seconds")
    if nanos is not None and not 1 <= nanos <= _NANOS_MAX:
        raise DecodeError(f"a time of {nanos} nanoseconds")
    return UnixTime(seconds, nanos or 0)
