"""Binary data as text in one of the public bases: a letter says which base, its digits follow (specs/0002 §6).

Strict and bounded: one text a value in each base (no stray bits, no stray case, padding only where the base has it), and
no text longer than `MULTIBASE_CHARS_MAX`, as base decoders take time by the square of it. The two public bases that are
tables of words and of pictures are not taken. multiformats is the oracle in the tests.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from wherry.errors import CIDError
from wherry.limits import MULTIBASE_CHARS_MAX

_B32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_B32HEX: Final = "0123456789abcdefghijklmnopqrstuv"
_B32Z: Final = "ybndrfg8ejkmcpqxot1uwisza345h769"
_B36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_B58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_B58_FLICKR: Final = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
_B64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_B64_URL: Final = _B64[:-2] + "-_"

# name: (letter, digits, padded); bases of a power of two are written bit by bit, the others as one number
_BASES: Final = {
    "base2": ("0", "01", False),
    "base8": ("7", "01234567", False),
    "base10": ("9", "0123456789", False),
    "base16": ("f", "0123456789abcdef", False),
    "base16upper": ("F", "0123456789ABCDEF", False),
    "base32": ("b", _B32, False),
    "base32upper": ("B", _B32.upper(), False),
    "base32pad": ("c", _B32, True),
    "base32padupper": ("C", _B32.upper(), True),
    "base32hex": ("v", _B32HEX, False),
    "base32hexupper": ("V", _B32HEX.upper(), False),
    "base32hexpad": ("t", _B32HEX, True),
    "base32hexpadupper": ("T", _B32HEX.upper(), True),
    "base32z": ("h", _B32Z, False),
    "base36": ("k", _B36, False),
    "base36upper": ("K", _B36.upper(), False),
    "base58btc": ("z", _B58, False),
    "base58flickr": ("Z", _B58_FLICKR, False),
    "base64": ("m", _B64, False),
    "base64pad": ("M", _B64, True),
    "base64url": ("u", _B64_URL, False),
    "base64urlpad": ("U", _B64_URL, True),
}
_NAME_OF: Final = {letter: name for name, (letter, _digits, _padded) in _BASES.items()}
_VALUES: Final = {name: {digit: value for value, digit in enumerate(digits)} for name, (_, digits, _) in _BASES.items()}
_BITS: Final = {2: 1, 8: 3, 16: 4, 32: 5, 64: 6}
_TO_INT32: Final = {
    name: str.maketrans(digits, _B32HEX) for name, (_letter, digits, _padded) in _BASES.items() if len(digits) == 32
}
BASES: Final = tuple(sorted(_BASES))


def base_of(text: str) -> str:
    """The name of the base that the first letter of ``text`` says. Raises CIDError."""
    name = _NAME_OF.get(text[:1])
    if name is None:
        raise CIDError(f"{text[:1]!a} is no letter of a base", hint="base32 begins with b, base58btc with z, base36 with k")
    return name


def decode(text: str) -> bytes:
    """Reads a text with its letter. Raises CIDError for anything but the one text that `encode` gives for the same bytes."""
    if len(text) > MULTIBASE_CHARS_MAX:
        raise CIDError(f"text of more than the {MULTIBASE_CHARS_MAX} characters that are read")  # who read it may have cut it
    name = base_of(text)
    digits = text[1:]
    values, bits, padded = _VALUES[name], _BITS.get(len(_VALUES[name])), _BASES[name][2]
    if padded:
        digits = _unpadded(name, digits)
    if not values.keys() >= set(digits):
        stray = next(digit for digit in digits if digit not in values)
        raise CIDError(f"{stray!a} is no digit of {name}", hint="copy it again, in full and in the same case")
    return decode_base58(digits, values) if bits is None else _decode_bits(name, digits, bits)


def encode(name: str, data: bytes) -> str:
    """Writes ``data`` in the base called ``name``, with its letter. Raises CIDError for a base that is not in `BASES`."""
    if name not in _BASES:
        raise CIDError(f"{name[:40]!a} is no base", hint="bases: " + ", ".join(BASES))
    letter, digits, padded = _BASES[name]
    bits = _BITS.get(len(digits))
    if bits is None:
        return letter + encode_base58(data, digits)
    if bits == 6:
        text = base64.b64encode(data, digits[62:].encode()).decode()
        return letter + (text if padded else text.rstrip("="))
    if bits == 4:
        return letter + (data.hex() if digits[-1] == "f" else data.hex().upper())
    count = -(-8 * len(data) // bits)
    value = int.from_bytes(data, "big") << (count * bits - 8 * len(data))
    mask = (1 << bits) - 1
    text = "".join([digits[(value >> shift) & mask] for shift in range((count - 1) * bits, -1, -bits)])
    return letter + (text + "=" * (-count % 8) if padded else text)


def encode_base58(data: bytes, digits: str = _B58) -> str:
    """Writes ``data`` as one number, in base 58 unless other ``digits`` are given; no letter. Zeros in front stay."""
    base, value, out = len(digits), int.from_bytes(data, "big"), []
    part = base**10  # few divisions of long numbers, and the others of short ones
    while value:
        value, low = divmod(value, part)
        for _ in range(10):
            low, digit = divmod(low, base)
            out.append(digits[digit])
    text = "".join(reversed(out)).lstrip(digits[0])
    return digits[0] * (len(data) - len(data.lstrip(b"\0"))) + text


def decode_base58(text: str, values: dict[str, int] = _VALUES["base58btc"]) -> bytes:
    """Reads a number without a letter, in base 58 unless other ``values`` are given. Raises CIDError for stray digits."""
    base, number = len(values), 0
    for digit in text:
        value = values.get(digit, -1)
        if value < 0:
            raise CIDError(f"{digit!a} is no digit of base {base}", hint="copy it again, in full and in the same case")
        number = number * base + value
    zero = next(iter(values))
    return bytes(len(text) - len(text.lstrip(zero))) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _decode_bits(name: str, digits: str, bits: int) -> bytes:
    """Reads digits of the alphabet of ``name``, ``bits`` each; what is left beyond whole bytes must be zeros."""
    size, stray = divmod(len(digits) * bits, 8)
    if stray >= bits:
        raise CIDError(f"{name} text of {len(digits)} digits: no bytes have so many", hint="copy it again, in full")
    if bits == 6:
        plain = digits.replace("-", "+").replace("_", "/") + "=" * (-len(digits) % 4)
        data = binascii.a2b_base64(plain)
        value = _VALUES[name][digits[-1]] if digits else 0
    else:
        plain = digits.translate(_TO_INT32[name]) if bits == 5 else digits
        value = int(plain, 1 << bits) if plain else 0
        data = (value >> stray).to_bytes(size, "big")
    if value & ((1 << stray) - 1):
        raise CIDError(f"{name} text: its last digit has stray bits", hint="copy it again, in full")
    return data


def _unpadded(name: str, digits: str) -> str:
    plain = digits.rstrip("=")
    group = 4 if name.startswith("base64") else 8
    if len(digits) % group or len(digits) - len(plain) >= group:
        raise CIDError(f"{name} text: it is not padded as this base is", hint="copy it again, in full")
    return plain
