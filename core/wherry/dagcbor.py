"""Strict canonical DAG-CBOR (specs/0003 §2; https://ipld.io/specs/codecs/dag-cbor/spec/), bounded before it is decoded.

Decoding is validating: one linear pass that checks the size of the block, depth, number of items, shortest lengths, key
order, UTF-8, 64-bit floats and the one tag (42, a link), and builds nothing before its bytes were seen. No library was
found that does all of this on foreign bytes: cbor2 takes non-canonical forms and dangerous tags, cbrrr has no bound on
depth, libipld takes non-minimal integers. cbrrr is the oracle in the tests.

Values: None, bool, int (64 bits), float (finite), bytes, str, list, dict with str keys, `CID` (a link that wherry takes);
for blocks of other writers `PublicCID`.
"""

from __future__ import annotations

import math
import struct
from typing import Final, TypeAlias

from wherry.cid import BINARY_BYTES, CID
from wherry.errors import CIDError, DecodeError, LimitExceeded
from wherry.limits import CBOR_DEPTH_MAX, CBOR_ITEMS_MAX, NODE_BYTES_MAX, PB_BYTES_MAX
from wherry.publiccid import PublicCID

Value: TypeAlias = "bool | int | float | bytes | str | list[Value] | dict[str, Value] | CID | PublicCID | None"

LINK_HEAD: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, identity multibase
_LINK_BYTES: Final = len(LINK_HEAD) + BINARY_BYTES
_FLOAT: Final = struct.Struct(">d")
_HEAD_2: Final = struct.Struct(">BH")
_HEAD_4: Final = struct.Struct(">BI")
_HEAD_8: Final = struct.Struct(">BQ")
_SMALL: Final = [bytes((first,)) for first in range(256)]
_INT_MAX: Final = 2**64 - 1
_INT_MIN: Final = -(2**64)


def encode(value: object) -> bytes:
    """Writes ``value`` in the one canonical form. Raises ValueError for a value that has none, or nests too deep to be read."""
    out = bytearray()
    _write(value, out, 0)
    return bytes(out)


def head(major: int, count: int) -> bytes:
    """Writes the head of an item: its major type and its length, count or value, in the shortest form."""
    major <<= 5
    if count < 24:
        return _SMALL[major | count]
    if count < 0x100:
        return bytes((major | 24, count))
    if count < 0x10000:
        return _HEAD_2.pack(major | 25, count)
    if count < 0x100000000:
        return _HEAD_4.pack(major | 26, count)
    return _HEAD_8.pack(major | 27, count)


def _write(value: object, out: bytearray, depth: int) -> None:
    if isinstance(value, str):
        text = value.encode()
        out += head(3, len(text))
        out += text
    elif isinstance(value, CID):  # before bytes, which it is
        out += LINK_HEAD
        out += value
    elif isinstance(value, PublicCID):
        out += b"\xd8\x2a" + head(2, len(value) + 1) + b"\0" + value
    elif isinstance(value, bool):  # before int, which it is
        out.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        _write_int(value, out)
    elif isinstance(value, list | tuple):
        inner = _inner(depth)
        out += head(4, len(value))
        for item in value:
            _write(item, out, inner)
    elif isinstance(value, dict):
        _write_map(value, out, _inner(depth))
    elif isinstance(value, bytes):
        out += head(2, len(value))
        out += value
    elif value is None:
        out.append(0xF6)
    elif isinstance(value, float) and math.isfinite(value):
        out.append(0xFB)
        out += _FLOAT.pack(value)
    else:
        raise ValueError(f"DAG-CBOR has no form for {value!r}")


def _inner(depth: int) -> int:
    if depth >= CBOR_DEPTH_MAX:
        raise ValueError(f"wherry reads no DAG-CBOR that is deeper than {CBOR_DEPTH_MAX}")
    return depth + 1


def _write_int(value: int, out: bytearray) -> None:
    if not _INT_MIN <= value <= _INT_MAX:
        raise ValueError("DAG-CBOR integers have 64 bits")
    if value >= 0:
        out += head(0, value)
    else:
        out += head(1, -1 - value)


def _write_map(value: dict[object, object], out: bytearray, inner: int) -> None:
    keys = []
    for key in value:
        if not isinstance(key, str):
            raise ValueError("DAG-CBOR maps have text keys")  # noqa: TRY004  # encode promises ValueError for every value
        keys.append((key.encode(), key))
    keys.sort(key=lambda pair: (len(pair[0]), pair[0]))
    out += head(5, len(keys))
    for text, key in keys:
        out += head(3, len(text))
        out += text
        _write(value[key], out, inner)


def decode(data: bytes, *, bytes_max: int = NODE_BYTES_MAX) -> Value:
    """Reads one whole block. Raises DecodeError for what is malformed or not canonical, LimitExceeded beyond a bound."""
    return _decoded(_Reader, data, bytes_max)


