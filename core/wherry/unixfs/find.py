"""Finds what lies at a path of a UnixFS tree from few blocks: of a large directory, the shards on the way alone (0031 §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.block import Block
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import Need
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NotFound
from wherry.limits import UNIXFS_SHARD_DEPTH_MAX
from wherry.manifest import DIR, FILE, UNSAID, Entry
from wherry.names import shown
from wherry.publiccid import PublicCID
from wherry.unixfs.node import Child, DirNode, ShardNode, decode, entry_of, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def find(root: Entry, path: str, inline: Callable[[Block], None] | None = None) -> Generator[Need, Block, Entry]:
    """Finds the entry at ``path``: yields what it needs, is sent the verified block, returns the entry.

    A file's size is known then. Raises NotFound if nothing is there, and what `node.decode` raises; links are not followed, and
    ".." is a name that no directory has. ``inline`` is given the block that is found if its CID carries it: the entry names it
    by its hash, under which nobody may have it.
    """
    entry, seen = root, ""
    parts = [part for part in path.split("/") if part]
    for at, name in enumerate(parts):
        if entry.kind != DIR:
            raise NotFound(
                f"{seen or '/'!r} is no directory, so it has no {name!r} in it", hint="`wherry stat` tells what it is"
            )
        child = yield from _find_in(entry, seen, name)
        if child is None:
            raise NotFound(f"{seen or '/'!r} has no {name!r} in it", hint="`wherry ls` shows what there is")
        seen = f"{seen}/{name}"
        if child.cid.codec == RAW and at < len(parts) - 1:
            raise NotFound(
                f"{seen!r} is no directory, so it has no {parts[at + 1]!r} in it", hint="`wherry stat` tells what it is"
            )
        entry = yield from _entered(child, seen)
        if inline is not None and child.cid.inline is not None:
            inline(Block(entry.cid, child.cid.inline))
    return entry


def _entered(child: Child, path: str) -> Generator[Need, Block, Entry]:
    if child.cid.codec not in (RAW, DAG_PB):
        raise DecodeError(f"{shown(path)}: codec {child.cid.codec_name} is neither a file nor a directory of UnixFS")
    block = yield from _read(child.cid)
    if block.cid.codec == RAW:
        return Entry(child.name, FILE, block.cid, len(block.data), attrs=UNSAID)
    return entry_of(child.name, block, decode(block), child.tsize or 0)


def _read(cid: PublicCID) -> Generator[Need, Block, Block]:
    """Gives a block; of an identity CID, from the name itself. What it yields is nonetheless needed by whoever walks on."""
    name, inline = cid.block(), cid.inline
    if inline is not None:
        return Block(name, inline)
    block = yield Need(name, [])
    if block.cid != name:
        raise IntegrityError(f"block {block.cid} is not {name}, which the search needs")
    return block


def _find_in(directory: Entry, path: str, name: str) -> Generator[Need, Block, Child | None]:
    cid, bits, fanout = PublicCID(directory.cid), hash_of(name), 0
    left = 64
    for _ in range(UNIXFS_SHARD_DEPTH_MAX):
        node = decode((yield from _read(cid)))
        if isinstance(node, DirNode) and not fanout:
            return next((link for link in node.links if link.name == name), None)
        if not isinstance(node, ShardNode) or (fanout and node.fanout != fanout):
            raise DecodeError(f"{shown(path or '/')}: block {cid} should be a shard like the one above it")
        fanout = node.fanout
        left -= fanout.bit_length() - 1
        if left < 0:
            break
        bucket = bits >> left & (fanout - 1)
        link = next((link for link in node.links if link.bucket == bucket), None)
        if link is None or not link.sub:
            return link if link is not None and link.name == name else None
        cid = link.cid
    raise LimitExceeded(f"{shown(path or '/')}: shards are nested more than {UNIXFS_SHARD_DEPTH_MAX} deep")
