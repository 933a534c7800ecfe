"""Walks a UnixFS DAG lazily, in order, by the same steps as `dag.walk` gives for a manifest (specs/0031 §7). No I/O.

What differs from a manifest: a link of a directory tells neither kind nor size of what it leads to, so an entry is read before
it is entered; large directories (HAMT) come in the order of their hashes; file bytes may lie inside dag-pb blocks, or in the
names of blocks. Nothing bounds a tree from above, so the walk itself counts: what it has given, and how much of that came from
nodes that it had seen before.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.block import EMPTY_LEAF, Block
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep, Need, Step
from wherry.errors import DecodeError, IntegrityError, LimitExceeded
from wherry.limits import LEAF_BYTES_MAX, TREE_DEPTH_MAX, TREE_ENTRIES_MAX, UNIXFS_FILE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK, UNSAID, Entry
from wherry.names import check_path, shown
from wherry.publiccid import PublicCID
from wherry.units import KiB, MiB
from wherry.unixfs.frames import Awaited, Leave, Lies, Links, Nodes, Refused
from wherry.unixfs.node import Child, DirNode, FileNode, LinkNode, ShardNode, decode, entry_of
from wherry.unixfs.repeats import Repeats
from wherry.unixfs.wrap import wrapping, wrapping_of

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.unixfs.node import Node

_AHEAD: Final = 256  # nodes named beyond the one needed, so that a source can send them in one answer
_NAME_EVERY: Final = 16  # Needs; naming costs more than all the rest
_HELD_BYTES_MAX: Final = 64 * MiB  # directories whose walk is not over
_HELD_LINK_BYTES: Final = 320  # what a link of them takes in memory
_SMALL_LEAF_BYTES: Final = 4 * KiB
_SMALL_LEAVES_MAX: Final = 1 << 20  # smaller than that, besides a file's last: see `dag.walk`


_Frame: TypeAlias = Links | Nodes | Leave | Refused


class UnixWalk:
    """Steps through the tree under one entry, which `root_of` gave. Not for several threads."""

    def __init__(
        self,
        root: Entry,
        *,
        path: str = "",
        start: int = 0,
        stop: int | None = None,
        depth: int = 0,
        hints: bool = True,
        predict: int | None = None,
        entries_max: int = TREE_ENTRIES_MAX,
        names: bool = False,
    ) -> None:
        """``start`` and ``stop`` give a byte range, for a root that is a file: only leaves that touch it are given.

        ``hints``: the size of a raw block in a directory is taken from its link (`EnterFile.guessed`); without it the block is
        needed. ``predict``: in files of so many bytes dag-pb leaves are told by those before them (`Leaf.guessed`); without
        it each is needed. ``names``: entries of the root are not read, and given as if they were links. Raises LimitExceeded
        for more than ``entries_max`` entries, when it comes to them.
        """
        self._start, self._stop = max(start, 0), stop
        self._hints, self._predict, self._names = hints, predict, names
        self._entries_left = entries_max
        self._entries_max = entries_max
        self._stack: list[_Frame] = []
        self._ready: deque[Step] = deque()
        self._failed: Exception | None = None
        self._block: Block | None = None
        self._held_bytes = 0
        self._small_leaves = 0
        self._repeats = Repeats()
        self._named: dict[CID, None] = {}  # by the last Need that named any
        self._named_since = 0
        self._leaf_level = -1  # of the file that is walked, once a dag-pb leaf of it was seen
        self._leaf_size = 0
        self._leaf_form = 0
        self._predicted = False  # whether leaves of that file may be
        self._depth = depth
        self._awaited: Awaited | None = None
        self.leaf: CID | None = None  # the last block that came and is nothing but bytes of a file
        self._root: Entry | None = root
        self._root_path = path

    def supply(self, block: Block) -> None:
        """Gives the verified block that `Need` named. Raises IntegrityError for another one."""
        if self._awaited is None or self._awaited.block != block.cid:
            raise IntegrityError(f"block {block.cid} is not the one that the walk needs")
        self._block = block

    def skip(self) -> None:
        """Leaves out what was just entered, or what is left of it: no leaves, no entries, and no Leave step."""
        self._ready.clear()
        self._awaited = self._block = None
        while not isinstance(top := self._stack.pop(), Leave):
            if isinstance(top, Links):
                self._held_bytes -= top.weight

    @property
    def awaited(self) -> Lies | None:
        """What the block that is needed stands for; None where that is no file nor part of one, or none is needed."""
        waits = self._awaited
        if waits is None or waits.what == "shard":
            return None
        return Lies(waits.path, waits.offset, None if waits.what == "entry" else waits.size)

    def pass_over(self) -> tuple[str, int]:
        """Leaves out what is ``awaited``; gives its path, and its bytes: 0, for no link tells those of a directory."""
        path = self._awaited.path if self._awaited is not None else ""
        self._awaited = self._block = None
        return path, 0

    def step(self) -> Step:
        """Gives the next step; None when all was given.

        Raises DecodeError and IntegrityError for nodes that are wrong, LimitExceeded and UnsafeName. After an error the walk
        stands still: the same step fails again.
        """
        if self._failed is not None:
            raise self._failed
        try:
            return self._step()
        except Exception as problem:
            self._failed = problem
            raise

    def _step(self) -> Step:
        if self._root is not None:
            root, self._root = self._root, None
            self._begin(root)
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._awaited is not None:
                inline = self._awaited.cid.inline if self._block is None else None
                if inline is not None:
                    self._block = Block(self._awaited.block, inline)
                if self._block is None:
                    return Need(self._awaited.block, self._ahead(self._awaited.block))
                awaited, block = self._awaited, self._block
                self._awaited = self._block = None
                self._take(awaited, block)
            elif not self._stack:
                return None
            else:
                self._advance(self._stack[-1])

    def _begin(self, root: Entry) -> None:
        if root.kind == LINK:
            self._ready.append(LinkStep(self._root_path, root))
            return
        child = Child(root.name, PublicCID(root.cid), root.size)
        self._awaited = Awaited(child.cid, "entry", self._root_path, child, depth=self._depth)

    def _advance(self, frame: _Frame) -> None:
        """Goes on in the node, or ends it."""
        if isinstance(frame, Refused):
            raise DecodeError(frame.problem)
        if isinstance(frame, Leave):
            self._stack.pop()
            done = LeaveDir if frame.entry.kind == DIR else LeaveFile
            self._ready.append(done(frame.path, frame.entry))
        elif isinstance(frame, Links):
            if frame.at == len(frame.links):
                self._stack.pop()
                self._held_bytes -= frame.weight
            else:
                frame.at += 1
                self._link(frame, frame.links[frame.at - 1])
        elif frame.at == len(frame.children) or (self._stop is not None and frame.offset >= self._stop):
            self._stack.pop()
        else:
            cid, size = frame.children[frame.at]
            offset = frame.offset
            frame.at, frame.offset = frame.at + 1, offset + size
            if size and self._start < offset + size:  # what has no bytes, or none in the range, is not looked at
                self._child(frame, cid, offset, size)

    # Directories

    def _link(self, frame: Links, child: Child) -> None:
        if frame.fanout and child.sub:
            self._awaited = Awaited(child.cid, "shard", frame.path, child, frame, depth=frame.depth)
            return
        path = f"{frame.path}/{child.name}" if frame.path else child.name
        check_path(path)
        if self._entries_left <= 0:
            raise LimitExceeded(f"{shown(path)}: more than {self._entries_max} entries are in the tree")
        self._entries_left -= 1
        if self._names:
            self._ready.append(LinkStep(path, Entry(child.name, LINK)))
            return
        codec = child.cid.codec
        if codec == RAW and child.cid.inline is None:
            cid = child.cid.block()
            size = 0 if cid == EMPTY_LEAF else child.tsize
            if cid == EMPTY_LEAF or (self._hints and size is not None and 0 < size <= LEAF_BYTES_MAX):
                guessed = cid != EMPTY_LEAF
                self._enter_file(path, Entry(child.name, FILE, cid, size or 0, attrs=UNSAID), guessed=guessed)
                if size:
                    self._ready.append(Leaf(cid, 0, size, b"", final=True, guessed=guessed))
                return
        elif codec not in (RAW, DAG_PB):
            problem = f"{shown(path)}: codec {child.cid.codec_name} is neither a file nor a directory of UnixFS"
            self._enter_file(path, Entry(child.name, FILE, child.cid.block(), child.tsize or 0, attrs=UNSAID))
            self._stack.append(Refused(problem))
            return
        self._awaited = Awaited(child.cid, "entry", path, child, depth=frame.depth)

    def _enter_file(self, path: str, entry: Entry, *, guessed: bool = False) -> None:
        self._stack.append(Leave(path, entry))
        self._ready.append(EnterFile(path, entry, guessed))
        self._leaf_level = -1
        self._predicted = self._predict is not None and entry.size >= self._predict

    def _take(self, awaited: Awaited, block: Block) -> None:
        """Reads the block that was awaited."""
        path = awaited.path
        if awaited.cid.codec == RAW:
            self._raw(awaited, block)
            return
        node = decode(block)
        if awaited.what == "shard":
            self._unfold_shard(awaited, node, block)
        elif awaited.what == "node":
            if not isinstance(node, FileNode):
                raise DecodeError(f"{shown(path)}: block {block.cid} should be part of a file")
            self._unfold_file(awaited, node, block)
        else:
            self._enter(awaited, node, block)

    def _raw(self, awaited: Awaited, block: Block) -> None:
        """A raw block whose size had to be seen, or whose bytes lie in its name."""
        size = len(block.data)
        if awaited.what == "node":
            if size != awaited.size:
                raise IntegrityError(
                    f"{shown(awaited.path)}: block {block.cid} has {size} bytes, its parent says {awaited.size}"
                )
            entry = awaited.entry
        else:
            name = awaited.child.name if awaited.child is not None else ""
            entry = Entry(name, FILE, block.cid, size, attrs=UNSAID)
            self._enter_file(awaited.path, entry)
        self.leaf = block.cid
        final = entry is not None and awaited.offset + size == entry.size
        if size:
            inline = awaited.cid.inline is not None
            self._ready.append(Leaf(block.cid, awaited.offset, size, b"", final=final, block=block, inline=inline))

    def _enter(self, awaited: Awaited, node: Node, block: Block) -> None:
        path, name = awaited.path, awaited.child.name if awaited.child is not None else ""
        hint = awaited.child.tsize if awaited.child is not None else None
        entry = entry_of(name, block, node, hint or 0)
        if isinstance(node, LinkNode):
            self._ready.append(LinkStep(path, entry))
        elif isinstance(node, FileNode):
            self._enter_file(path, entry)
            awaited.entry, awaited.size = entry, node.size
            self._unfold_file(awaited, node, block)
        else:
            if awaited.depth >= TREE_DEPTH_MAX:
                raise LimitExceeded(f"{shown(path)}: directories are nested more than {TREE_DEPTH_MAX} deep")
            self._stack.append(Leave(path, entry))
            self._ready.append(EnterDir(path, entry))
            self._push(path, node, block, awaited.depth + 1, ())

    def _unfold_shard(self, awaited: Awaited, node: Node, block: Block) -> None:
        parent, child = awaited.parent, awaited.child
        if not isinstance(node, ShardNode) or parent is None or child is None or node.fanout != parent.fanout:
            raise DecodeError(f"{shown(awaited.path or '/')}: block {block.cid} should be a shard like the one above it")
        self._push(awaited.path, node, block, parent.depth, (*parent.bits, child.bucket))

    def _push(self, path: str, node: DirNode | ShardNode, block: Block, depth: int, bits: tuple[int, ...]) -> None:
        """Has the links of a directory, or of a shard of one, walked next."""
        if isinstance(node, ShardNode):
            node.check_place(bits, path)
        if not self._repeats.came(block.cid.digest, len(node.links)):
            raise LimitExceeded(
                f"{shown(path or '/')}: more than {self._repeats.most:,} entries come from directories that occurred before",
                hint="get parts of it by their paths",
            )
        weight = len(block.data) + len(node.links) * _HELD_LINK_BYTES
        if self._held_bytes + weight > _HELD_BYTES_MAX:
            raise LimitExceeded(f"{shown(path or '/')}: large directories are nested so deep that a walk takes too much memory")
        self._held_bytes += weight
        fanout = node.fanout if isinstance(node, ShardNode) else 0
        self._stack.append(Links(path, node.links, depth, fanout, bits, weight=weight))

    # Files

    def _unfold_file(self, awaited: Awaited, node: FileNode, block: Block) -> None:
        path, entry = awaited.path, awaited.entry
        if entry is None:
            raise DecodeError(f"{shown(path)}: block {block.cid} is part of no file")
        if node.size != awaited.size:
            raise IntegrityError(f"{shown(path)}: block {block.cid} has {node.size} bytes, its parent says {awaited.size}")
        if awaited.level > UNIXFS_FILE_DEPTH_MAX:
            raise LimitExceeded(f"{shown(path)}: file nodes are nested more than {UNIXFS_FILE_DEPTH_MAX} deep")
        offset = awaited.offset
        if node.data and self._touches(offset, len(node.data)):
            form = wrapping_of(block.data, node.data)
            final = offset + len(node.data) == entry.size
            whole = None if node.children else block
            self.leaf = None if node.children else block.cid
            self._count_small(path, len(node.data), final=final)
            inline = awaited.cid.inline is not None
            self._ready.append(Leaf(block.cid, offset, len(node.data), form, final=final, block=whole, inline=inline))
            if not node.children:
                self._learn(awaited.level, node, form)
        if node.children:
            self._stack.append(Nodes(path, entry, node.children, offset + len(node.data), awaited.level))

    def _learn(self, level: int, node: FileNode, form: bytes) -> None:
        """Remembers how the dag-pb leaves of this file look, if they are as usual."""
        if self._predicted and self._leaf_level < 0 and form == wrapping(len(node.data), node.type):
            self._leaf_level, self._leaf_size, self._leaf_form = level, len(node.data), node.type

    def _child(self, frame: Nodes, cid: PublicCID, offset: int, size: int) -> None:
        """Comes to the next part of a file."""
        final = offset + size == frame.entry.size
        if cid.codec == RAW and cid.inline is None:
            if size > LEAF_BYTES_MAX:
                raise IntegrityError(f"{shown(frame.path)}: a raw block of {size} bytes is listed, at most {LEAF_BYTES_MAX}")
            self._count_small(frame.path, size, final=final)
            self._ready.append(Leaf(cid.block(), offset, size, b"", final=final))
        elif cid.codec not in (RAW, DAG_PB):
            raise DecodeError(f"{shown(frame.path)}: codec {cid.codec_name} is no part of a file")
        elif self._leaf_level == frame.level + 1 and 0 < size <= self._leaf_size and cid.inline is None:
            self._count_small(frame.path, size, final=final)
            form = wrapping(size, self._leaf_form)
            self._ready.append(Leaf(cid.block(), offset, size, form, final=final, guessed=True))
        else:
            self._awaited = Awaited(cid, "node", frame.path, entry=frame.entry, offset=offset, size=size, level=frame.level + 1)

    def _touches(self, offset: int, size: int) -> bool:
        return self._start < offset + size and (self._stop is None or offset < self._stop)

    def _count_small(self, path: str, size: int, *, final: bool) -> None:
        if size < _SMALL_LEAF_BYTES and not final:
            self._small_leaves += 1
            if self._small_leaves > _SMALL_LEAVES_MAX:
                raise LimitExceeded(
                    f"{shown(path)}: more than {_SMALL_LEAVES_MAX} leaves have less than {_SMALL_LEAF_BYTES} bytes",
                    hint="whoever made this dataset must add it again with larger chunks",
                )

    def _ahead(self, needed: CID) -> list[CID]:
        """Names blocks that will probably be needed soon: what follows in the nodes that are open, the innermost first.

        Those that were named shortly before, this one among them, have come by now, or will when they are named again.
        """
        if needed in self._named and self._named_since < _NAME_EVERY:
            self._named_since += 1
            return []
        ahead: dict[CID, None] = {}
        for frame in islice(reversed(self._stack), _AHEAD):
            if isinstance(frame, Links):
                some = [link.cid for link in islice(frame.links, frame.at, frame.at + _AHEAD)]
            elif isinstance(frame, Nodes) and (not self._predicted or frame.level + 1 < self._leaf_level):
                some = [cid for cid, _ in islice(frame.children, frame.at, frame.at + _AHEAD)]
            else:
                continue
            for cid in some:
                if cid.names_node:
                    ahead[cid.block()] = None
            if len(ahead) >= _AHEAD:
                break
        ahead.pop(needed, None)
        self._named, self._named_since = ahead, 0
        return list(ahead)[:_AHEAD]