def decode_public(data: bytes, *, bytes_max: int = PB_BYTES_MAX) -> Value:
    """As `decode`, for blocks of other writers: their links are of any version, codec and hash, and come as `PublicCID`."""
    return _decoded(_PublicReader, data, bytes_max)


def _decoded(kind: type[_Reader], data: bytes, bytes_max: int) -> Value:
    if len(data) > bytes_max:
        raise LimitExceeded(f"DAG-CBOR block of {len(data)} bytes, at most {bytes_max} are read")
    reader = kind(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise DecodeError(f"DAG-CBOR: {len(data) - reader.at} bytes left over at offset {reader.at}")
    return value


class _Reader:
    """One pass over one block; ``at`` is the next byte."""

    __slots__ = ("at", "data", "items")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.items = 0

    def fail(self, problem: str) -> DecodeError:
        return DecodeError(f"DAG-CBOR: {problem} at offset {self.at}")

    def count(self, low: int) -> int:
        """Reads the argument of a head whose low five bits are ``low``; ``at`` is behind the head's first byte."""
        if low < 24:
            return low
        if low > 27:
            raise self.fail("an indefinite or reserved length")
        width = 1 << (low - 24)
        end = self.at + width
        if end > len(self.data):
            raise self.fail("a cut-off head")
        value = int.from_bytes(self.data[self.at : end], "big")
        if value < (24, 0x100, 0x10000, 0x100000000)[low - 24]:
            raise self.fail("a length that is not the shortest form")
        self.at = end
        return value

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise self.fail("a cut-off string")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise self.fail("text that is not UTF-8") from None

    def item(self, depth: int) -> Value:
        data, at = self.data, self.at
        self.items += 1
        if self.items > CBOR_ITEMS_MAX:
            raise LimitExceeded(f"DAG-CBOR: more than {CBOR_ITEMS_MAX} items in a block")
        if at >= len(data):
            raise self.fail("a missing item")
        first = data[at]
        self.at = at + 1
        major, low = first >> 5, first & 31
        if major == 0:
            return self.count(low)
        if major == 3:
            return self.text(self.count(low))
        if major == 6:
            return self.link(at)
        if major == 4:
            return self.array(self.count(low), depth)
        if major == 5:
            return self.map(self.count(low), depth)
        if major == 2:
            return self.take(self.count(low))
        if major == 1:
            return -1 - self.count(low)
        return self.simple(first)

    def link(self, at: int) -> CID | PublicCID:
        end = at + _LINK_BYTES
        if self.data[at : at + 5] != LINK_HEAD:
            raise self.fail("a tag other than a link (42) in its canonical form")
        try:
            cid = CID(self.data[at + 5 : end])
        except CIDError as problem:
            raise self.fail(f"a link that wherry does not take ({problem.message})") from problem
        self.at = end
        return cid

    def deeper(self, depth: int, items: int) -> int:
        if depth >= CBOR_DEPTH_MAX:
            raise LimitExceeded(f"DAG-CBOR: deeper than {CBOR_DEPTH_MAX}")
        if items > len(self.data) - self.at:  # each item takes a byte at least
            raise self.fail("a container longer than the block")
        return depth + 1

    def array(self, length: int, depth: int) -> list[Value]:
        inner = self.deeper(depth, length)
        item = self.item
        return [item(inner) for _ in range(length)]

    def map(self, length: int, depth: int) -> dict[str, Value]:
        inner = self.deeper(depth, length)
        result: dict[str, Value] = {}
        before = b""
        for position in range(length):
            start = self.at
            if start >= len(self.data) or self.data[start] >> 5 != 3:
                raise self.fail("a map key that is not text")
            self.at = start + 1
            key = self.text(self.count(self.data[start] & 31))
            # The head counts: a shorter key has a smaller head, so comparing encodings is the canonical order.
            encoded = self.data[start : self.at]
            if position and encoded <= before:
                raise self.fail("map keys that are doubled or out of order")
            before = encoded
            self.items += 1
            result[key] = self.item(inner)
        return result

    def simple(self, first: int) -> Value:
        if first == 0xF5:
            return True
        if first == 0xF4:
            return False
        if first == 0xF6:
            return None
        if first != 0xFB:
            raise self.fail("a simple value or a float that is not 64 bits wide")
        value: float = _FLOAT.unpack(self.take(8))[0]
        if not math.isfinite(value):
            raise self.fail("a float that is not finite")
        return value


class _PublicReader(_Reader):
    """The same pass, for links of any form."""

    def link(self, at: int) -> PublicCID:
        if self.data[at : at + 2] != LINK_HEAD[:2] or len(self.data) < at + 4 or self.data[at + 2] >> 5 != 2:
            raise self.fail("a tag other than a link (42) in its canonical form")
        self.at = at + 3
        body = self.take(self.count(self.data[at + 2] & 31))
        if body[:1] != b"\0":
            raise self.fail("a link without its leading zero")
        try:
            return PublicCID(body[1:])
        except CIDError as problem:
            raise self.fail(f"a link that is no CID ({problem.message})") from problem
