"""PublicCID: any content identifier of the public formats (specs/0002 §5 to §8).

The engine stores and moves blocks under the strict `wherry.cid.CID`. What comes from people, links of foreign DAGs and other
implementations is read here, in every version, base, codec and hash that they use, and `PublicCID.block` gives the engine's
name of the same bytes. A `PublicCID` is its own binary form, so it hashes, compares and sorts at C speed, and reading one of
the common forms takes about a microsecond. Nothing here decides what a block means.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Self

from wherry import multibase
from wherry.cid import CID, CODECS, DAG_CBOR, DAG_PB, PREFIX, RAW, Bytes
from wherry.errors import CIDError, IntegrityError
from wherry.limits import IDENTITY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY: Final = 0x00
SHA2_256: Final = 0x12
LIBP2P_KEY: Final = 0x72

# Those of the multicodec table that are met as codecs of a CID; any other is shown by its number.
CODEC_NAMES: Final = {
    0x51: "cbor", RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor", LIBP2P_KEY: "libp2p-key", 0x78: "git-raw",
    0x7B: "torrent-info", 0x7C: "torrent-file", 0x85: "dag-jose", 0x86: "dag-cose", 0x90: "eth-block",
    0xB0: "bitcoin-block", 0xB1: "bitcoin-tx", 0x0129: "dag-json", 0x0200: "json", 0x0202: "car",
}  # fmt: skip
# name and length of the digest; 0: any length up to IDENTITY_BYTES_MAX
HASHES: Final = {
    IDENTITY: ("identity", 0), 0x11: ("sha1", 20), SHA2_256: ("sha2-256", 32), 0x13: ("sha2-512", 64),
    0x14: ("sha3-512", 64), 0x15: ("sha3-384", 48), 0x16: ("sha3-256", 32), 0x17: ("sha3-224", 28), 0x1B: ("keccak-256", 32),
    0x1D: ("keccak-512", 64), 0x1E: ("blake3", 32), 0x20: ("sha2-384", 48), 0x56: ("dbl-sha2-256", 32), 0xD5: ("md5", 16),
    0xB220: ("blake2b-256", 32), 0xB240: ("blake2b-512", 64), 0xB260: ("blake2s-256", 32),
}  # fmt: skip
_CODEC_NUMBERS: Final = {name: number for number, name in CODEC_NAMES.items()}
_NUMBER: Final = re.compile("0x[0-9A-Fa-f]{1,16}")
_COMMON: Final = {head: codec for codec, head in PREFIX.items()}
_PB_HEAD: Final = PREFIX[DAG_PB]
_V0_HEAD: Final = b"\x12\x20"
_VARINT_BYTES_MAX: Final = 9


def _blake3(data: Bytes) -> bytes:
    from importlib import import_module

    digest: bytes = import_module("blake3").blake3(data).digest()
    return digest


# Hashes that nobody can forge; sha1 and md5 are read and shown, and prove nothing.
_HASHERS: Final[dict[int, Callable[[Bytes], bytes]]] = {
    IDENTITY: bytes,
    SHA2_256: lambda data: hashlib.sha256(data).digest(),
    0x13: lambda data: hashlib.sha512(data).digest(),
    0x14: lambda data: hashlib.sha3_512(data).digest(),
    0x15: lambda data: hashlib.sha3_384(data).digest(),
    0x16: lambda data: hashlib.sha3_256(data).digest(),
    0x17: lambda data: hashlib.sha3_224(data).digest(),
    0x1E: _blake3,
    0x20: lambda data: hashlib.sha384(data).digest(),
    0x56: lambda data: hashlib.sha256(hashlib.sha256(data).digest()).digest(),
    0xB220: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    0xB240: lambda data: hashlib.blake2b(data).digest(),
    0xB260: lambda data: hashlib.blake2s(data).digest(),
}


class PublicCID(bytes):
    """A CID of version 0 or 1 in binary form: well formed, of any codec and hash. Immutable, hashable, ordered by bytes."""

    __slots__ = ()

    def __new__(cls, binary: bytes) -> Self:
        """Takes a binary CID from anywhere, all of ``binary``. Raises CIDError."""
        if len(binary) == 36 and bytes(binary[:4]) in _COMMON:
            return bytes.__new__(cls, binary)
        end = _end(binary, 0)
        if end != len(binary):
            raise CIDError(f"binary CID: {len(binary) - end} bytes too many")
        return bytes.__new__(cls, binary)

    @classmethod
    def read(cls, data: bytes, start: int = 0) -> tuple[Self, int]:
        """Reads the binary CID that begins at ``start`` of longer bytes; gives it and where it ends. Raises CIDError."""
        end = _end(data, start)
        return bytes.__new__(cls, data[start:end]), end

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads any text form: version 0 (``Qm...``), and version 1 in any base. Raises CIDError."""
        if len(text) == 59 and text[0] == "b":
            return bytes.__new__(cls, _parsed_engine(text))
        if text[:2] == "Qm":
            if len(text) != 46:
                raise CIDError(f"CID {_shown(text)}: {len(text)} characters, version 0 has 46", hint="copy it again, in full")
            binary = multibase.decode_base58(text)
            if len(binary) != 34 or binary[:2] != _V0_HEAD:
                raise CIDError(f"CID {_shown(text)}: no sha2-256 of version 0", hint="copy it again, in full")
            return bytes.__new__(cls, binary)
        if not text:
            raise CIDError("CID: empty text", hint="a CID looks like bafy..., bafk... or Qm...")
        try:
            binary = multibase.decode(text)
            if binary[:1] == b"\x12":
                raise CIDError("version 0 is written without a letter for its base", hint="leave the first letter out")
            return cls(binary)
        except CIDError as problem:
            raise CIDError(f"CID {_shown(text)}: {problem.message}", hint=problem.hint) from problem

    @classmethod
    def of(cls, codec: int, data: Bytes) -> Self:
        """Names ``data`` by version 1 and sha2-256."""
        return cls.make(1, codec, SHA2_256, hashlib.sha256(data).digest())

    @classmethod
    def make(cls, version: int, codec: int, hash_code: int, digest: bytes) -> Self:
        """Puts one together. Raises CIDError where the parts do not fit each other."""
        tail = varint(hash_code) + varint(len(digest)) + digest
        if version == 0:
            if codec != DAG_PB or hash_code != SHA2_256:
                raise CIDError("version 0 names dag-pb by sha2-256 and nothing else", hint="use version 1")
            return cls(tail)
        if version != 1:
            raise CIDError(f"CID version {version} is unknown")
        return cls(b"\x01" + varint(codec) + tail)

    @classmethod
    def inlined(cls, codec: int, data: bytes) -> Self:
        """Carries ``data`` within the name (the identity hash). Raises CIDError if it is longer than 128 bytes."""
        return cls.make(1, codec, IDENTITY, data)

    @property
    def version(self) -> int:
        """0 or 1."""
        return 0 if self[0] == 0x12 else 1

    @property
    def codec(self) -> int:
        """The multicodec number that says how the block is read."""
        common = _COMMON.get(self[:4])
        if common is not None:
            return common
        return DAG_PB if self[0] == 0x12 else _varint_at(self, 1)[0]

    @property
    def multihash(self) -> bytes:
        """Hash, length and digest, as public blockstores key blocks."""
        return bytes(self) if self[0] == 0x12 else self[_varint_at(self, 1)[1] :]

    @property
    def hash_code(self) -> int:
        """The multicodec number of the hash."""
        return _varint_at(self.multihash, 0)[0]

    @property
    def digest(self) -> bytes:
        """The digest; the data itself, of an identity CID."""
        tail = self.multihash
        return tail[_varint_at(tail, _varint_at(tail, 0)[1])[1] :]

    @property
    def binary(self) -> bytes:
        """The binary form, as plain bytes."""
        return bytes(self)

    @property
    def inline(self) -> bytes | None:
        """The bytes of the block where the name carries them (the identity hash); None otherwise."""
        if self[:4] in _COMMON:  # nearly all: a walk of a large directory asks this of each link, more than once
            return None
        return self.digest if self.hash_code == IDENTITY else None

    @property
    def names_node(self) -> bool:
        """Whether it names a dag-pb block that somebody has to send. A walk asks this of links by the hundred for a block."""
        head = self[:4]
        return head == _PB_HEAD or (head not in _COMMON and self.codec == DAG_PB and self.hash_code != IDENTITY)

    @property
    def codec_name(self) -> str:
        """As in the multicodec table, or the number in hexadecimal."""
        return codec_name(self.codec)

    @property
    def hash_name(self) -> str:
        """As in the multicodec table, or the number in hexadecimal."""
        return hash_name(self.hash_code)

    def block(self) -> CID:
        """The engine's name of the same bytes (specs/0002 §8).

        dag-pb, raw and dag-cbor stay what they are; any other codec has its raw twin, as a digest names bytes whatever they
        mean. An identity CID gives the name that its bytes have by sha2-256. Raises CIDError for any other hash.
        """
        if len(self) == 36 and self[:4] in _COMMON:
            return bytes.__new__(CID, self)  # which these two looks have checked
        if self[0] == 0x12:
            return CID.from_digest(DAG_PB, self[2:])
        codec = self.codec if self.codec in CODECS else RAW
        code = self.hash_code
        if code == SHA2_256:
            return CID.from_digest(codec, self.digest)
        if code == IDENTITY:
            return CID.of(codec, self.digest)
        raise CIDError(
            f"CID {self}: its hash is {self.hash_name}, and wherry moves blocks by sha2-256",
            hint="add the data again with sha2-256 where it comes from",
        )

    def to_version(self, version: int) -> PublicCID:
        """The same block under version 0 or 1. Raises CIDError where version 0 cannot say it."""
        return PublicCID.make(version, self.codec, self.hash_code, self.digest)

    def to_codec(self, codec: int) -> PublicCID:
        """The same bytes, read as ``codec``; of version 1 unless that is dag-pb in version 0 already."""
        version = 0 if self.version == 0 and codec == DAG_PB else 1
        return PublicCID.make(version, codec, self.hash_code, self.digest)

    def to_base(self, name: str) -> str:
        """Writes it in the base ``name``, of `multibase.BASES`. Raises CIDError; version 0 has base58btc alone."""
        if self[0] != 0x12:
            return multibase.encode(name, bytes(self))
        if name != "base58btc":
            raise CIDError(f"CID {self}: version 0 is written in base58btc alone", hint="make it version 1 first")
        return multibase.encode_base58(bytes(self))

    def verify(self, data: Bytes, *, origin: str = "") -> None:
        """Checks that it names ``data``, a whole block. Raises IntegrityError naming ``origin``; CIDError for a hash that
        cannot be checked here.
        """
        code = self.hash_code
        hasher = _HASHERS.get(code)
        if hasher is None:
            raise CIDError(f"CID {self}: bytes cannot be checked by {hash_name(code)}")
        try:
            digest = hasher(data)
        except ImportError:
            raise CIDError(f"CID {self}: {hash_name(code)} needs a package", hint=f"pip install {hash_name(code)}") from None
        if digest != self.digest:
            raise IntegrityError(f"block {self}: the bytes{f' from {origin}' if origin else ''} do not match their CID")

    def __str__(self) -> str:
        if self[0] == 0x12:
            return multibase.encode_base58(bytes(self))
        if len(self) == 36 and self[:4] in _COMMON:
            return str(CID(bytes(self)))
        return multibase.encode("base32", bytes(self))

    def __repr__(self) -> str:
        return f"PublicCID({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def parse_path(text: str) -> tuple[PublicCID, str]:
    """Reads ``CID[/PATH]``, also behind ``/ipfs/`` or ``ipfs://``; gives the CID and the path without slashes around it.

    Raises CIDError.
    """
    if text[:8].lower().startswith(("http://", "https://")):
        raise _url_instead(text)
    for prefix in ("/ipfs/", "ipfs://"):
        text = text.removeprefix(prefix)
    head, _, path = text.partition("/")
    return PublicCID.parse(head), path.strip("/")


