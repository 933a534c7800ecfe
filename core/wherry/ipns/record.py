"""IPNS records: written, and verified in the order of the public specification (specs/0034 §2-3). Pure: time is given.

https://specs.ipfs.tech/ipns/ipns-record/. What is signed is a DAG-CBOR map; the outer protobuf has that, its signature,
perhaps the key, and in older records copies of the fields that are worth nothing but must not differ.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry import dagcbor, nodekey
from wherry.errors import DataError, DecodeError, IntegrityError, LimitExceeded, UsageError
from wherry.ipns.name import KEY_HEAD, Name, is_ed25519
from wherry.limits import NAME_RECORD_BYTES_MAX, NAME_VALUE_BYTES_MAX
from wherry.nodekey import peer_id_of
from wherry.protobuf import BYTES, VARINT, fields, varint
from wherry.publiccid import IDENTITY

if TYPE_CHECKING:
    from wherry.nodekey import NodeKey

SEQUENCE_MAX: Final = 2**64 - 1
TTL_NS: Final = 300 * 10**9  # where a record does not say
_VALUE, _SIG_V1, _VALIDITY_TYPE, _VALIDITY, _SEQUENCE, _TTL, _KEY, _SIG_V2, _DATA = range(1, 10)
_NUMBERS: Final = frozenset((_VALIDITY_TYPE, _SEQUENCE, _TTL))
_SIGN_V2: Final = b"ipns-signature:"
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ForeignKey(DecodeError):
    """The name is that of a kind of key that is not taken, so none of its records is, whoever gives it."""

    retry = "never"

    def __init__(self, name: Name) -> None:
        super().__init__(
            f"the record of {name} is signed by a kind of key that is not taken",
            hint="only Ed25519 is: resolve the name with another tool, such as `ipfs name resolve`, and use the CID",
        )


class Record(NamedTuple):
    """A record whose signature is right. Whether it has expired is asked of `expired`."""

    name: Name
    value: str  # a path: /ipfs/CID[/...] or /ipns/NAME[/...]
    sequence: int
    ttl_ns: int
    until_ns: int  # the last moment of its validity, nanoseconds since 1970
    binary: bytes

    def expired(self, now_s: float) -> bool:
        """Tells whether it is over at ``now_s``, seconds since 1970."""
        return self.until_ns <= now_s * 1e9

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The best of several records has the highest rank."""
        return self.sequence, self.until_ns, self.binary


def create(key: NodeKey, value: str, sequence: int, until_ns: int, ttl_ns: int = TTL_NS, *, with_v1: bool = True) -> bytes:
    """Writes and signs a record; ``with_v1`` adds the copies that old readers want. Raises UsageError for what has no form."""
    if not 0 <= sequence <= SEQUENCE_MAX:
        raise UsageError("the sequence number of a name has 64 bits, and this one is used up", hint="publish under a new key")
    if not 0 <= ttl_ns <= SEQUENCE_MAX or len(value.encode()) > NAME_VALUE_BYTES_MAX:
        raise UsageError("no record has such a TTL or value")
    path, validity = value.encode(), written(until_ns).encode()
    data = dagcbor.encode({"Value": path, "Validity": validity, "ValidityType": 0, "Sequence": sequence, "TTL": ttl_ns})
    out = bytearray()
    if with_v1:
        out += _bytes(_VALUE, path) + _bytes(_SIG_V1, key.sign(path + validity + b"0"))
        out += _number(_VALIDITY_TYPE, 0) + _bytes(_VALIDITY, validity) + _number(_SEQUENCE, sequence) + _number(_TTL, ttl_ns)
    out += _bytes(_SIG_V2, key.sign(_SIGN_V2 + data)) + _bytes(_DATA, data)
    return bytes(out)


def opened(binary: bytes, name: Name) -> Record:
    """Verifies all of a record of ``name`` but its time.

    Raises LimitExceeded, DecodeError for what is malformed, IntegrityError for what is signed by another key or was changed.
    """
    if len(binary) > NAME_RECORD_BYTES_MAX:
        raise LimitExceeded(f"this is no IPNS record: those have at most {NAME_RECORD_BYTES_MAX:,} bytes")
    try:
        entry = _entry(binary)
    except DecodeError as problem:
        raise DecodeError(f"this is no IPNS record, or one that is damaged: {problem.message}") from problem
    signature, data = entry.get(_SIG_V2), entry.get(_DATA)
    if not signature or not data:
        raise DecodeError(f"the record of {name} has no signature of version 2", hint="those of version 1 alone prove nothing")
    public = _key(entry.get(_KEY), name)
    if not nodekey.verify(peer_id_of(public), _SIGN_V2 + data, signature):
        raise IntegrityError(f"the record of {name} is forged: its signature is not that of the name's key")
    return _read(entry, data, name, binary)


