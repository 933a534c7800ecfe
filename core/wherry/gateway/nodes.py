"""What a gateway reads in one block: its links, and what UnixFS says that it is (specs/0033 §5). Pure.

Names are kept as they are, since here they are only compared and shown; whoever writes them to a disk checks them first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import mmh3

from wherry import dagpb, ipld
from wherry.cid import DAG_PB
from wherry.errors import DataError, DecodeError, IntegrityError, of_block
from wherry.ipld import LINKED
from wherry.unixfs import data as unixfs

if TYPE_CHECKING:
    from wherry.publiccid import PublicCID

_MURMUR3: Final = 0x22
_FANOUT_MAX: Final = 1024
_BUCKET: Final = re.compile(rb"[0-9A-F]+")
HASH_BITS: Final = 64


class Entry(NamedTuple):
    """A link of a directory."""

    name: bytes
    cid: PublicCID
    tsize: int | None  # bytes of all blocks below, as its writer said


class Directory(NamedTuple):
    """A directory in one block, its entries in the order of the block."""

    entries: tuple[Entry, ...]


class Slot(NamedTuple):
    """A link of a shard: an entry, or (``sub``) a shard of those that share the bucket."""

    bucket: int
    entry: Entry
    sub: bool


class Shard(NamedTuple):
    """A piece of a large directory."""

    slots: tuple[Slot, ...]
    fanout: int

    @property
    def bits(self) -> int:
        """Bits of a name's hash that it spreads by."""
        return self.fanout.bit_length() - 1


class File(NamedTuple):
    """A file, or a part of one: bytes inside, then those of its pieces."""

    data: bytes
    pieces: tuple[tuple[PublicCID, int], ...]  # and bytes of each
    size: int


class Symlink(NamedTuple):
    """A symbolic link."""

    target: bytes


View: TypeAlias = Directory | Shard | File | Symlink


def view(cid: PublicCID, data: bytes) -> View:
    """Reads a dag-pb block as UnixFS. Raises DecodeError, IntegrityError, LimitExceeded, which name it."""
    try:
        return _view(data)
    except DataError as problem:
        raise of_block(problem, cid) from problem


def _view(data: bytes) -> View:
    node = dagpb.decode(data)
    if node.data is None:
        raise DecodeError("a dag-pb block without UnixFS data")
    message = unixfs.decode(node.data)
    if message.type == unixfs.DIRECTORY:
        return Directory(tuple([Entry(link.name or b"", link.cid, link.tsize) for link in node.links]))
    if message.type in (unixfs.FILE, unixfs.RAW_LEAF):
        return _file(node, message)
    if message.type == unixfs.SYMLINK:
        return Symlink(message.data or b"")
    if message.type == unixfs.HAMT_SHARD:
        return _shard(node, message)
    raise DecodeError("UnixFS metadata, which is neither a file nor a directory")


def _file(node: dagpb.PBNode, message: unixfs.Data) -> File:
    if len(node.links) != len(message.blocksizes):
        raise DecodeError(f"a file of {len(node.links)} pieces and {len(message.blocksizes)} sizes")
    if message.filesize is not None and message.filesize != message.size:
        raise IntegrityError(f"a file that says {message.filesize} bytes, and whose pieces have {message.size}")
    if any(link.name for link in node.links):
        raise DecodeError("a file whose pieces have names")
    pieces = tuple([(link.cid, size) for link, size in zip(node.links, message.blocksizes, strict=True)])
    return File(message.data or b"", pieces, message.size)


def _shard(node: dagpb.PBNode, message: unixfs.Data) -> Shard:
    fanout = message.fanout or 0
    if fanout % 8 or fanout & (fanout - 1) or not 8 <= fanout <= _FANOUT_MAX:
        raise DecodeError(f"a shard of {fanout} buckets")
    if message.hash_type != _MURMUR3:
        raise DecodeError(f"a shard by the hash {message.hash_type}")
    bits = message.data or b""
    if len(bits) > fanout // 8 or int.from_bytes(bits, "big").bit_count() != len(node.links):
        raise DecodeError("a shard whose bit field does not fit its links")
    width = len(f"{fanout - 1:X}")
    slots = []
    before = -1
    for link in node.links:
        name = link.name or b""
        bucket = int(name[:width], 16) if _BUCKET.fullmatch(name[:width]) and len(name) >= width else -1
        if not before < bucket < fanout:
            raise DecodeError("a shard whose links are not in the order of its buckets")
        before = bucket
        slots.append(Slot(bucket, Entry(name[width:], link.cid, link.tsize), len(name) == width))
    return Shard(tuple(slots), fanout)


def name_hash(name: bytes) -> int:
    """Gives the 64 bits by which a large directory spreads its entries."""
    return int.from_bytes(mmh3.mmh3_x64_128_digest(name, 0)[7::-1], "big")


def links(cid: PublicCID, data: bytes) -> list[PublicCID]:
    """Gives all links of a block, in its order. A codec that has none, or is not known here, gives none.

    Raises DecodeError and LimitExceeded, which name the block.
    """
    if cid.codec == DAG_PB:
        try:
            return [link.cid for link in dagpb.decode(data).links]
        except DataError as problem:
            raise of_block(problem, cid) from problem
    if cid.codec not in LINKED:
        return []
    return [link for _, link in ipld.links(ipld.read_block(cid, data))]
