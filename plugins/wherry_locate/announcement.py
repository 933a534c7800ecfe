"""What a node says to a tracker: the signed record of an announcement, written and read (specs/0028 §3).

The form is the `announcement` schema that https://specs.ipfs.tech/routing/http-routing-v1/ had for PUT: the payload as
DAG-JSON, signed behind a prefix by the key that its peer id names. Pure: time is given.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.cid import CID
from wherry.errors import CIDError, DataError, DecodeError, LimitExceeded
from wherry.nodekey import verify
from wherry_locate.multiaddr import MULTIADDR_CHARS_MAX

if TYPE_CHECKING:
    from wherry.nodekey import NodeKey

PATH: Final = "/routing/v1/providers"
BODY_BYTES_MAX: Final = 128 << 10  # CIDS_MAX of them take 63 KB
CIDS_MAX: Final = 1000
ADDRS_MAX: Final = 16
PROTOCOLS_MAX: Final = 8
TTL_S_MAX: Final = 7 * 86_400
_PREFIX: Final = b"PUT /routing/v1 announcement:"
_SCHEMA: Final = "announcement"
_SCOPE: Final = "recursive"  # the whole DAG behind each CID
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_PROTOCOL: Final = re.compile(r"[a-z0-9][a-z0-9./_-]{0,63}", re.ASCII)
_TEXT: Final = re.compile(r"[\x20-\x7e]*", re.ASCII)
_SIGNATURE_CHARS: Final = 87  # "m" and 64 bytes in base64 without padding
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Announcement(NamedTuple):
    """A node says that it has datasets, or has them no more."""

    peer: str  # who says it
    at: int  # when, in microseconds since 1970; each one of a node's is later than the one before
    ttl_s: float  # for how long it shall count; 0: as the tracker likes
    addrs: tuple[str, ...]  # multiaddrs of the node, without its id
    protocols: tuple[str, ...]
    cids: tuple[CID, ...]
    partial: bool = False  # it has a part of each
    withdraw: bool = False  # it takes back what it said of ``cids``, of all for none, at ``addrs``


def encode(said: Announcement, key: NodeKey) -> bytes:
    """Writes the body of a request that announces, signed with ``key``, which is that of ``said.peer``."""
    payload: dict[str, Any] = {
        "CID": [str(cid) for cid in said.cids], "Scope": _SCOPE, "Timestamp": _written(said.at),
        "TTL": round(said.ttl_s * 1000), "ID": said.peer, "Addrs": list(said.addrs), "Protocols": list(said.protocols),
    }  # fmt: skip
    if said.partial:
        payload["Partial"] = True
    if said.withdraw:
        payload["Withdraw"] = True
    signature = "m" + base64.b64encode(key.sign(_PREFIX + _dag_json(payload))).decode().rstrip("=")
    return json.dumps({"Providers": [{"Schema": _SCHEMA, "Payload": payload, "Signature": signature}]}).encode()


def decode(body: bytes) -> Announcement:
    """Reads such a body, and checks its signature last, which costs most.

    Raises DecodeError for what is no JSON of this form, and DataError for what it must not say.
    """
    if len(body) > BODY_BYTES_MAX:
        raise LimitExceeded(f"an announcement has at most {BODY_BYTES_MAX:,} bytes")
    payload, signature = _opened(body)
    said = _read(payload)
    if not verify(said.peer, _PREFIX + _dag_json(payload), signature):
        raise DataError(f"the signature is not that of {said.peer}")
    return said


def is_protocol(text: str) -> bool:
    """Tells whether an announcement may name this as a protocol."""
    return _PROTOCOL.fullmatch(text) is not None


def _opened(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Gives the one payload and its signature."""
    try:
        whole = json.loads(body, object_pairs_hook=_distinct, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError) as problem:
        raise DecodeError(f"the body is no JSON that is read here: {str(problem)[:100]}") from problem
    records = whole.get("Providers") if isinstance(whole, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DecodeError("the body has no list of Providers")
    if len(records) != 1:
        raise DataError("one record a request is taken, no more and no less")
    record = records[0]
    payload, signature = record.get("Payload"), record.get("Signature")
    if record.get("Schema") != _SCHEMA or not isinstance(payload, dict):
        raise DataError(f"a record has the schema {_SCHEMA!r} and a payload")
    if not isinstance(signature, str) or len(signature) != _SIGNATURE_CHARS or signature[0] != "m":
        raise DataError("the signature is not an Ed25519 one in multibase base64 (m...)")
    try:
        return payload, base64.b64decode(signature[1:] + "==", validate=True)
    except (ValueError, binascii.Error) as problem:
        raise DataError("the signature is no base64") from problem


def _read(payload: dict[str, Any]) -> Announcement:
    for name, value in payload.items():
        for item in value if isinstance(value, list) else [value]:
            plain = isinstance(item, bool | int) or item is None or (isinstance(item, str) and _TEXT.fullmatch(item))
            if not plain or not _TEXT.fullmatch(name):
                raise DataError(f"{name[:40]!a} of the payload is neither plain text nor a number, nor a list of these")
    peer, at, ttl = payload.get("ID"), payload.get("Timestamp"), payload.get("TTL", 0)
    if not isinstance(peer, str):
        raise DataError("the payload has no ID")
    if not isinstance(at, str):
        raise DataError("the payload has no Timestamp")
    if type(ttl) is not int or not 0 <= ttl <= TTL_S_MAX * 1000:
        raise DataError(f"the TTL is no number of milliseconds up to {TTL_S_MAX * 1000:,}")
    partial, withdraw = payload.get("Partial", False), payload.get("Withdraw", False)
    if type(partial) is not bool or type(withdraw) is not bool:
        raise DataError("Partial and Withdraw are true or false")
    protocols = _texts(payload, "Protocols", PROTOCOLS_MAX, 64)
    if not all(map(is_protocol, protocols)):
        raise DataError("a protocol is a word such as transport-wherry-tcp")
    try:
        cids = tuple(dict.fromkeys(CID.parse(text) for text in _texts(payload, "CID", CIDS_MAX, 256)))
    except CIDError as problem:
        raise DataError(problem.message) from problem
    if not cids and not withdraw:
        raise DataError("the payload names no CID")
    addrs = _texts(payload, "Addrs", ADDRS_MAX, MULTIADDR_CHARS_MAX)
    return Announcement(peer, _moment(at), ttl / 1000, addrs, protocols, cids, partial, withdraw)


def _texts(payload: dict[str, Any], name: str, most: int, chars_max: int) -> tuple[str, ...]:
    found = payload.get(name, [])
    if not isinstance(found, list) or len(found) > most:
        raise DataError(f"{name} is a list of at most {most:,}")
    if not all(isinstance(text, str) and len(text) <= chars_max for text in found):
        raise DataError(f"each of {name} is text of at most {chars_max} characters")
    return tuple(found)


def _dag_json(payload: dict[str, Any]) -> bytes:
    """Writes a payload in the one form that is signed: keys in order, no white space; its texts are ASCII."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()


def _written(at: int) -> str:
    return f"{(_EPOCH + timedelta(microseconds=at)).isoformat(timespec='microseconds').removesuffix('+00:00')}Z"


def _moment(text: str) -> int:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError("another form")
        found = datetime.fromisoformat(text)
    except ValueError as problem:
        raise DataError(f"the Timestamp {text[:40]!a} is not of the form 2026-11-28T01:27:23.000000Z") from problem
    return (found - _EPOCH) // timedelta(microseconds=1)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no whole number")
