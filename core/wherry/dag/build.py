"""Builds manifests from leaves and entries that come in order (specs/0003 §4-5). Holds a node a level, never a whole file.

Files become balanced trees: FANOUT children a node, all leaves equally deep. Directories of more than FANOUT entries are
cut behind the names whose hash begins with a zero byte, so where they are cut depends on the names around and on nothing
else: a name that comes or goes changes one piece and the few nodes above it.

A builder writes nothing that `manifest.decode` refuses. Nodes of an encrypted dataset are sealed by ``emit``, which then gives
the CID and key that the parent lists (specs/0016 §4); leaves and entries come with theirs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry import manifest
from wherry.block import EMPTY_LEAF
from wherry.limits import FANOUT, LEAF_BYTES_MAX
from wherry.manifest import LINK, Entry, Shard
from wherry.names import check_name, check_target
from wherry.units import KiB

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.block import Block
    from wherry.cid import CID

    Emit: TypeAlias = Callable[[Block], "tuple[CID, bytes] | None"]  # takes a node; gives CID and key if it was sealed
    Cut: TypeAlias = Callable[[list[bytes], list[Entry]], None]

# Only long link targets come near: a thousand of them would not fit into a node. An entry's weight is an upper bound of its
# encoded bytes that is simple to compute anywhere.
_WEIGHT_MAX: Final = 512 * KiB
_ENTRY_WEIGHT: Final = 128


def nodes_of(leaves: int) -> int:
    """How many nodes a file of so many leaves has."""
    count = 0
    while leaves > 1:
        leaves = -(-leaves // FANOUT)
        count += leaves
    return count


class _Child(NamedTuple):
    cid: CID
    size: int
    key: bytes


class FileBuilder:
    """Takes the leaves of one file in order; gives the file's CID. ``emit`` gets each node when it is whole."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._levels: list[list[_Child]] = [[]]
        self.size = 0  # bytes so far
        self.leaves = 0
        self.key = b""  # of the whole, once it is finished, where leaves came with keys

    def add(self, leaf: CID, size: int, key: bytes = b"") -> None:
        """Takes the next leaf; ``size`` in plain bytes. Raises ValueError for a size that no leaf in a node has."""
        if not 0 < size <= LEAF_BYTES_MAX:
            raise ValueError(f"a leaf of {size} bytes; 1 to {LEAF_BYTES_MAX} are possible, and an empty file has none")
        self.size += size
        self.leaves += 1
        self._put(0, _Child(leaf, size, key))

    def _put(self, level: int, child: _Child) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == FANOUT:
            self._push_up(level)
        self._levels[level].append(child)

    def finish(self) -> CID:
        """Gives the CID of the file: its leaf if it has only one, else the root node."""
        level = 0
        while level < len(self._levels) - 1:  # pushing up may add a level
            if self._levels[level]:
                self._push_up(level)
            level += 1
        top = self._levels[-1]
        if not top:
            return EMPTY_LEAF
        root = top[0] if len(top) == 1 else self._node(top)
        self.key = root.key
        return root.cid

    def _push_up(self, level: int) -> None:
        children, self._levels[level] = self._levels[level], []
        self._put(level + 1, self._node(children))

    def _node(self, children: list[_Child]) -> _Child:
        sizes = [child.size for child in children]
        keys = [child.key for child in children] if children[0].key else None
        block = manifest.file_block([child.cid for child in children], sizes, keys)
        cid, key = self._emit(block) or (block.cid, b"")
        return _Child(cid, sum(sizes), key)