def _url_instead(text: str) -> CIDError:
    """Says of a URL where a CID is wanted what to write: most are pasted from a gateway's page."""
    import shlex  # only needed when something is wrong
    from urllib.parse import unquote

    from wherry.weburl import parsed

    hint = "a CID looks like bafy...; who has it is said with --from http://HOST:PORT"
    try:
        url = parsed(text)
    except ValueError:
        return CIDError(f"{_shown(text)} is a URL, and no CID", hint=hint)
    _, space, what = [*url.target.partition("?")[0].split("/", 2), "", ""][:3]
    if space in ("ipfs", "ipns") and what:
        host = f"[{url.host}]" if ":" in url.host else url.host
        said = shlex.quote(unquote(what.rstrip("/")))
        hint = f"name the CID, and apart from it who has it: `wherry get {said} --from {url.scheme}://{host}:{url.port}`"
    return CIDError(f"{_shown(text)} is a URL, and no CID", hint=hint)


def codec_name(number: int) -> str:
    """The name of a codec, or its number in hexadecimal."""
    return CODEC_NAMES.get(number) or f"0x{number:x}"


def hash_name(number: int) -> str:
    """The name of a hash, or its number in hexadecimal."""
    return HASHES[number][0] if number in HASHES else f"0x{number:x}"


