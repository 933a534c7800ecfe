"""Messages of the Kademlia DHT of IPFS, within bounds (specs/0035 §7). Pure.

The form is that of the public specification (https://github.com/libp2p/specs/tree/master/kad-dht), of which two questions and
their answers are used. Answers are those of strangers: they are looked at as far as the bounds go, and no further.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from itertools import islice
from typing import Final, NamedTuple

from wherry.errors import DecodeError
from wherry.multibase import encode_base58
from wherry.protobuf import BYTES, VARINT, fields, varint
from wherry_libp2p.frames import ANSWER_BYTES_MAX
from wherry_libp2p.places import Place, place_of

CLOSER_MAX: Final = 20  # looked at, of an answer: what an honest one has
PROVIDERS_MAX: Final = 100
ADDRS_MAX: Final = 32  # looked at, of a peer
ID_BYTES_MAX: Final = 42  # an Ed25519 key has 38, a secp256k1 one 39, a hash 34
_FIELDS_MAX: Final = 256  # of an answer, and of a peer
_IDS: Final = {b"\x12\x20": 34, b"\x00\x24": 38, b"\x00\x25": 39}  # how an id begins, and its bytes


class Ask(IntEnum):
    """What is asked; the numbers are the protocol's."""

    PROVIDERS = 3  # who provides what has this hash, and who is nearer to it
    NODE = 4  # who is nearer to this id, or where it is


class Contact(NamedTuple):
    """A peer, as another one named it."""

    peer: bytes  # its id
    places: tuple[Place, ...]  # TCP endpoints of it, each with its id
    others: int = 0  # addresses of it that are none


class Answer(NamedTuple):
    """What a peer of the DHT answered."""

    closer: tuple[Contact, ...]
    providers: tuple[Contact, ...]


def question(ask: Ask, key: bytes) -> bytes:
    """Writes a question about a hash (as a multihash) or an id."""
    return b"\x08" + varint(ask) + b"\x12" + varint(len(key)) + key


def answer_of(data: bytes, ask: Ask) -> Answer:
    """Reads an answer. Raises DecodeError for one that is malformed, too long, or of another kind.

    What is wrong with a single peer in it costs that peer alone.
    """
    if len(data) > ANSWER_BYTES_MAX:
        raise DecodeError(f"an answer of {len(data)} bytes")
    kind = 0
    closer: list[Contact] = []
    providers: list[Contact] = []
    for number, how, value in islice(fields(data), _FIELDS_MAX):
        if number == 1 and how == VARINT and isinstance(value, int):
            kind = value
        elif number in (8, 9) and how == BYTES and isinstance(value, bytes):
            into, most = (closer, CLOSER_MAX) if number == 8 else (providers, PROVIDERS_MAX)
            if len(into) < most and (contact := _contact(value)) is not None:
                into.append(contact)
    if kind != ask:
        raise DecodeError(f"an answer of kind {kind}, where {int(ask)} was asked")
    return Answer(tuple(closer), tuple(providers))


def named(peer: bytes) -> str:
    """Writes an id as people see it."""
    return encode_base58(peer)


def distance(key: bytes, peer: bytes) -> int:
    """Tells how far a peer is from what is looked for."""
    own, other = hashlib.sha256(key).digest(), hashlib.sha256(peer).digest()
    return int.from_bytes(own, "big") ^ int.from_bytes(other, "big")


def right_id(peer: bytes) -> bool:
    """Tells whether this may be the id of a peer: the hash of a key, or a short key itself."""
    return _IDS.get(peer[:2]) == len(peer)


def _contact(data: bytes) -> Contact | None:
    """Reads one peer of an answer; None if it cannot be read, or has no id."""
    peer, addrs = b"", list[bytes]()
    try:
        for number, how, value in islice(fields(data), _FIELDS_MAX):
            if how != BYTES or not isinstance(value, bytes):
                continue
            if number == 1:
                peer = value
            elif number == 2 and len(addrs) < ADDRS_MAX:
                addrs.append(value)
    except DecodeError:
        return None
    if not right_id(peer):
        return None
    who = named(peer)
    read = [place_of(addr, who) for addr in addrs]
    places = dict.fromkeys(place for place in read if place is not None)
    return Contact(peer, tuple(places), len(addrs) - len(places))
