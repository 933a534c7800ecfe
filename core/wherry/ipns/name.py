"""An IPNS name: the hash of a key, in any text form (specs/0034 §1). Pure."""

from __future__ import annotations

from typing import Final, Self

from wherry import multibase
from wherry.errors import CIDError
from wherry.nodekey import KEY_BYTES, peer_id_of
from wherry.publiccid import IDENTITY, LIBP2P_KEY, SHA2_256, PublicCID

KEY_HEAD: Final = bytes((0x08, 0x01, 0x12, KEY_BYTES))  # the protobuf of an Ed25519 key: type 1, 32 bytes
_PREFIXES: Final = ("/ipns/", "ipns://")
_TEXT_CHARS_MAX: Final = 256


class Name(bytes):
    """A name: the multihash of the key that signs its records. Immutable, hashable; its text is base36 (k51...)."""

    __slots__ = ()

    def __new__(cls, multihash: bytes) -> Self:
        """Takes the multihash of a key. Raises CIDError for another hash than identity and sha2-256."""
        code = PublicCID(b"\x01\x72" + multihash).hash_code
        if code not in (IDENTITY, SHA2_256):
            raise CIDError("a name is a key or its sha2-256")
        if not multihash[1]:
            raise CIDError("a key of no bytes names nothing")
        return bytes.__new__(cls, multihash)

    @classmethod
    def of(cls, public: bytes) -> Self:
        """The name that an Ed25519 key (32 bytes) has."""
        return cls(bytes((IDENTITY, len(KEY_HEAD) + KEY_BYTES)) + KEY_HEAD + public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads k51..., 12D3Koo..., Qm... or a CID of a key in any base, also behind /ipns/ or ipns://. Raises CIDError."""
        for prefix in _PREFIXES:
            text = text.removeprefix(prefix)
        if len(text) > _TEXT_CHARS_MAX:
            raise CIDError(f"name of {len(text)} characters, at most {_TEXT_CHARS_MAX} are read")
        try:
            if text[:1] == "1" or text[:2] == "Qm":
                return cls(multibase.decode_base58(text))
            cid = PublicCID.parse(text)
        except CIDError as problem:
            hint = "names of the DNS are not followed: what is needed is the key, or a CID"
            hint = hint if "." in text else "a name looks like k51... or 12D3Koo..."
            raise CIDError(f"name {text[:80]!a}: {problem.message}", hint=hint) from problem
        if cid.version != 1 or cid.codec != LIBP2P_KEY:
            raise CIDError(f"{text[:80]!a} names data and no key", hint="use it as it is, without /ipns/")
        return cls(cid.multihash)

    @property
    def public(self) -> bytes | None:
        """The Ed25519 key (32 bytes) that the name carries; None if it only has the hash of one, or another kind of key."""
        key = self[2:]
        return bytes(key[len(KEY_HEAD) :]) if self[0] == IDENTITY and is_ed25519(key) else None

    @property
    def peer_id(self) -> str:
        """The same as the id of a peer, or the base58 of the multihash."""
        return peer_id_of(self.public) if self.public is not None else multibase.encode_base58(bytes(self))

    def __str__(self) -> str:
        return PublicCID(b"\x01\x72" + bytes(self)).to_base("base36")

    def __repr__(self) -> str:
        return f"Name({self})"


def is_ed25519(key: bytes) -> bool:
    """Tells whether ``key`` is the one protobuf form of an Ed25519 key."""
    return len(key) == len(KEY_HEAD) + KEY_BYTES and key.startswith(KEY_HEAD)


def split(text: str) -> tuple[Name, str] | None:
    """Reads NAME[/PATH]; None for what is no name but perhaps a CID. Raises CIDError for /ipns/ with no name behind it."""
    plain = text
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    head, _, path = plain.partition("/")
    if plain == text and head[:3] != "k51" and head[:1] != "1":
        try:
            if PublicCID.parse(head).codec != LIBP2P_KEY:
                return None
        except CIDError:
            return None
    return Name.parse(head), path.strip("/")
