"""The little that a gateway reads of an IPNS record: whose it is, and how long it may be kept (specs/0033 §9). Pure.

Whether a record is true is not looked at here: who stores it has verified it, and who gets it will.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from wherry import dagcbor, multibase
from wherry.errors import CIDError, DecodeError, LimitExceeded
from wherry.protobuf import fields
from wherry.publiccid import LIBP2P_KEY, PublicCID

_TTL_S: Final = 300  # of a record that does not say
_DATA: Final = 9
_TIME: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")


def name_of(text: str) -> bytes:
    """Reads a name of IPNS in any form: a CID of a key, or a bare peer id. Gives its multihash. Raises CIDError."""
    if text[:1] in ("1", "Q"):
        binary = multibase.decode_base58(text)
        if binary[:2] != b"\x12\x20" and binary[:1] != b"\0":
            raise CIDError("it is neither a key nor the hash of one")
        return PublicCID(b"\x01\x72" + binary).multihash
    cid = PublicCID.parse(text)
    if cid.version != 1 or cid.codec != LIBP2P_KEY:
        raise CIDError("its codec is not libp2p-key")
    return cid.multihash


def value_of(record: bytes) -> str:
    """Gives the path that a record leads to, in which nothing is escaped; "" for one that is malformed."""
    value = _inner(record).get("Value")
    try:
        return value.decode() if isinstance(value, bytes) else ""
    except UnicodeDecodeError:
        return ""


def _inner(record: bytes) -> dict[str, dagcbor.Value]:
    try:
        data = next(value for number, _, value in fields(record) if number == _DATA and isinstance(value, bytes))
        inner = dagcbor.decode(data)
    except (DecodeError, LimitExceeded, StopIteration):
        return {}
    return inner if isinstance(inner, dict) else {}


def freshness(record: bytes, now: dt.datetime) -> int:
    """Gives for how many seconds a record may be kept: its TTL, and no longer than it is valid. 0 for one that is malformed."""
    inner = _inner(record)
    ttl, end = inner.get("TTL"), _end(inner)
    seconds = ttl // 10**9 if isinstance(ttl, int) and ttl >= 0 else _TTL_S
    return max(0, min(seconds, int((end - now).total_seconds()))) if end is not None else 0


def is_over(record: bytes, now: dt.datetime) -> bool:
    """Tells whether a record counts no more; also of one that is malformed."""
    end = _end(_inner(record))
    return end is None or end <= now


def _end(inner: dict[str, dagcbor.Value]) -> dt.datetime | None:
    until = inner.get("Validity")
    found = _TIME.fullmatch(until) if isinstance(until, bytes) else None
    try:
        return dt.datetime.fromisoformat(found.group(1).decode()).replace(tzinfo=dt.UTC) if found is not None else None
    except ValueError:
        return None
