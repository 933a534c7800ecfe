"""Walks a manifest lazily, in order, verifying each node against what its parent said of it (specs/0003 §7).

`Walk` does no I/O: it says which node it needs next and which it will want soon, takes blocks, and gives steps. What it
holds is one node a level of the tree, however large the dataset is. Every size and count that a parent lists is compared
with the child, so a manifest cannot promise little and unfold into much.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry import manifest
from wherry.cid import CID, RAW
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NotFound
from wherry.limits import FILE_DEPTH_MAX, SHARD_DEPTH_MAX, TREE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK, DatasetNode, DirNode, Entry, FileNode, Node, ShardsNode
from wherry.names import check_path

if TYPE_CHECKING:
    from collections.abc import Generator

    from wherry.block import Block

_AHEAD: Final = 256  # nodes named beyond the one needed, so that a source can send them in one answer


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


class Leaf(NamedTuple):
    """The next leaf of the file last entered."""

    cid: CID
    offset: int  # in the file
    size: int


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


Step: TypeAlias = EnterDir | LeaveDir | EnterFile | Leaf | LeaveFile | LinkStep | Need | None


@dataclass(slots=True)
class _Frame:
    """One node or entry still to be walked."""

    what: str  # "entry", "node", "leave"
    path: str
    entry: Entry
    cid: CID
    size: int | None  # as the parent listed; None at a bare root
    count: int | None
    depth: int  # directories above
    level: int = 0  # file nodes or shards above, within one file or directory
    offset: int = 0  # of a file node in its file
    last: str | None = None  # a piece of a large directory ends with this name


class Walk:
    """Steps through the tree under one entry. Not for several threads."""

    def __init__(self, root: Entry, *, path: str = "", start: int = 0, stop: int | None = None, depth: int = 0) -> None:
        """``start`` and ``stop`` give a byte range, for a root that is a file: only leaves that touch it are given."""
        self._stack = [_Frame("entry", path, root, root.cid, root.size, root.entries, depth)]
        self._start, self._stop = start, stop
        self._node: Node | None = None
        self._before: dict[int, str] = {}  # last name seen, by depth: order holds across pieces

    def supply(self, block: Block) -> None:
        """Gives the verified block that `Need` named. Raises what `manifest.decode` raises."""
        self._node = manifest.decode(block)

    def skip(self) -> None:
        """Leaves out what was just entered: no leaves, no entries, and no Leave step."""
        top = self._stack.pop()
        while top.what != "leave":
            top = self._stack.pop()

    def step(self) -> Step:
        """Gives the next step; None when all was given. Raises IntegrityError where a node differs from its listing."""
        while self._stack:
            frame = self._stack[-1]
            if frame.what == "entry":
                self._stack.pop()
                return self._enter(frame)
            if frame.what == "leave":
                self._stack.pop()
                return LeaveDir(frame.path, frame.entry) if frame.entry.kind == DIR else LeaveFile(frame.path, frame.entry)
            if frame.cid.codec == RAW:
                self._stack.pop()
                return Leaf(frame.cid, frame.offset, frame.size or 0)
            if self._node is None:
                return Need(frame.cid, self._ahead())
            self._stack.pop()
            node, self._node = self._node, None
            self._unfold(frame, node)
        return None

    def _enter(self, frame: _Frame) -> Step:
        entry, path = frame.entry, frame.path
        check_path(path)
        if entry.kind == LINK:
            return LinkStep(path, entry)
        if entry.kind == DIR:
            if frame.depth >= TREE_DEPTH_MAX:
                raise LimitExceeded(f"{path[:80]!r}...: directories are nested more than {TREE_DEPTH_MAX} deep")
            self._before.pop(frame.depth, None)
        self._stack.append(_Frame("leave", path, entry, entry.cid, None, None, frame.depth))
        if entry.kind == DIR or entry.size:
            count = None if frame.count is None else frame.count - 1
            self._stack.append(_Frame("node", path, entry, entry.cid, entry.size, count, frame.depth))
        return EnterDir(path, entry) if entry.kind == DIR else EnterFile(path, entry)

    def _ahead(self) -> list[CID]:
        ahead = []
        for frame in reversed(self._stack[:-1]):
            if frame.what != "leave" and frame.entry.kind != LINK and frame.cid.codec != RAW:
                ahead.append(frame.cid)
                if len(ahead) == _AHEAD:
                    break
        return ahead

    def _unfold(self, frame: _Frame, node: Node) -> None:
        if frame.entry.kind == FILE:
            self._unfold_file(frame, node)
        else:
            self._unfold_dir(frame, node)

    def _unfold_file(self, frame: _Frame, node: Node) -> None:
        if not isinstance(node, FileNode):
            raise DecodeError(f"{frame.path!r}: block {frame.cid} should be a file node")
        _same(frame, "bytes", frame.size, node.size)
        if frame.level >= FILE_DEPTH_MAX:
            raise LimitExceeded(f"{frame.path!r}: file nodes are nested more than {FILE_DEPTH_MAX} deep")
        start, stop = self._start - frame.offset, None if self._stop is None else self._stop - frame.offset
        first = bisect_right(node.ends, start) if start > 0 else 0
        frames = []
        for index in range(first, len(node.links)):
            begin = node.ends[index - 1] if index else 0
            if stop is not None and begin >= stop:
                break
            size = node.ends[index] - begin
            frames.append(_Frame("node", frame.path, frame.entry, node.links[index], size, 1, frame.depth, frame.level + 1, frame.offset + begin))
        self._stack += reversed(frames)

    def _unfold_dir(self, frame: _Frame, node: Node) -> None:
        if not isinstance(node, DirNode | ShardsNode):
            raise DecodeError(f"{frame.path!r}: block {frame.cid} should be a directory node")
        _same(frame, "bytes", frame.size, node.size)
        _same(frame, "entries", frame.count, node.count)
        if isinstance(node, DirNode):
            frames = self._entries(frame, node)
        else:
            if frame.level >= SHARD_DEPTH_MAX:
                raise LimitExceeded(f"{frame.path!r}: pieces of a directory are nested more than {SHARD_DEPTH_MAX} deep")
            if frame.last is not None and node.shards[-1].last != frame.last:
                raise IntegrityError(f"{frame.path!r}: block {frame.cid} does not end with the name {frame.last!r}")
            frames = [
                _Frame("node", frame.path, frame.entry, shard.cid, shard.size, shard.entries, frame.depth, frame.level + 1, 0, shard.last)
                for shard in node.shards
            ]
        frames.reverse()
        self._stack += frames

    def _entries(self, frame: _Frame, node: DirNode) -> list[_Frame]:
        if frame.last is not None or frame.level:  # a piece: names must go on where the piece before ended
            before = self._before.get(frame.depth, "")
            if not node.entries or node.entries[0].name <= before or node.entries[-1].name != frame.last:
                raise IntegrityError(f"{frame.path!r}: block {frame.cid} holds other names than its directory says")
            self._before[frame.depth] = node.entries[-1].name
        prefix = f"{frame.path}/" if frame.path else ""
        depth = frame.depth + 1
        return [_Frame("entry", prefix + entry.name, entry, entry.cid, entry.size, entry.entries, depth) for entry in node.entries]


def _same(frame: _Frame, what: str, listed: int | None, real: int) -> None:
    if listed is not None and listed != real:
        raise IntegrityError(f"{frame.path or '/'!r}: block {frame.cid} has {real} {what}, its parent says {listed}")


class Root(NamedTuple):
    """What a root CID stands for: an entry without a name, and the metadata of a dataset."""

    entry: Entry
    meta: dict[str, str]


def root_of(block: Block) -> Root:
    """Reads a root block: a leaf, a file, a directory or a dataset. Raises what `manifest.decode` raises."""
    if block.cid.codec == RAW:
        return Root(Entry("", FILE, block.cid, len(block.data)), {})
    node = manifest.decode(block)
    if isinstance(node, DatasetNode):
        return Root(node.root, node.meta)
    if isinstance(node, FileNode):
        return Root(Entry("", FILE, block.cid, node.size), {})
    return Root(Entry("", DIR, block.cid, node.size, node.count + 1), {})


def find(root: Entry, path: str) -> Generator[CID, Block, Entry]:
    """Finds the entry at ``path`` from few nodes: yields each CID it needs, is sent its verified block, returns the entry.

    Raises NotFound if nothing is there; links are not followed.
    """
    entry, seen = root, ""
    for name in [part for part in path.split("/") if part]:
        if entry.kind != DIR:
            raise NotFound(f"{seen or '/'!r} is no directory, so it has no {name!r} in it")
        cid, found = entry.cid, None
        for _ in range(SHARD_DEPTH_MAX + 1):
            node = manifest.decode((yield cid))
            if isinstance(node, ShardsNode):
                shard = next((shard for shard in node.shards if name <= shard.last), None)
                if shard is None:
                    break
                cid = shard.cid
            elif isinstance(node, DirNode):
                found = next((item for item in node.entries if item.name == name), None)
                break
            else:
                raise DecodeError(f"{seen!r}: block {cid} should be a directory node")
        if found is None:
            raise NotFound(f"{seen or '/'!r} has no {name!r} in it", hint="`wherry ls` shows what there is")
        entry, seen = found, f"{seen}/{name}"
    return entry

