"""The few forms of Protocol Buffers that the public formats use, read strictly and within bounds (specs/0031 §2).

A message is fields one behind the other, each with a key (its number and how it is written) and its value. Numbers are
varints in their shortest form; lengths never pass the end of what holds them. Groups are not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
UINT64_MAX: Final = 2**64 - 1
_SMALL: Final = [bytes((number,)) for number in range(0x80)]
_FIELD_MAX: Final = 2**29 - 1  # the highest number of a field

Field: TypeAlias = "tuple[int, int, int | bytes]"  # number, how it is written, value


def varint(number: int) -> bytes:
    """Writes a number from 0 to 2**64 - 1."""
    if number < 0x80:
        return _SMALL[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def varint_at(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Reads the number at ``at``, and tells where it ends. Raises DecodeError for one that is cut off at ``end``, is not in
    its shortest form, or has more than 64 bits.
    """
    number = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte < 0x80:
            if not byte and shift:
                raise DecodeError(f"protobuf: a number that is not in its shortest form before offset {at}")
            number |= byte << shift
            if number > UINT64_MAX:
                break
            return number, at
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            break
    else:
        raise DecodeError(f"protobuf: a number that is cut off at offset {at}")
    raise DecodeError(f"protobuf: a number of more than 64 bits before offset {at}")


def span_at(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Reads the length at ``at``; gives where what has it begins and ends. Raises DecodeError where that is past ``end``."""
    if at < end and data[at] < 0x80:  # nearly always; one byte is in its shortest form, whatever it is
        length, at = data[at], at + 1
    else:
        length, at = varint_at(data, at, end)
    if length > end - at:
        raise DecodeError(f"protobuf: {length} bytes at offset {at}, where {end - at} are left")
    return at, at + length


def fields(data: bytes) -> Iterator[Field]:
    """Reads all fields of a message, in their order. Raises DecodeError."""
    at, end = 0, len(data)
    while at < end:
        key, at = varint_at(data, at, end)
        number, how = key >> 3, key & 7
        if not 0 < number <= _FIELD_MAX:
            raise DecodeError(f"protobuf: there is no field {number}")
        value: int | bytes
        if how == VARINT:
            value, at = varint_at(data, at, end)
        elif how == BYTES:
            start, at = span_at(data, at, end)
            value = data[start:at]
        elif how in (FIXED32, FIXED64):
            width = 4 if how == FIXED32 else 8
            if end - at < width:
                raise DecodeError(f"protobuf: field {number} is cut off")
            value = int.from_bytes(data[at : at + width], "little")
            at += width
        else:
            raise DecodeError(f"protobuf: field {number} is written in a way ({how}) that is not taken")
        yield number, how, value
