"""A ticket: one word that says what to get and from where (specs/0009).

``wherry:`` and the unpadded base64url form of a canonical DAG-CBOR map. A ticket comes from a stranger by mail or chat, so
every field is checked and bounded before it is used; it holds no secret and proves nothing: the CID does that.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from wherry import dagcbor
from wherry.address import ADDRESS
from wherry.cid import CID
from wherry.errors import DecodeError, LimitExceeded, UnsafeName
from wherry.limits import ADDRESS_CHARS_MAX, TICKET_ADDRESSES_MAX, TICKET_CHARS_MAX
from wherry.names import check_name
from wherry.redaction import masked

PREFIX: Final = "wherry:"
VERSION: Final = 1

_DIGITS: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_KEYS: Final = frozenset({"a", "c", "n", "v"})
_COPY_HINT: Final = "copy it again, in full"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A CID, the addresses to ask first, and the name to give the result.

    Making one checks it. Raises DecodeError, LimitExceeded or UnsafeName.
    """

    cid: CID
    addresses: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        _check_addresses(self.addresses)
        if self.name is not None:
            _check_ticket_name(self.name)
        if len(str(self)) > TICKET_CHARS_MAX:
            raise LimitExceeded(f"ticket: longer than {TICKET_CHARS_MAX} characters", hint="name fewer or shorter addresses")

    def __str__(self) -> str:
        fields: dict[str, object] = {"a": list(self.addresses), "c": self.cid, "v": VERSION}
        if self.name is not None:
            fields["n"] = self.name
        return PREFIX + base64.urlsafe_b64encode(dagcbor.encode(fields)).rstrip(b"=").decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """Reads a ticket. Raises DecodeError, CIDError, LimitExceeded or UnsafeName, all of them DataError."""
        if not text.startswith(PREFIX):
            raise DecodeError(f"ticket: does not begin with {PREFIX!r}", hint="a ticket is what `wherry share` prints")
        if len(text) > TICKET_CHARS_MAX:
            raise LimitExceeded(f"ticket: {len(text)} characters, at most {TICKET_CHARS_MAX} are read")
        data = _from_base64url(text[len(PREFIX) :])
        try:
            fields = dagcbor.decode(data)
        except DecodeError as problem:
            raise DecodeError(f"ticket: damaged or cut off ({problem.message})", hint=_COPY_HINT) from problem
        if not isinstance(fields, dict):
            raise DecodeError("ticket: not a map", hint=_COPY_HINT)
        version = fields.get("v")
        if type(version) is not int or version != VERSION:
            raise DecodeError(f"ticket: version {version!r}, this wherry reads {VERSION}", hint="a newer wherry may read it")
        if not fields.keys() <= _KEYS:
            raise DecodeError(f"ticket: unknown fields {sorted(fields.keys() - _KEYS)}")
        cid, addresses, name = fields.get("c"), fields.get("a"), fields.get("n", "")
        if not isinstance(cid, CID):
            raise DecodeError("ticket: its field c must be a link")
        if not isinstance(addresses, list):
            raise DecodeError("ticket: its field a must be a list of addresses")
        if not isinstance(name, str):
            raise DecodeError("ticket: its field n must be text")
        texts = tuple(address for address in addresses if isinstance(address, str))
        if len(texts) != len(addresses):
            raise DecodeError("ticket: an address must be text")
        return cls(cid, texts, name if "n" in fields else None)


def usable_name(name: str) -> str | None:
    """Gives ``name`` if a ticket may carry it, None if not: a name is a comfort, and no reason to refuse a share."""
    try:
        _check_ticket_name(name)
    except UnsafeName:
        return None
    return name


def _check_ticket_name(name: str) -> None:
    check_name(name)
    if not name.isprintable():
        raise UnsafeName(f"ticket: the name {name!a} has characters that cannot be shown")


def _check_addresses(addresses: tuple[str, ...]) -> None:
    if len(addresses) > TICKET_ADDRESSES_MAX:
        raise LimitExceeded(f"ticket: {len(addresses)} addresses, at most {TICKET_ADDRESSES_MAX} are taken")
    for address in addresses:
        if len(address) > ADDRESS_CHARS_MAX:
            raise LimitExceeded(f"ticket: an address of {len(address)} characters, at most {ADDRESS_CHARS_MAX} are taken")
        if not ADDRESS.fullmatch(address):
            raise DecodeError(f"ticket: {masked(address)!a} is not an address", hint="an address looks like http://host:port")
    if len(set(addresses)) != len(addresses):
        raise DecodeError("ticket: an address is given twice")


def _from_base64url(digits: str) -> bytes:
    if not _DIGITS.fullmatch(digits) or len(digits) % 4 == 1:
        raise DecodeError("ticket: not base64url without padding", hint=_COPY_HINT)
    data = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != digits:
        raise DecodeError("ticket: its last digit has stray bits", hint=_COPY_HINT)
    return data
