"""Trees in memory, for tests of what builds and walks manifests: no disk, no network, and leaves as small as a test likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.block import Block, named
from wherry.chunking import FixedChunker
from wherry.cid import CID, RAW
from wherry.dag.build import DirBuilder, FileBuilder
from wherry.dag.walk import Need, Walk, find, root_of
from wherry.manifest import DIR, FILE, PLAIN, Attrs, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wherry.dag.walk import Step


class MemoryTree:
    """Builds files and directories into ``blocks``, by CID, and walks them."""

    def __init__(self, blocks: Mapping[CID, bytes] | None = None) -> None:
        self.blocks: dict[CID, bytes] = dict(blocks or {})

    def keep(self, block: Block) -> None:
        """Keeps a block."""
        self.blocks[block.cid] = block.data

    def file(self, name: str, data: bytes, *, leaf_bytes: int = 10, attrs: Attrs = PLAIN) -> Entry:
        """Keeps a file's leaves and nodes; gives its entry."""
        builder = FileBuilder(self.keep)
        for offset, length in FixedChunker(leaf_bytes).cuts(len(data)):
            leaf = named(RAW, data[offset : offset + length])
            self.keep(leaf)
            builder.add(leaf.cid, length)
        return Entry(name, FILE, builder.finish(), len(data), 1, attrs)

    def directory(self, name: str, entries: Iterable[Entry]) -> Entry:
        """Keeps the nodes of a directory of ``entries``, in any order; gives its own entry."""
        builder = DirBuilder(self.keep)
        for entry in sorted(entries):
            builder.add(entry)
        return Entry(name, DIR, builder.finish(), builder.size, builder.entries + 1)

    def drive(self, walk: Walk) -> Iterator[Step]:
        """Gives the steps of ``walk``, and the blocks that it needs to it; raises what the walk raises."""
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                walk.supply(Block(step.cid, self.blocks[step.cid]))
            else:
                yield step

    def find(self, root: Entry, path: str) -> tuple[Entry, int]:
        """Gives the entry at ``path`` and how many nodes it took; raises what `find` raises."""
        search, asked = find(root, path), 0
        try:
            need = next(search)
            while True:
                asked += 1
                need = search.send(Block(need.cid, self.blocks[need.cid]))
        except StopIteration as done:
            entry: Entry = done.value
            return entry, asked


def unfold(root: CID, blocks: Mapping[CID, bytes]) -> Iterator[Step]:
    """Gives the steps of a walk over ``blocks`` from a root CID (all but `Need`); raises what the walk raises.

    A block that ``blocks`` does not have ends it with what ``blocks`` raises (KeyError).
    """
    walk = Walk(root_of(Block(root, blocks[root])).entry)
    while (step := walk.step()) is not None:
        if isinstance(step, Need):
            walk.supply(Block(step.cid, blocks[step.cid]))
        else:
            yield step
