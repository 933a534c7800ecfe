"""Block: bytes that were checked against their CID (specs/0002 §4). Making one is verifying it (D4)."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from wherry.cid import CID, RAW, Bytes
from wherry.errors import IntegrityError
from wherry.limits import LEAF_BYTES_MAX, PB_BYTES_MAX
from wherry.names import shown

EMPTY_LEAF: Final = CID.of(RAW, b"")


class Block(NamedTuple):
    """A CID and the bytes that it names. Build one with ``named`` (own bytes) or ``checked`` (foreign bytes)."""

    cid: CID
    data: bytes


def largest(cid: CID) -> int:
    """Tells how many bytes a block of this name may have: of data; of a node, wherry's own (which are shorter) or anybody's."""
    return LEAF_BYTES_MAX if cid.codec == RAW else PB_BYTES_MAX


def named(codec: int, data: bytes) -> Block:
    """Names bytes of our own."""
    return Block(CID.of(codec, data), data)


def checked(cid: CID, data: bytes, *, origin: str = "") -> Block:
    """Takes foreign bytes as the block ``cid``. Raises IntegrityError naming ``origin`` if they are not."""
    verify(cid, data, origin=origin)
    return Block(cid, data)


def verify(cid: CID, data: Bytes, *, origin: str = "") -> None:
    """Checks that ``data`` (a whole block) hashes to ``cid``; raises IntegrityError naming ``origin`` if not.

    Releases the interpreter lock while it hashes more than 2 KiB; safe in any thread.
    """
    if hashlib.sha256(data).digest() != cid.digest:
        raise IntegrityError(f"block {cid}: the bytes{f' from {origin}' if origin else ''} do not match their CID")


def other_size(cid: CID, real: int, listed: int, path: str = "") -> IntegrityError:
    """Gives the error for a right block, of the file at ``path``, that is longer or shorter than its parent lists (bytes).

    Both are true to their CIDs: it is the dataset that lies, whoever brought it.
    """
    at = f"{shown(path)}: " if path else ""
    return IntegrityError(
        f"{at}block {cid} has {real} bytes, its parent says {listed}",
        hint="the dataset contradicts itself, whoever serves it: whoever made it must make it again",
    )
