"""Walks a manifest lazily, in order, verifying each node against what its parent said of it (specs/0003 §7).

`Walk` does no I/O: it says which node it needs next and which it will want soon, takes blocks, and gives steps. What it
holds is one node a level of the tree, however large the dataset is, and a bounded sum of them. Every size and count that a
parent lists is compared with the child before anything of the child is given, so a manifest cannot promise little and
unfold into much: a walk gives at most two steps an entry of the count that its root declares, and as many leaves as
entries, and one more for each 4 KiB of the declared size and a million more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry import manifest
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NotFound
from wherry.limits import FILE_DEPTH_MAX, SHARD_DEPTH_MAX, TREE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK, DatasetNode, DirNode, Entry, FileNode, Node, Shard, ShardsNode
from wherry.names import check_path, shown
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Generator

    from wherry.block import Block

_MARK: Final = b"\x66wherry"  # the key that every node of a manifest has
_AHEAD: Final = 256  # nodes named beyond the one needed, so that a source can send them in one answer
_AHEAD_LOOK: Final = 512  # frames looked at for them: a long stack of small files must not cost each node its length
_HELD_BYTES_MAX: Final = 32 * MiB  # nodes whose walk is not over; thirty directories of 1,024 entries, each in the one before
_HELD_ENTRY_BYTES: Final = 768  # what an entry of them takes in memory besides its text
_HELD_TEXT_FACTOR: Final = 4  # a byte of UTF-8 may take four in a Python string
_SMALL_LEAF_BYTES: Final = 4 * KiB
_SMALL_LEAVES_MAX: Final = 1 << 20  # leaves smaller than that, besides a file's last: one block of one byte listed a
#                                     trillion times is an honest terabyte, and would take years


class EnterDir(NamedTuple):
    """A directory begins; "" is the root."""

    path: str
    entry: Entry


class LeaveDir(NamedTuple):
    """All of a directory was given."""

    path: str
    entry: Entry


class EnterFile(NamedTuple):
    """A file begins; its leaves follow, unless `Walk.skip` is called."""

    path: str
    entry: Entry
    guessed: bool = False  # whether its size is what a link hints at: its one leaf tells


class Leaf(NamedTuple):
    """The next leaf of the file last entered."""

    cid: CID
    offset: int  # in the file
    size: int  # plain bytes
    key: bytes = b""  # where the dataset is encrypted
    final: bool = False  # the file ends with it
    guessed: bool = False  # whether its size, or how it is wrapped, may be otherwise
    block: Block | None = None  # where the walk had to read it
    inline: bool = False  # whether its CID carries it: nobody else may have it


class LeaveFile(NamedTuple):
    """All leaves of a file were given."""

    path: str
    entry: Entry


class LinkStep(NamedTuple):
    """A symbolic link."""

    path: str
    entry: Entry


class Need(NamedTuple):
    """The walk needs the block ``cid`` by `Walk.supply`; those ``ahead`` it will probably need soon."""

    cid: CID
    ahead: list[CID]
    key: bytes = b""  # where the dataset is encrypted: opens the block


Step: TypeAlias = EnterDir | LeaveDir | EnterFile | Leaf | LeaveFile | LinkStep | Need | None


@dataclass(slots=True)
class _Frame:
    """One node or entry still to be walked."""

    what: str  # "root" and "entry": to be entered; "node": to be unfolded; "leave"; "held": a node's entries end here
    path: str  # an "entry" has its directory's, for a thousand full paths a node are much memory
    entry: Entry
    cid: CID
    size: int  # as the parent listed; of a "held", what the node takes in memory
    count: int  # as the parent listed, without the directory itself
    depth: int  # directories above
    level: int = 0  # file nodes or shards above, within one file or directory
    offset: int = 0  # of a file node in its file
    last: str = ""  # a piece of a large directory ends with this name
    key: bytes = b""  # opens the block, where the dataset is encrypted


class Walk:
    """Steps through the tree under one entry. Not for several threads."""

    __slots__ = ("_before", "_held_bytes", "_node", "_node_bytes", "_small_leaves", "_stack", "_start", "_stop")

    def __init__(self, root: Entry, *, path: str = "", start: int = 0, stop: int | None = None, depth: int = 0) -> None:
        """``start`` and ``stop`` give a byte range, for a root that is a file: only leaves that touch it are given."""
        self._stack = [_Frame("root", path, root, root.cid, root.size, root.entries, depth, key=root.key)]
        self._start, self._stop = max(start, 0), stop
        self._node: Node | None = None
        self._node_bytes = 0
        self._before: dict[int, str] = {}  # last name seen, by depth: order holds across pieces
        self._held_bytes = 0
        self._small_leaves = 0

    def supply(self, block: Block) -> None:
        """Gives the verified block that `Need` named, opened by its key if it has one.

        Raises what `manifest.decode` does, and IntegrityError for another block.
        """
        frame = self._stack[-1] if self._stack else None
        if frame is None or frame.what != "node" or frame.cid != block.cid:
            raise IntegrityError(f"block {block.cid} is not the one that the walk needs")
        self._node, self._node_bytes = manifest.decode(block, sealed=bool(frame.key)), len(block.data)

    def skip(self) -> None:
        """Leaves out what was just entered, or what is left of it: no leaves, no entries, and no Leave step."""
        self._node = None
        while (top := self._stack.pop()).what != "leave":
            if top.what == "held":
                self._held_bytes -= top.size

    def pass_over(self) -> tuple[str, int]:
        """Leaves out the directory, or the piece of one, that the node is needed of; gives its path, and its bytes."""
        frame = self._stack.pop()
        return frame.path, frame.size

    def step(self) -> Step:
        """Gives the next step; None when all was given.

        Raises IntegrityError where a node differs from its listing, DecodeError where it is of a wrong kind, LimitExceeded
        and UnsafeName. After an error the walk stands still: the same step fails again.
        """
        while self._stack:
            frame = self._stack[-1]
            if frame.what in {"entry", "root"}:
                return self._enter(frame)
            if frame.what == "leave":
                self._stack.pop()
                return LeaveDir(frame.path, frame.entry) if frame.entry.kind == DIR else LeaveFile(frame.path, frame.entry)
            if frame.what == "held":
                self._stack.pop()
                self._held_bytes -= frame.size
                continue
            if frame.cid.codec == RAW:
                return self._leaf(frame)
            if self._node is None:
                return Need(frame.cid, self._ahead(frame.cid), frame.key)
            node, self._node = self._node, None
            frames = self._unfold_file(frame, node) if frame.entry.kind == FILE else self._unfold_dir(frame, node)
            self._stack.pop()
            self._stack += frames
        return None

    def _enter(self, frame: _Frame) -> Step:
        entry, path = frame.entry, frame.path
        if frame.what == "entry":
            path = f"{path}/{entry.name}" if path else entry.name
        check_path(path)
        if entry.kind == DIR and frame.depth >= TREE_DEPTH_MAX:
            raise LimitExceeded(f"{shown(path)}: directories are nested more than {TREE_DEPTH_MAX} deep")
        self._stack.pop()
        if entry.kind == LINK:
            return LinkStep(path, entry)
        self._stack.append(_Frame("leave", path, entry, entry.cid, 0, 0, frame.depth))
        if entry.kind == DIR or self._touches(entry.size):
            count = entry.entries - 1
            self._stack.append(_Frame("node", path, entry, entry.cid, entry.size, count, frame.depth, key=entry.key))
        if entry.kind == FILE:
            return EnterFile(path, entry)
        self._before.pop(frame.depth, None)
        return EnterDir(path, entry)

    def _touches(self, size: int) -> bool:
        """Whether the range has a byte of a file of ``size``."""
        return self._start < (size if self._stop is None else min(size, self._stop))

    def _leaf(self, frame: _Frame) -> Leaf:
        if frame.size < _SMALL_LEAF_BYTES and frame.offset + frame.size < frame.entry.size:
            if self._small_leaves >= _SMALL_LEAVES_MAX:
                raise LimitExceeded(
                    f"{shown(frame.path)}: more than {_SMALL_LEAVES_MAX} leaves have less than {_SMALL_LEAF_BYTES} bytes",
                    hint="whoever made this dataset must add it again with larger chunks",
                )
            self._small_leaves += 1
        self._stack.pop()
        return Leaf(frame.cid, frame.offset, frame.size, frame.key, frame.offset + frame.size == frame.entry.size)

    def _ahead(self, needed: CID) -> list[CID]:
        ahead: dict[CID, None] = {}
        for frame in islice(reversed(self._stack), 1, _AHEAD_LOOK):
            if frame.what in {"entry", "node"} and frame.cid.codec == DAG_CBOR and frame.cid != needed:
                ahead[frame.cid] = None
                if len(ahead) == _AHEAD:
                    break
        return list(ahead)

    def _unfold_file(self, frame: _Frame, node: Node) -> list[_Frame]:
        if not isinstance(node, FileNode):
            raise DecodeError(f"{shown(frame.path)}: block {frame.cid} should be a file node")
        _same(frame.path, frame.cid, "bytes", frame.size, node.size)
        if frame.level >= FILE_DEPTH_MAX:
            raise LimitExceeded(f"{shown(frame.path)}: file nodes are nested more than {FILE_DEPTH_MAX} deep")
        start, stop = self._start - frame.offset, None if self._stop is None else self._stop - frame.offset
        first = bisect_right(node.ends, start) if start > 0 else 0
        frames = []
        for index in range(first, len(node.links)):
            begin = node.ends[index - 1] if index else 0
            if stop is not None and begin >= stop:
                break
            size, offset = node.ends[index] - begin, frame.offset + begin
            child = _Frame("node", frame.path, frame.entry, node.links[index], size, 0, frame.depth, frame.level + 1, offset)
            if node.keys:
                child.key = node.keys[index]
            frames.append(child)
        frames.reverse()
        return frames

    def _unfold_dir(self, frame: _Frame, node: Node) -> list[_Frame]:
        path, depth, level = frame.path, frame.depth, frame.level + 1
        listed = Shard(frame.last, frame.cid, frame.size, frame.count)
        piece = _piece(path, node, listed, self._before.get(depth, ""))
        if isinstance(piece, ShardsNode) and level > SHARD_DEPTH_MAX:
            raise LimitExceeded(f"{shown(path or '/')}: pieces of a directory are nested more than {SHARD_DEPTH_MAX} deep")
        children = len(piece.entries if isinstance(piece, DirNode) else piece.shards)
        weight = self._node_bytes * _HELD_TEXT_FACTOR + children * _HELD_ENTRY_BYTES
        if self._held_bytes + weight > _HELD_BYTES_MAX:
            raise LimitExceeded(f"{shown(path or '/')}: large directories are nested so deep that a walk takes too much memory")
        self._held_bytes += weight
        if isinstance(piece, DirNode):
            if piece.entries:
                self._before[depth] = piece.entries[-1].name
            frames = [_Frame("entry", path, item, item.cid, item.size, item.entries, depth + 1) for item in piece.entries]
        else:
            frames = [
                _Frame("node", path, frame.entry, shard.cid, shard.size, shard.entries, depth, level, 0, shard.last, shard.key)
                for shard in piece.shards
            ]
        frames.append(_Frame("held", path, frame.entry, frame.cid, weight, 0, depth))
        frames.reverse()
        return frames


def _same(path: str, cid: CID, what: str, listed: int, real: int) -> None:
    if listed != real:
        raise IntegrityError(f"{shown(path or '/')}: block {cid} has {real} {what}, its parent says {listed}")


def _piece(path: str, node: Node, listed: Shard, before: str) -> DirNode | ShardsNode:
    """Checks a node of a directory against what its parent ``listed``; ``last`` is "" for a whole directory.

    The names of a piece lie behind ``before``, where the piece before ended, and end with the listed ``last``.
    """
    if not isinstance(node, DirNode | ShardsNode):
        raise DecodeError(f"{shown(path or '/')}: block {listed.cid} should be a directory node")
    _same(path, listed.cid, "bytes", listed.size, node.size)
    _same(path, listed.cid, "entries", listed.entries, node.count)
    if listed.last:
        names = [item.name for item in node.entries] if isinstance(node, DirNode) else [shard.last for shard in node.shards]
        if not names or names[0] <= before or names[-1] != listed.last:
            raise IntegrityError(f"{shown(path or '/')}: block {listed.cid} holds other names than its directory says")
    return node


class Root(NamedTuple):
    """What a root CID stands for: an entry without a name, and the metadata of a dataset."""

    entry: Entry
    meta: dict[str, str]
    exact: bool = True  # whether the size and the count of its entry can be relied on


def root_of(block: Block, *, sealed: bool = False) -> Root:
    """Reads a root block: a leaf, a file, a directory or a dataset. Raises what `manifest.decode` raises.

    ``sealed``: an opened root of an encrypted dataset, which is always a dataset node.
    """
    if block.cid.codec == RAW:
        return Root(Entry("", FILE, block.cid, len(block.data)), {})
    try:
        node = manifest.decode(block, sealed=sealed)
    except DecodeError as problem:
        if sealed or block.cid.codec != DAG_CBOR or _MARK in block.data:
            raise
        hint = f"`wherry dag get {block.cid}` shows it"
        raise DecodeError(f"block {block.cid} is no wherry manifest, but perhaps a value of IPLD", hint=hint) from problem
    if isinstance(node, DatasetNode):
        return Root(node.root, node.meta)
    if sealed:
        raise DecodeError(f"block {block.cid} is no root of an encrypted dataset")
    if isinstance(node, FileNode):
        return Root(Entry("", FILE, block.cid, node.size), {})
    return Root(Entry("", DIR, block.cid, node.size, node.count + 1), {})


def find(root: Entry, path: str) -> Generator[Need, Block, Entry]:
    """Finds the entry at ``path`` from few nodes: yields what it needs, is sent the verified block, returns the entry.

    Raises NotFound if nothing is there, and what `Walk` raises for nodes that lie; links are not followed.
    """
    entry, seen = root, ""
    for name in [part for part in path.split("/") if part]:
        if entry.kind != DIR:
            raise NotFound(
                f"{seen or '/'!r} is no directory, so it has no {name!r} in it", hint="`wherry stat` tells what it is"
            )
        found = yield from _find_in(entry, seen, name)
        if found is None:
            raise NotFound(f"{seen or '/'!r} has no {name!r} in it", hint="`wherry ls` shows what there is")
        entry, seen = found, f"{seen}/{name}"
    return entry


def _find_in(directory: Entry, path: str, name: str) -> Generator[Need, Block, Entry | None]:
    """Finds one name in one directory, by the same checks on the way as `Walk` makes."""
    listed, before = Shard("", directory.cid, directory.size, directory.entries - 1, directory.key), ""
    for _ in range(SHARD_DEPTH_MAX + 1):
        block = yield Need(listed.cid, [], listed.key)
        if block.cid != listed.cid:
            raise IntegrityError(f"block {block.cid} is not {listed.cid}, which the search needs")
        node = _piece(path, manifest.decode(block, sealed=bool(listed.key)), listed, before)
        if isinstance(node, DirNode):
            return next((item for item in node.entries if item.name == name), None)
        index = bisect_left(node.shards, name, key=lambda shard: shard.last)
        if index == len(node.shards):
            return None
        if index:
            before = node.shards[index - 1].last
        listed = node.shards[index]
    raise LimitExceeded(f"{shown(path or '/')}: pieces of a directory are nested more than {SHARD_DEPTH_MAX} deep")
