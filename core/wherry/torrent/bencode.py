"""Bencoding, as torrents have it (BEP 3; specs/0036 §5). Pure; reading is strict and bounded.

Every value has one form: what `decode` takes, `encode` writes again byte for byte. So an infohash is that of the bytes read.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from wherry.errors import DecodeError, LimitExceeded
from wherry.limits import BENCODE_DEPTH_MAX, BENCODE_ITEMS_MAX

Value: TypeAlias = "int | bytes | str | list[Value] | dict[bytes, Value]"
Read: TypeAlias = "int | bytes | list[Read] | dict[bytes, Read]"

_INTEGER: Final = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")
_LENGTH: Final = re.compile(rb"(0|[1-9][0-9]{0,9}):")
_BITS: Final = 1 << 63


def encode(value: object) -> bytes:
    """Writes a value: integers, text as UTF-8, bytes, lists, and maps with keys in the order of their bytes.

    Raises TypeError for anything else.
    """
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: object, out: list[bytes]) -> None:
    if isinstance(value, bool):
        raise TypeError("bencoding has no truth values")
    if isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, str):
        _write(value.encode(), out)
    elif isinstance(value, bytes):
        out.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, list):
        out.append(b"l")
        for item in value:
            _write(item, out)
        out.append(b"e")
    elif isinstance(value, dict):
        out.append(b"d")
        keyed = {key.encode() if isinstance(key, str) else key: item for key, item in value.items()}
        if not all(isinstance(key, bytes) for key in keyed):
            raise TypeError("keys are bytes or text")
        for key in sorted(keyed):
            _write(key, out)
            _write(keyed[key], out)
        out.append(b"e")
    else:
        raise TypeError(f"{type(value).__name__} cannot be bencoded")


class _Open:
    """A list or map that is being read."""

    __slots__ = ("key", "last", "value")

    def __init__(self, value: list[Read] | dict[bytes, Read]) -> None:
        self.value = value
        self.key: bytes | None = None  # read, and waiting for its value
        self.last: bytes | None = None

    def put(self, value: Read) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.last, self.key = self.key, None


def decode(data: bytes, *, depth_max: int = BENCODE_DEPTH_MAX, items_max: int = BENCODE_ITEMS_MAX) -> Read:
    """Reads the one value that ``data`` is. Integers have 64 bits; text comes as bytes.

    Raises DecodeError where it is cut short, has something behind it, or is not in the one form of its value: leading zeros,
    -0, keys that are not text, twice or not in order. Raises LimitExceeded for too many values, or too deep ones. It does
    not call itself, and takes no memory for what is only announced.
    """
    stack: list[_Open] = []
    at = items = 0
    while True:
        kind = data[at : at + 1]
        top = stack[-1] if stack else None
        if kind == b"e" and top is not None:
            if top.key is not None:
                raise _wrong("a key without a value", at)
            stack.pop()
            at += 1
            value: Read = top.value
        elif top is not None and isinstance(top.value, dict) and top.key is None:
            key, after = _string(data, at)
            if top.last is not None and key <= top.last:
                raise _wrong("a key twice" if key == top.last else "keys out of order", at)
            top.key, at = key, after
            continue
        else:
            items += 1
            if items > items_max:
                raise LimitExceeded(f"bencoding: more than {items_max:,} values")
            if kind in (b"l", b"d"):
                if len(stack) >= depth_max:
                    raise LimitExceeded(f"bencoding: more than {depth_max} levels")
                stack.append(_Open([] if kind == b"l" else {}))
                at += 1
                continue
            value, at = _integer(data, at) if kind == b"i" else _string(data, at)
        if not stack:
            break
        stack[-1].put(value)
    if at != len(data):
        raise _wrong("something behind the value", at)
    return value


def _integer(data: bytes, at: int) -> tuple[int, int]:
    match = _INTEGER.match(data, at)
    if match is None:
        raise _wrong("no integer in its one form" if len(data) - at > 21 or b"e" in data[at:] else "it is cut short", at)
    value = int(match[1])
    if not -_BITS <= value < _BITS:
        raise _wrong("an integer of more than 64 bits", at)
    return value, match.end()


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    match = _LENGTH.match(data, at)
    if match is None:
        short = data[at:].isdigit() and len(data) - at < 10
        raise _wrong("it is cut short" if at >= len(data) or short else "no value, or no length in its one form", at)
    start, end = match.end(), match.end() + int(match[1])
    if end > len(data):
        raise _wrong(f"text of {int(match[1]):,} bytes is cut short", at)
    return data[start:end], end


def _wrong(what: str, at: int) -> DecodeError:
    return DecodeError(f"bencoding: {what}, at byte {at:,}")