def codec_number(name: str) -> int:
    """The number of a codec, by its name or by its number as 0x...; raises CIDError."""
    if name in _CODEC_NUMBERS:
        return _CODEC_NUMBERS[name]
    number = int(name, 16) if _NUMBER.fullmatch(name) else -1
    if not 0 <= number < 1 << 63:
        raise CIDError(f"{name[:40]!a} is no codec", hint="codecs: " + ", ".join(sorted(_CODEC_NUMBERS)) + ", or 0x...")
    return number


def varint(number: int) -> bytes:
    """Writes a number from 0 to 2**63 - 1: seven bits a byte, the lowest first, in the shortest form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends. Raises CIDError where it is cut off, longer than need be, or above 63 bits."""
    number = shift = 0
    for index in range(at, min(at + _VARINT_BYTES_MAX, len(data))):
        byte = data[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise CIDError("binary CID: a number in it is longer than it need be")
            return number, index + 1
        shift += 7
    if len(data) - at < _VARINT_BYTES_MAX:
        raise CIDError("binary CID: it is cut off")
    raise CIDError("binary CID: a number in it has more than 63 bits")


def _end(data: bytes, start: int) -> int:
    """Where the CID that begins at ``start`` ends, after every check on it."""
    if data[start : start + 2] == _V0_HEAD:
        end = start + 34
    else:
        version, at = _varint_at(data, start)
        if version != 1:
            raise CIDError(f"binary CID: version {version} is unknown" if version else "binary CID: version 0 has no such form")
        _codec, at = _varint_at(data, at)
        code, at = _varint_at(data, at)
        length, at = _varint_at(data, at)
        name, exact = HASHES.get(code, (hash_name(code), 0))
        if exact and length != exact:
            raise CIDError(f"binary CID: a {name} digest has {exact} bytes, this one says {length}")
        if length > IDENTITY_BYTES_MAX:
            raise CIDError(f"binary CID: a digest of {length} bytes, at most {IDENTITY_BYTES_MAX} are taken")
        end = at + length
    if end > len(data):
        raise CIDError(f"binary CID: it is cut off, {end - len(data)} bytes are missing")
    return end


def _parsed_engine(text: str) -> bytes:
    """Reads 59 characters of base32: nearly always one of the engine's own; else all of the checks say what it is."""
    try:
        return CID.parse(text)
    except CIDError:
        try:
            return PublicCID(multibase.decode(text))
        except CIDError as problem:
            raise CIDError(f"CID {_shown(text)}: {problem.message}", hint=problem.hint) from problem


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:60] + "...")
