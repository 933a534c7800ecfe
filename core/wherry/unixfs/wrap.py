"""File bytes inside dag-pb blocks: what stands before and behind them in the block (specs/0031 §8).

A leaf of the older profile is a dag-pb block around a stretch of a file. The bytes lie once, in the user's file; the block is
made again from them by its *wrapping*, a few bytes that are kept with the place. A raw block needs none (b"").
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import DecodeError, IntegrityError
from wherry.protobuf import varint

if TYPE_CHECKING:
    from wherry.cid import CID, Bytes

SCHEME: Final = "unixfs"
LEAF_TYPES: Final = (2, 0)  # File, and Raw, which older programs wrote


class _Scheme(NamedTuple):
    name: str = SCHEME
    coding: str = ""


class Wrapping:
    """What a dataset of UnixFS has in the place of a `Sealing`: its leaves hold plain bytes, some of them in a dag-pb block.

    The key of a leaf is its wrapping; that of a raw block is b"". Thread-safe.
    """

    scheme: Final = _Scheme()

    def wire_size(self, size: int, key: bytes = b"") -> int:
        """Tells how long the block of a leaf of ``size`` bytes is."""
        return wrapped_size(key, size)

    def open_leaf(self, block: memoryview, key: bytes, offset: int, size: int, *, final: bool) -> memoryview:
        """Gives the plain bytes within a verified block. Raises IntegrityError for a block of another form."""
        del offset, final
        return unwrap(block, key, size) if key else block

    def seal_leaf(self, plain: Bytes, key: bytes, offset: int, *, final: bool) -> Bytes:
        """Makes the block again."""
        del offset, final
        return wrap(plain, key) if key else plain


def wrapping_of(block: bytes, plain: bytes) -> bytes:
    """Gives what is around ``plain`` in ``block``: the length of what is before it, that, and what is behind. Raises
    DecodeError where it is not in there in one piece.
    """
    for kind in LEAF_TYPES:
        form = wrapping(len(plain), kind)
        before, behind = split(form)
        if len(block) == len(before) + len(plain) + len(behind) and block.startswith(before) and block.endswith(behind):
            return form
    at = block.find(plain)
    if at < 0:
        raise DecodeError("the bytes of a file do not lie in its block in one piece")
    return varint(at) + block[:at] + block[at + len(plain) :]


def wrapping(size: int, type: int) -> bytes:
    """Gives the wrapping of a usual leaf of ``size`` bytes: ``type``, the bytes, their number, and nothing else."""
    inner = b"\x08" + varint(type) + b"\x12" + varint(size)
    behind = b"\x18" + varint(size)
    head = b"\x0a" + varint(len(inner) + size + len(behind)) + inner
    return varint(len(head)) + head + behind


def split(form: bytes) -> tuple[bytes, bytes]:
    """Gives what is before the bytes, and what is behind them. Raises DecodeError."""
    length = shift = 0
    for at, byte in enumerate(form[:4]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if length > len(form) - at - 1:
                break
            return form[at + 1 : at + 1 + length], form[at + 1 + length :]
    raise DecodeError("a record of how a leaf is wrapped is damaged")


def wrapped_size(form: bytes, size: int) -> int:
    """How long the block is of a leaf of ``size`` bytes."""
    if not form:
        return size
    before, behind = split(form)
    return size + len(before) + len(behind)


def wrap(plain: Bytes, form: bytes) -> bytes:
    """Makes the block of a leaf."""
    before, behind = split(form)
    return b"".join((before, plain, behind))


def unwrap(block: memoryview, form: bytes, size: int) -> memoryview:
    """Gives the bytes of a leaf of ``size`` bytes within its block. Raises IntegrityError for a block of another form."""
    before, behind = split(form)
    stop = len(before) + size
    if len(block) != stop + len(behind) or block[: len(before)] != before or block[stop:] != behind:
        raise IntegrityError("a block is not wrapped as the one before it in its file")
    return block[len(before) : stop]


def is_wrapped(plain: Bytes, form: bytes, cid: CID) -> bool:
    """Tells whether ``plain``, wrapped, is the block ``cid``."""
    before, behind = split(form)
    digest = hashlib.sha256(before)
    digest.update(plain)
    digest.update(behind)
    return digest.digest() == cid.digest
