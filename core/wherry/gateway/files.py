"""What people see under a path: files, links and directories, of UnixFS and of wherry's own datasets (specs/0033 §7, §8).

Large directories are given a page at a time, and a page is found again by the last name before it: nothing is kept between two
requests, and of a directory of a million entries a page reads the blocks on its way and its own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry import ipld, manifest
from wherry.block import Block
from wherry.cid import DAG_CBOR, DAG_PB, RAW
from wherry.dag.walk import Leaf, Need, Walk, find, root_of
from wherry.errors import BlockNotFound, DecodeError, IntegrityError, LimitExceeded, NotFound
from wherry.gateway.blocks import BATCH, Inline, Part
from wherry.gateway.frames import Stretch
from wherry.gateway.nodes import HASH_BITS, Directory, File, Shard, Symlink, name_hash, view
from wherry.gateway.order import Found, bounded, pieces, resolve
from wherry.gateway.rows import Page, linked_rows, native_row
from wherry.limits import GATEWAY_PAGE_ENTRIES, SHARD_DEPTH_MAX
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from wherry.abc.transport import Held
    from wherry.gateway.blocks import Blocks
    from wherry.gateway.nodes import Entry as Link
    from wherry.manifest import Entry

_KIND: Final = re.compile(r"(?:file|dir|shards|dataset|sealed|blocks)/[0-9]{1,9}", re.ASCII)  # specs/0003 §2, 0016 §4


class Thing(NamedTuple):
    """What lies at a path."""

    kind: str  # "file", "dir", "link"; "block": data that is none of them
    cid: PublicCID
    size: int = 0
    target: bytes = b""  # of a link
    entry: Entry | None = None  # of a dataset of wherry's own
    roots: tuple[PublicCID, ...] = ()  # the root, and what the parts of the path led to, as far as they are blocks
    rest: tuple[str, ...] = ()  # the path inside of the block, where that is data and the path leads no further


def look(blocks: Blocks, root: PublicCID, parts: Sequence[str]) -> Thing:
    """Tells what lies at a path. Raises NotFound, BlockNotFound, and what decoding raises."""
    if root.codec == DAG_CBOR:
        data = blocks.node(root)
        if _is_ours(root, data):
            return _look_native(blocks, root, data, parts)
    found = resolve(blocks, root, parts)
    cid = found.cid
    if cid.codec == DAG_CBOR and not found.rest:
        data = blocks.node(cid)
        if _is_ours(cid, data):
            return _look_native(blocks, cid, data, ())._replace(roots=found.roots)
    if cid.codec != DAG_PB:
        kind = "file" if cid.codec == RAW else "block"
        return Thing(kind, cid, blocks.one(cid).size, roots=found.roots, rest=found.rest)
    node = view(cid, blocks.node(cid))
    if isinstance(node, File):
        return Thing("file", cid, node.size, roots=found.roots)
    if isinstance(node, Symlink):
        return Thing("link", cid, len(node.target), node.target, roots=found.roots)
    return Thing("dir", cid, roots=found.roots)


def located(blocks: Blocks, root: PublicCID, parts: Sequence[str]) -> Found:
    """Follows a path, as `resolve`; in a dataset of wherry's own one of its files and directories. Raises what `look` does."""
    if parts and root.codec == DAG_CBOR:
        data = blocks.node(root)
        if _is_ours(root, data):
            way = [root]
            entry: Entry = _driven(blocks, find(root_of(Block(root.block(), data)).entry, "/".join(parts)), way)
            if entry.kind == manifest.LINK:
                raise NotFound(f"{'/'.join(parts)!r} is a symbolic link, which is no block of its own")
            cid = PublicCID(entry.cid)
            return Found(tuple([one for one in dict.fromkeys(way) if one != cid]), cid)
    return resolve(blocks, root, parts)


def _is_ours(cid: PublicCID, data: bytes) -> bool:
    """Tells whether a DAG-CBOR block is a node of wherry's manifests, of this version or another: its kind says so."""
    if b"\x66wherry" not in data:
        return False
    value = ipld.read_block(cid, data)
    kind = value.get("wherry") if isinstance(value, dict) else None
    return isinstance(kind, str) and _KIND.fullmatch(kind) is not None


def _look_native(blocks: Blocks, cid: PublicCID, data: bytes, parts: Sequence[str]) -> Thing:
    root = root_of(Block(cid.block(), data)).entry
    entry: Entry = _driven(blocks, find(root, "/".join(parts)))
    thing = native_thing(entry)
    return thing._replace(cid=cid) if entry.kind == manifest.LINK else thing


