"""CID: the name of a block by its content (specs/0002).

A `CID` is its own binary form: version 1, a codec of the allow-list, sha2-256 with its 32 bytes. It is a ``bytes``, so it
hashes, compares and sorts at C speed and takes no second object; it can only be made through the checks below, so holding
one means that it is well formed. multiformats is the oracle in the tests; its Python objects cost 130-380 µs each, these
about one.
"""

from __future__ import annotations

import hashlib
from typing import Final, Self

from wherry.errors import CIDError
from wherry.limits import CID_TEXT_CHARS_MAX

Bytes = bytes | bytearray | memoryview  # collections.abc.Buffer is new in 3.12

RAW: Final = 0x55
DAG_PB: Final = 0x70
DAG_CBOR: Final = 0x71
CODECS: Final = {RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor"}  # names as in the multicodec table
BINARY_BYTES: Final = 36

# version 1, codec, sha2-256 (0x12), digest length 32; every one of them is a one-byte varint
PREFIX: Final = {codec: bytes((0x01, codec, 0x12, 0x20)) for codec in CODECS}
_CODEC_OF: Final = {prefix: codec for codec, prefix in PREFIX.items()}

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, lower case; multibase prefix "b"
_TEXT_CHARS: Final = 59  # "b" and 58 digits: 36 bytes are 288 bits, and two bits of padding
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_SHIFTS: Final = tuple(range(280, -1, -10))
_TO_INT: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits of int(text, 32)
_LETTERS: Final = frozenset(_ALPHABET)
_OTHER_BASES: Final = {
    "Q": "CIDv0",
    "z": "base58btc",
    "f": "base16",
    "F": "base16 upper",
    "B": "base32 upper",
    "k": "base36",
    "m": "base64",
    "u": "base64url",
}


class CID(bytes):
    """A CIDv1 in binary form: 36 bytes, sha2-256, codec raw, dag-pb or dag-cbor. Immutable, hashable, ordered by bytes."""

    __slots__ = ()

    def __new__(cls, binary: bytes) -> Self:
        """Takes a binary CID from anywhere. Raises CIDError unless it is exactly one that wherry takes."""
        if len(binary) == BINARY_BYTES and bytes(binary[:4]) in _CODEC_OF:
            return bytes.__new__(cls, binary)
        raise _explain_binary(bytes(binary[: BINARY_BYTES + 1]), len(binary))

    @classmethod
    def of(cls, codec: int, data: Bytes) -> CID:
        """Names ``data`` (a whole block) under ``codec``."""
        return bytes.__new__(cls, PREFIX[codec] + hashlib.sha256(data).digest())

    @classmethod
    def from_digest(cls, codec: int, digest: bytes) -> CID:
        """Makes a CID from a sha2-256 digest of our own making (32 bytes, not checked again)."""
        return bytes.__new__(cls, PREFIX[codec] + digest)

    @classmethod
    def parse(cls, text: str) -> CID:
        """Reads the text form (multibase base32, lower case). Raises CIDError with what is wrong and what to do."""
        if len(text) != _TEXT_CHARS or text[0] != "b" or not _LETTERS.issuperset(text):
            raise _explain_text(text)
        value = int(text[1:].translate(_TO_INT), 32)
        if value & 3:
            raise CIDError(f"CID {text}: its last digit has stray bits", hint="copy it again, in full")
        return cls((value >> 2).to_bytes(BINARY_BYTES, "big"))

    @property
    def codec(self) -> int:
        """The multicodec number: RAW, DAG_PB or DAG_CBOR."""
        return self[1]

    @property
    def digest(self) -> bytes:
        """The 32 bytes of sha2-256."""
        return self[4:]

    def __str__(self) -> str:
        value = int.from_bytes(self, "big") << 2
        pairs = _PAIRS
        return "b" + "".join([pairs[(value >> shift) & 1023] for shift in _SHIFTS])

    def __repr__(self) -> str:
        return f"CID({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def _explain_binary(head: bytes, length: int) -> CIDError:
    if length == 0:
        return CIDError("binary CID: empty")
    if head[0] == 0x12:
        return CIDError("binary CID: version 0 is not taken here", hint="convert it to version 1 (`ipfs cid base32`)")
    if head[0] != 1:
        return CIDError(f"binary CID: version {head[0]} is unknown")
    if len(head) > 1 and head[1] not in CODECS:
        return CIDError(f"binary CID: codec 0x{head[1]:02x} is not one of raw, dag-pb, dag-cbor")
    if len(head) > 2 and head[2] != 0x12:
        return CIDError(f"binary CID: hash 0x{head[2]:02x} is not sha2-256")
    if len(head) > 3 and head[3] != 0x20:
        return CIDError(f"binary CID: a sha2-256 digest has 32 bytes, this one says {head[3]}")
    return CIDError(f"binary CID: {length} bytes, must be {BINARY_BYTES}")


def _explain_text(text: str) -> CIDError:
    if not text:
        return CIDError("CID: empty text", hint="a CID looks like bafyrei... or bafkrei...")
    if len(text) > CID_TEXT_CHARS_MAX:
        return CIDError(f"CID: {len(text)} characters, at most {CID_TEXT_CHARS_MAX} are read")
    shown = ascii(text)
    if text[0] in _OTHER_BASES and text.isalnum():
        return CIDError(
            f"CID {shown}: {_OTHER_BASES[text[0]]} is not taken", hint="convert it to version 1, base32 (`ipfs cid base32`)"
        )
    if text[0] != "b":
        return CIDError(f"CID {shown}: does not begin with a known base", hint="a CID looks like bafyrei... or bafkrei...")
    stray = next((c for c in text if c not in _LETTERS), None)
    if stray is not None:
        return CIDError(f"CID {shown}: {stray!a} is no base32 digit", hint="CIDs are lower case, without spaces")
    return CIDError(f"CID {shown}: {len(text)} characters, must be {_TEXT_CHARS}", hint="copy it again, in full")
