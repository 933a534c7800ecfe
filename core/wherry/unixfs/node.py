"""What a reader takes from one dag-pb block of UnixFS: a file, a directory, a shard of one, a symbolic link (specs/0031 §6).

Decoding is validating: what these functions return obeys every rule that can be seen in one block. `walk` checks what needs the
parent. Names are checked here, before anybody can write them anywhere.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry import dagpb
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import Root
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, UnsafeName, of_block
from wherry.limits import TREE_BYTES_MAX, UNIXFS_FANOUT_MAX, UNIXFS_SHARD_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK, UNSAID, Attrs, Entry
from wherry.names import check_name, check_target, shown
from wherry.unixfs import data as unixfs_data

if TYPE_CHECKING:
    from wherry.block import Block
    from wherry.publiccid import PublicCID

_MTIME_ABS_MAX: Final = 1 << 40  # seconds; what no file system takes is left out
_MURMUR3: Final = 0x22
_HASH_BITS: Final = 64  # of a name, that a directory is spread by


def hash_of(name: str) -> int:
    """The number of 64 bits by which names are spread over shards: the first half of murmur3-x64-128."""
    import mmh3  # few directories are so large

    return int.from_bytes(mmh3.mmh3_x64_128_digest(name.encode("utf-8", "surrogatepass"), 0)[:8], "little")


class Child(NamedTuple):
    """A link of a directory: an entry, or a shard of the directory (``sub``, without a name)."""

    name: str
    cid: PublicCID
    tsize: int | None = None  # a hint: bytes of all blocks below
    bucket: int = 0  # of a shard
    sub: bool = False


class FileNode(NamedTuple):
    """All or part of a file: bytes in the block itself, and behind them those of its children."""

    type: int
    data: bytes
    children: list[tuple[PublicCID, int]]  # each with its bytes of the file
    size: int
    mode: int | None = None
    mtime: tuple[int, int] | None = None


class DirNode(NamedTuple):
    """A directory; of several entries with one name the first."""

    links: list[Child]
    mode: int | None = None
    mtime: tuple[int, int] | None = None


class ShardNode(NamedTuple):
    """A shard of a large directory, in the order of its buckets."""

    fanout: int
    links: list[Child]
    mode: int | None = None
    mtime: tuple[int, int] | None = None

    def check_place(self, bits: tuple[int, ...], path: str) -> None:
        """Checks that every name belongs into the shard that ``bits`` lead to: so none can occur twice in a directory.

        Raises IntegrityError; LimitExceeded for a shard that is nested too deep.
        """
        width = self.fanout.bit_length() - 1
        if len(bits) >= UNIXFS_SHARD_DEPTH_MAX or (len(bits) + 1) * width > _HASH_BITS:
            raise LimitExceeded(f"{shown(path or '/')}: shards are nested more than {UNIXFS_SHARD_DEPTH_MAX} deep")
        above = 0
        for bucket in bits:
            above = above << width | bucket
        shift = _HASH_BITS - (len(bits) + 1) * width
        for link in self.links:
            if not link.sub and hash_of(link.name) >> shift != above << width | link.bucket:
                raise IntegrityError(f"{shown(path or '/')}: the name {shown(link.name)} lies in a shard that is not its own")


class LinkNode(NamedTuple):
    """A symbolic link."""

    target: str
    mode: int | None = None
    mtime: tuple[int, int] | None = None


Node: TypeAlias = FileNode | DirNode | ShardNode | LinkNode


def decode(block: Block) -> Node:
    """Reads a verified dag-pb block. Raises DecodeError, IntegrityError, LimitExceeded or UnsafeName."""
    if block.cid.codec != DAG_PB:
        raise DecodeError(f"block {block.cid} is no part of UnixFS: its codec is not dag-pb")
    try:
        node = dagpb.decode(block.data)
        if node.data is None:
            raise DecodeError("it has no Data")
        data = unixfs_data.decode(node.data)
        if data.type in (unixfs_data.FILE, unixfs_data.RAW_LEAF):
            return _file(node, data)
        if data.type == unixfs_data.DIRECTORY:
            return DirNode(_entries(node.links), data.mode, data.mtime)
        if data.type == unixfs_data.HAMT_SHARD:
            return _shard(node, data)
        if data.type == unixfs_data.SYMLINK:
            return _symlink(node, data)
        raise DecodeError(f"its type {data.type} is none that is read")
    except (DecodeError, IntegrityError, LimitExceeded, UnsafeName) as problem:
        raise of_block(problem, block.cid) from problem


def _file(node: dagpb.PBNode, data: unixfs_data.Data) -> FileNode:
    if len(node.links) != len(data.blocksizes):
        raise DecodeError(f"it links {len(node.links)} blocks and lists the sizes of {len(data.blocksizes)}")
    inline = data.data or b""
    size = len(inline) + sum(data.blocksizes)
    if data.filesize is not None and data.filesize != size:
        raise IntegrityError(f"it says that the file has {data.filesize} bytes, and its parts have {size}")
    if size > TREE_BYTES_MAX:
        raise LimitExceeded(f"a file of {size} bytes, at most {TREE_BYTES_MAX} are read")
    if any(link.name for link in node.links):
        raise DecodeError("a part of a file has a name")
    children = [(link.cid, size) for link, size in zip(node.links, data.blocksizes, strict=True)]
    return FileNode(data.type, inline, children, size, data.mode, data.mtime)


def _entries(links: tuple[dagpb.PBLink, ...]) -> list[Child]:
    found: dict[str, Child] = {}
    for link in links:
        name = _name(link.name)
        check_name(name)
        found.setdefault(name, Child(name, link.cid, link.tsize))
    return list(found.values())


def _name(name: bytes | None) -> str:
    try:
        return (name or b"").decode()
    except UnicodeDecodeError:
        raise UnsafeName(f"name {shown(name)} is not valid Unicode") from None


def _shard(node: dagpb.PBNode, data: unixfs_data.Data) -> ShardNode:
    fanout = data.fanout or 0
    if data.hash_type != _MURMUR3:
        raise DecodeError(f"a shard by the hash {data.hash_type}, only murmur3 is read")
    if not 8 <= fanout <= UNIXFS_FANOUT_MAX or fanout & (fanout - 1):
        raise DecodeError(f"a shard of {fanout} buckets: it must be a power of two, 8 to {UNIXFS_FANOUT_MAX}")
    buckets = _buckets(fanout)
    width = len(f"{fanout - 1:X}")
    links: list[Child] = []
    last = -1
    for cid, written, tsize in node.links:
        name = _name(written)
        rest = name[width:]
        bucket = buckets.get(name[:width], -1)
        if bucket < 0:
            raise DecodeError(f"the link {shown(name)} names no bucket of {fanout}")
        if bucket <= last:
            raise DecodeError("its links are not in the order of their buckets, each once")
        if rest:
            check_name(rest)
        elif cid.codec != DAG_PB:
            raise DecodeError("a shard in it is no dag-pb block")
        links.append(Child(rest, cid, tsize, bucket, not rest))
        last = bucket
    _check_bitmap(data.data or b"", fanout, links)
    return ShardNode(fanout, links, data.mode, data.mtime)


@cache  # for eight powers of two at the most
def _buckets(fanout: int) -> dict[str, int]:
    """The one way in which each bucket is written: upper-case hexadecimal, of as many digits as the last one has."""
    width = len(f"{fanout - 1:X}")
    return {f"{bucket:0{width}X}": bucket for bucket in range(fanout)}


def _check_bitmap(bitmap: bytes, fanout: int, links: list[Child]) -> None:
    """The buckets in use, as one big-endian number, zeros in front left out (or not); what the specification's text says,
    little-endian bytes, nobody writes.
    """
    if len(bitmap) > fanout // 8:
        raise DecodeError(f"a bitmap of {len(bitmap)} bytes for {fanout} buckets")
    used = 0
    for link in links:
        used |= 1 << link.bucket
    if int.from_bytes(bitmap, "big") != used:
        raise IntegrityError("its bitmap is not that of its links")


def _symlink(node: dagpb.PBNode, data: unixfs_data.Data) -> LinkNode:
    if node.links:
        raise DecodeError("a symbolic link has no links to blocks")
    target = _name(data.data or b"")
    check_target(target)
    return LinkNode(target, data.mode, data.mtime)


def entry_of(name: str, block: Block, node: Node, hint: int = 0) -> Entry:
    """Says what a node stands for. A directory's size is a ``hint``, and it counts as one entry: nothing tells more."""
    if isinstance(node, LinkNode):
        return Entry(name, LINK, target=node.target)
    if isinstance(node, FileNode):
        executable = None if node.mode is None else node.mode & 0o100 != 0
        mtime = node.mtime if node.mtime is not None and abs(node.mtime[0]) <= _MTIME_ABS_MAX else None
        return Entry(name, FILE, block.cid, node.size, 1, Attrs(executable, mtime))
    return Entry(name, DIR, block.cid, hint)


def root_of(block: Block) -> Root:
    """Reads a root block of UnixFS. Raises what `decode` raises; a link is no root."""
    if block.cid.codec == RAW:
        return Root(Entry("", FILE, block.cid, len(block.data), attrs=UNSAID), {})
    node = decode(block)
    hint = sum(link.tsize or 0 for link in node.links) if isinstance(node, DirNode | ShardNode) else 0
    return Root(entry_of("", block, node, min(hint, TREE_BYTES_MAX)), {}, exact=isinstance(node, FileNode))