class DirBuilder:
    """Takes the entries of one directory, sorted by name; gives the directory's CID, size and entries."""

    def __init__(self, emit: Emit, *, sealed: bool = False, cut: Cut | None = None) -> None:
        """``cut`` is called before each piece of a directory that is cut, with the names and the entries in it."""
        self._emit = emit
        self._sealed = sealed
        self._cut = cut
        self._held: list[Entry] = []
        self._names: list[bytes] = []  # of those held
        self._weight = 0  # of those held
        self._last = ""
        self._cutting = False
        self._levels: list[list[Shard]] = []
        self.size = 0
        self.entries = 0
        self.key = b""  # of the whole, once it is finished, if it is sealed

    def add(self, entry: Entry, name: bytes | None = None) -> None:
        """Takes the next entry. Raises UnsafeName, or ValueError if its name does not sort behind the one before.

        ``name``: its name in UTF-8, where the caller has it.
        """
        check_name(entry.name)
        if entry.kind == LINK:
            check_target(entry.target)
        if entry.name <= self._last:
            raise ValueError(f"{entry.name!r} comes behind {self._last!r}: entries come sorted by name, each name once")
        self._last = entry.name
        self.size += entry.size
        self.entries += entry.entries
        if name is None:
            name = entry.name.encode()
        if self._cutting:
            self._put_entry(entry, name)
            return
        self._held.append(entry)
        self._names.append(name)
        self._weight += _weight(entry, name)
        if len(self._held) > FANOUT or self._weight > _WEIGHT_MAX:
            self._cutting = True
            for earlier_name, earlier in zip(*self._release(), strict=True):
                self._put_entry(earlier, earlier_name)

    @property
    def held(self) -> tuple[list[bytes], list[Entry]]:
        """The names and the entries of what is in no piece: all that came, where the directory is not cut."""
        return self._names, self._held

    def finish(self) -> CID:
        """Gives the CID of the directory."""
        if not self._cutting:
            cid, self.key = self._made(manifest.dir_block(self._held, self._names, sealed=self._sealed))
            return cid
        if self._held:
            self._close_piece()
        return self._close_levels()

    def _release(self) -> tuple[list[bytes], list[Entry]]:
        names, entries = self._names, self._held
        self._names, self._held, self._weight = [], [], 0
        return names, entries

    def _put_entry(self, entry: Entry, name: bytes) -> None:
        weight = _weight(entry, name)
        if self._weight + weight > _WEIGHT_MAX:
            self._close_piece()
        self._held.append(entry)
        self._names.append(name)
        self._weight += weight
        if len(self._held) == FANOUT or _cuts(name, 0):
            self._close_piece()

    def _close_piece(self) -> None:
        names, entries = self._release()
        if self._cut is not None:
            self._cut(names, entries)
        cid, key = self._made(manifest.dir_block(entries, names, sealed=self._sealed))
        size, count = sum(entry.size for entry in entries), sum(entry.entries for entry in entries)
        self._put(0, Shard(entries[-1].name, cid, size, count, key))

    def _put(self, level: int, shard: Shard) -> None:
        if level == len(self._levels):
            self._levels.append([])
        shards = self._levels[level]
        shards.append(shard)
        if len(shards) == FANOUT or (len(shards) > 1 and _cuts(shard.last.encode(), level + 1)):
            self._close_index(level)

    def _close_index(self, level: int) -> None:
        shards, self._levels[level] = self._levels[level], []
        if len(shards) == 1:  # an index over one piece says nothing: lift the piece
            self._put(level + 1, shards[0])
            return
        cid, key = self._made(manifest.shards_block(shards))
        size, count = sum(shard.size for shard in shards), sum(shard.entries for shard in shards)
        self._put(level + 1, Shard(shards[-1].last, cid, size, count, key))

    def _close_levels(self) -> CID:
        level = 0
        while True:
            shards = self._levels[level]
            if level == len(self._levels) - 1 and len(shards) == 1:
                self.key = shards[0].key
                return shards[0].cid
            if shards:
                self._close_index(level)
            level += 1

    def _made(self, block: Block) -> tuple[CID, bytes]:
        return self._emit(block) or (block.cid, b"")


def _weight(entry: Entry, name: bytes) -> int:
    return _ENTRY_WEIGHT + len(name) + len(entry.target.encode())


def _cuts(name: bytes, level: int) -> bool:
    """Whether a piece ends behind ``name``: one name in 256, each level by another byte of the hash."""
    return hashlib.sha256(name).digest()[level] == 0
