"""Numbers of one to nine bytes: seven bits a byte, the lowest first, in the shortest form only (specs/0004 §3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.cid import Bytes

VARINT_BYTES_MAX: Final = 9  # 63 bits


def encode_varints(numbers: Iterable[int]) -> bytes:
    """Writes numbers, each from 0 to 2**63 - 1, one behind the other."""
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def decode_varints(data: Bytes, numbers_max: int) -> list[int]:
    """Reads all of ``data``. Raises DecodeError for a form that is not the shortest, or cut off, or too many numbers."""
    found: list[int] = []
    number = shift = 0
    for byte in data:
        if byte > 0x7F:
            number |= (byte & 0x7F) << shift
            shift += 7
            if shift >= 7 * VARINT_BYTES_MAX:
                raise DecodeError("a number of more than 9 bytes")
            continue
        if not byte and shift:
            raise DecodeError("a number that is longer than it need be")
        if len(found) == numbers_max:
            raise DecodeError(f"more than {numbers_max} numbers")
        found.append(number | byte << shift)
        number = shift = 0
    if shift:
        raise DecodeError("a number that is cut off")
    return found