def _driven(blocks: Blocks, search: Generator[Need, Block, Entry], way: list[PublicCID] | None = None) -> Entry:
    """Runs a search; ``way`` takes the nodes that it read."""
    try:
        need = next(search)
        while True:
            if way is not None:
                way.append(PublicCID(need.cid))
            need = search.send(_block(blocks, need.cid))
    except StopIteration as found:
        entry: Entry = found.value
        return entry
    except NotFound as problem:
        problem.hint = None  # it is for who has a command line
        raise


def _block(blocks: Blocks, cid: bytes) -> Block:
    name = PublicCID(cid)
    return Block(name.block(), blocks.node(name))


# Bytes of a file


def content(blocks: Blocks, thing: Thing, start: int, stop: int) -> Iterator[Stretch]:
    """Gives the blocks of a file between ``start`` and ``stop``, in order, cut to that.

    Raises BlockNotFound where one is missing, IntegrityError where sizes lie.
    """
    if thing.kind == "link":
        yield Stretch(Inline(thing.target[start:stop]), stop - start)
    elif start >= stop:
        return
    elif thing.entry is not None:
        yield from _native(blocks, thing.entry, start, stop)
    else:
        yield from _unixfs(blocks, thing.cid, thing.size, start, stop)


def _native(blocks: Blocks, entry: Entry, start: int, stop: int) -> Iterator[Stretch]:
    walk = Walk(entry._replace(name=""), start=start, stop=stop)
    batch: list[tuple[PublicCID, int, int]] = []
    while True:
        step = walk.step()
        if step is None:
            break
        if isinstance(step, Need):
            walk.supply(_block(blocks, step.cid))
        elif isinstance(step, Leaf):
            batch.append((PublicCID(step.cid), step.offset, step.size))
            if len(batch) == BATCH:
                yield from _cut(blocks, batch, start, stop)
                batch = []
    yield from _cut(blocks, batch, start, stop)


def _cut(blocks: Blocks, batch: Sequence[tuple[PublicCID, int, int]], start: int, stop: int) -> Iterator[Stretch]:
    for (cid, offset, size), held in zip(batch, blocks.held([cid for cid, _, _ in batch]), strict=True):
        if held is None:
            raise BlockNotFound(f"block {cid} is not here")
        if held.size != size:
            raise IntegrityError(f"block {cid} has {held.size} bytes, its parent says {size}")
        yield _part(held, start - offset, stop - offset)


def _part(held: Held, start: int, stop: int) -> Stretch:
    first, last = max(start, 0), min(stop, held.size)
    whole = first == 0 and last == held.size
    return Stretch(held if whole else Part(held, first, last), last - first)


class _Inner(Part):
    """The bytes inside of a node, read again when they are sent: a reader that is slow holds no memory."""

    def __init__(self, blocks: Blocks, cid: PublicCID, start: int, stop: int) -> None:
        self.size = stop - start
        self._blocks, self._cid = blocks, cid
        self._start, self._stop = start, stop

    def read_into(self, view_of: memoryview) -> None:
        node = view(self._cid, self._blocks.node(self._cid))
        view_of[:] = node.data[self._start : self._stop] if isinstance(node, File) else b""

    def confirm(self) -> bool:
        return False  # it was read to come here

    def open_span(self) -> None:
        return None


def _unixfs(blocks: Blocks, root: PublicCID, size: int, start: int, stop: int) -> Iterator[Stretch]:
    stack = [(root, 0, size)]
    while stack:
        cid, offset, size = stack.pop()
        if cid.codec == DAG_PB:
            node = view(cid, blocks.node(cid))
            if not isinstance(node, File):
                raise DecodeError(f"block {cid} should be a piece of a file")
            if node.size != size:
                raise IntegrityError(f"block {cid} stands for {node.size} bytes, its parent says {size}")
            first, last = max(start - offset, 0), min(stop - offset, len(node.data))
            if first < last:
                yield Stretch(_Inner(blocks, cid, first, last), last - first)
            stack += [piece for piece in pieces(node, offset, (start, stop)) if piece[2]]
            bounded(len(stack))
            continue
        batch = [(cid, offset, size)]
        while stack and len(batch) < BATCH and stack[-1][0].codec != DAG_PB:
            batch.append(stack.pop())
        yield from _cut(blocks, batch, start, stop)


# Directories