def read(binary: bytes, name: Name, now_s: float) -> Record:
    """Verifies a record, its time too (seconds since 1970). Raises what `opened` does, and DataError for one that is over."""
    found = opened(binary, name)
    if found.expired(now_s):
        raise DataError(f"the record of {name} is over since {written(found.until_ns)}")
    return found


def written(at_ns: int) -> str:
    """Writes a time in nanoseconds since 1970 as records have it. Raises UsageError past the year 9999."""
    seconds, rest = divmod(at_ns, 10**9)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise UsageError("no record is valid so long", hint="choose a shorter --lifetime") from None
    return f"{moment.strftime('%Y').zfill(4)}{moment.strftime('-%m-%dT%H:%M:%S')}.{rest:09d}Z"


def _entry(binary: bytes) -> dict[int, Any]:
    if not binary:
        raise DecodeError("it is empty")
    entry: dict[int, Any] = {}
    for number, how, value in fields(binary):
        if not _VALUE <= number <= _DATA:
            continue  # a field of a later version; what counts is in the signed data
        if how != (VARINT if number in _NUMBERS else BYTES):
            raise DecodeError(f"field {number} is written in another way than it should be")
        if number in entry:
            raise DecodeError(f"field {number} is there twice")
        entry[number] = value
    return entry


def _key(given: bytes | None, name: Name) -> bytes:
    """Gives the Ed25519 key that the name stands for."""
    if given:
        whole = bytes((0, len(given))) + given if len(given) < 0x80 else b""
        if name not in (whole, b"\x12\x20" + hashlib.sha256(given).digest()):
            raise IntegrityError(f"the record of {name} has a key that is not the name's")
        if not is_ed25519(given):
            raise ForeignKey(name)
        return given[len(KEY_HEAD) :]
    public = name.public
    if public is None and name[0] == IDENTITY:  # it carries a key
        raise ForeignKey(name)
    if public is None:
        raise DecodeError(f"the record of {name} does not carry its key, or a kind of key that is not taken")
    return public


def _read(entry: dict[int, Any], data: bytes, name: Name, binary: bytes) -> Record:
    inner = dagcbor.decode(data, bytes_max=NAME_RECORD_BYTES_MAX)
    if not isinstance(inner, dict):
        raise DecodeError(f"the record of {name} holds no map")
    value, validity, kind = inner.get("Value"), inner.get("Validity"), inner.get("ValidityType")
    sequence, ttl = inner.get("Sequence"), inner.get("TTL", TTL_NS)
    if not isinstance(value, bytes) or not isinstance(validity, bytes):
        raise DecodeError(f"the record of {name} has no Value or no Validity")
    if type(kind) is not int or kind != 0:
        raise DecodeError(f"the record of {name} is valid in a way that is not known")
    if type(sequence) is not int or type(ttl) is not int or sequence < 0 or ttl < 0:
        raise DecodeError(f"the record of {name} has no Sequence, or a TTL that is none")
    if entry.get(_SIG_V1) or entry.get(_VALUE):
        copies = tuple(entry.get(n, b"" if n in (_VALUE, _VALIDITY) else 0) for n in (1, 3, 4, 5, 6))
        if copies != (value, kind, validity, sequence, ttl):
            raise IntegrityError(f"the record of {name} says one thing to old readers and another one under its signature")
    try:
        text = value.decode()
        until_ns = _moment(validity.decode("ascii"))
    except (UnicodeDecodeError, ValueError) as problem:
        raise DecodeError(f"the record of {name} has a Value or Validity that is no text of its form") from problem
    return Record(name, text, sequence, ttl, until_ns, bytes(binary))


def _moment(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("another form")
    whole = datetime.fromisoformat(f"{found[1]}+00:00") - _EPOCH
    return (whole.days * 86_400 + whole.seconds) * 10**9 + int((found[2] or "").ljust(9, "0"))


def _bytes(number: int, value: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)
