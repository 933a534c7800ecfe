"""What goes over the wire, and the addresses: both sides read it here.

    each side, first    MAGIC
    question            how many wants (u16), bytes that the asker has room for (u32), and a CID (36 bytes) for each want
    answer              for each want, in order, a length (u32) and so many bytes; or ABSENT; or FULL, and nothing more

All numbers are big-endian. A connection takes any number of questions, one after the other.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from wherry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Want

SCHEME: Final = "acme-transport"
MAGIC: Final = b"acme.transport 1\n"
QUESTION: Final = struct.Struct(">HI")
LENGTH: Final = struct.Struct(">I")
CID_BYTES: Final = 36
ABSENT: Final = 0xFFFFFFFF
FULL: Final = 0xFFFFFFFE  # no room for this one; the asker asks again for it and those behind it
RATE_MIN: Final = 8192  # bytes a second; a peer that is slower is given up


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int


def place_of(address: str) -> Place:
    """Reads ``acme-transport://HOST:PORT``. Raises UsageError."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme != SCHEME or not host or port is None or parts.path.strip("/") or "@" in parts.netloc:
        shown = "an address with a user" if "@" in address else f"address {address!r}"  # which may have a password too
        raise UsageError(f"{shown} is not of the form {SCHEME}://HOST:PORT")
    return Place(host, port)


def question(wants: Sequence[Want], room: int) -> bytes:
    """Gives the bytes of a question."""
    return QUESTION.pack(len(wants), room) + b"".join(want.cid for want in wants)