def listing(blocks: Blocks, thing: Thing, after: str, count: int = GATEWAY_PAGE_ENTRIES) -> Page:
    """Gives the entries of a directory that come after one of that name. Raises what decoding raises, BlockNotFound."""
    if thing.entry is not None:
        items = list(islice(native_items(blocks, thing.entry, after), count + 1))
        # Nodes of a large one count what is in its directories, too: which entries of how many these are cannot be said.
        return Page([native_row(item) for item in items[:count]], items[count - 1].name if len(items) > count else "")
    node = view(thing.cid, blocks.node(thing.cid))
    mark = after.encode("utf-8", "surrogateescape")
    if isinstance(node, Directory):
        names = sorted({entry.name: entry for entry in reversed(node.entries)}.values())  # of equal names the first counts
        first = bisect_right([entry.name for entry in names], mark) if after else 0
        return _linked(blocks, names[first : first + count + 1], count)._replace(before=first, total=len(names))
    if not isinstance(node, Shard):
        raise DecodeError(f"block {thing.cid} is no directory")
    page = _linked(blocks, list(islice(sharded(blocks, node, after), count + 1)), count)
    return page._replace(hashed=name_hash(mark) / 2**HASH_BITS if after else 0.0)


def _linked(blocks: Blocks, links: list[Link], count: int) -> Page:
    rows = linked_rows(blocks, links[:count])
    return Page(rows, rows[-1].name if len(links) > count else "")


def sharded(blocks: Blocks, root: Shard, after: str = "") -> Iterator[Link]:
    """Goes through the buckets in order, from the one on in which ``after`` lies; those before it are not read.

    Raises BlockNotFound, DecodeError, LimitExceeded.
    """
    mark = name_hash(after.encode("utf-8", "surrogateescape")) if after else -1
    stack = [(root, HASH_BITS, mark >= 0)]  # shard, bits of the hash that are left, whether the mark lies in it
    index = [0]
    while stack:
        shard, left, marked = stack[-1]
        left -= shard.bits
        if left < 0:
            raise LimitExceeded("shards are nested deeper than a hash of 64 bits goes")
        if index[-1] == len(shard.slots):
            stack.pop()
            index.pop()
            continue
        slot = shard.slots[index[-1]]
        index[-1] += 1
        bucket = mark >> left & (shard.fanout - 1) if marked else -1
        if slot.bucket < bucket:
            continue
        if not slot.sub:
            if slot.bucket != bucket:  # in the mark's own bucket alone lies the entry that has its name
                yield slot.entry
            continue
        inner = view(slot.entry.cid, blocks.node(slot.entry.cid))
        if not isinstance(inner, Shard) or inner.fanout != shard.fanout:
            raise DecodeError(f"block {slot.entry.cid} should be a shard like the one above it")
        stack.append((inner, left, slot.bucket == bucket))
        index.append(0)


def native_items(blocks: Blocks, entry: Entry, after: str = "") -> Iterator[Entry]:
    """Goes through the entries of a directory of wherry's own, from behind ``after`` on. Raises as `sharded`."""
    stack = [(PublicCID(entry.cid), 0)]
    while stack:
        cid, level = stack.pop()
        node = manifest.decode(_block(blocks, cid))
        if isinstance(node, manifest.DirNode):
            yield from [item for item in node.entries if item.name > after]
        elif isinstance(node, manifest.ShardsNode) and level < SHARD_DEPTH_MAX:
            stack += [(PublicCID(shard.cid), level + 1) for shard in reversed(node.shards) if shard.last > after]
        else:
            raise DecodeError(f"block {cid} should be a directory")
        bounded(len(stack))


def native_thing(entry: Entry) -> Thing:
    """Says what an entry of wherry's own stands for."""
    if entry.kind == manifest.LINK:
        target = entry.target.encode()
        return Thing("link", PublicCID(entry.cid), len(target), target, entry)
    return Thing("file" if entry.kind == manifest.FILE else "dir", PublicCID(entry.cid), entry.size, entry=entry)


def has_child(blocks: Blocks, thing: Thing, name: str) -> Thing | None:
    """Gives the entry of a directory that has this name; None if there is none, or it is not here."""
    try:
        if thing.entry is not None:
            found: Entry = _driven(blocks, find(thing.entry._replace(name=""), name))
            return Thing("file", PublicCID(found.cid), found.size, entry=found) if found.kind == manifest.FILE else None
        child = look(blocks, thing.cid, (name,))
    except NotFound:
        return None
    return child if child.kind == "file" else None
