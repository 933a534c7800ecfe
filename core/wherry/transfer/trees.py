"""The trees that an `add` builds side by side over the same leaves: wherry's own manifest, and its twin in UnixFS.

The twin costs no second read: it links to the leaves as they are. Where it cannot be (a leaf is larger than an IPFS block may
be, the dataset is encrypted, names whose hashes collide) it is given up with a reason, and the manifest goes on without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.cid import CID, RAW
from wherry.dag.build import DirBuilder, FileBuilder
from wherry.dagpb import Linked
from wherry.errors import DataError, LimitExceeded, NoSpace, StoreError
from wherry.limits import PB_BYTES_MAX
from wherry.manifest import DIR, LINK, PLAIN, Entry, FileNode, decode
from wherry.names import shown
from wherry.publiccid import PublicCID
from wherry.unixfs import build
from wherry.unixfs import build_dir as unixfs_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.block import Block
    from wherry.dag.build import Emit
    from wherry.dagpb import HasBlocks
    from wherry.store.index import LeafRow
    from wherry.store.nodes import NodeDB
    from wherry.unixfs.build import Child

ENCRYPTED: Final = "the dataset is encrypted"


class Trees:
    """Takes what a scan gives, in its order. Not for several threads."""

    def __init__(
        self, emit: Emit, emit_twin: Callable[[bytes, bytes], None], *, sealed: bool = False, without: str = ""
    ) -> None:
        """``without``: why there is to be no twin; empty: there is one."""
        self._emit = emit
        self._emit_twin = emit_twin
        self._sealed = sealed
        self._twinned = not without
        self._builders = [self._builder()]
        self._names: list[str] = []
        self._alone: Entry | None = None
        self.reason = without  # why there is no twin
        self.twin: PublicCID | None = None  # once it is finished

    def enter(self, name: str) -> None:
        """Begins a directory."""
        self._builders.append(self._builder())
        self._names.append(name)

    def leave(self) -> None:
        """Ends the directory that was begun last."""
        self.put(*self._finished(self._names.pop()))

    def link(self, name: str, target: str) -> None:
        """Takes a symbolic link."""
        twin = _linked(build.link(target.encode(), self._emit_node)) if self._twinned else None
        self.put(Entry(name, LINK, target=target), twin)

    def begin(self) -> FileTrees:
        """Begins a file of several leaves."""
        return FileTrees(self, self._emit, build.FileBuilder(self._emit_node) if self._twinned else None)

    def put(self, entry: Entry, twin: Linked | None) -> None:
        """Takes a file, or the only one if it has no name; ``twin`` None: it is its leaf, if there is a twin at all."""
        if not entry.name:
            self._alone = entry
            if self._twinned and (twin is not None or self._fits(entry.name, entry.size)):
                self.twin = PublicCID(twin.cid if twin is not None else entry.cid)
            return
        name, builder = entry.name.encode(), self._builders[-1]
        if twin is not None:
            if builder.twins is None:
                builder.twins = {}
            builder.twins[name] = twin  # before the entry, which may complete a piece
        elif entry.size > PB_BYTES_MAX and self._twinned:
            self._fits(entry.name, entry.size)
        builder.add(entry, name)

    def known(self, cid: CID, nodes: NodeDB) -> Linked | None:
        """Makes the twin of a file that is not read again, from its manifest."""
        if not self._twinned or cid.codec == RAW:
            return None
        builder = build.FileBuilder(self._emit_node)
        try:
            for leaf, size in _leaves(cid, nodes):
                if not self._fits("", size):
                    return None
                builder.add(build.leaf_of(leaf, size))
        except (DataError, StoreError) as problem:
            self.give_up(problem.message)
            return None
        return _linked(builder.finish())

    def finish(self) -> Entry:
        """Gives the entry, without a name, of all that came."""
        if self._alone is not None:
            return self._alone
        entry, twin = self._finished("")
        if twin is not None:
            self.twin = PublicCID(twin.cid)
        return entry

    def give_up(self, reason: str) -> None:
        """Goes on without the twin."""
        self.reason = self.reason or reason
        self._twinned = False
        for builder in self._builders:
            builder.twins = builder.large = None

    def _builder(self) -> _Directory:
        return _Directory(self._emit, sealed=self._sealed, cut=self._piece)

    def _emit_node(self, node: Block) -> None:
        self._emit_twin(*node)

    def _piece(self, names: list[bytes], entries: list[Entry]) -> None:
        """The manifest has cut the directory under way: its twin, too, is hardly one block."""
        if not self._twinned:
            return
        builder = self._builders[-1]
        if builder.large is None:
            builder.large = unixfs_dir.DirBuilder(self._emit_node)
        try:
            linked, _ = _with_twins(names, entries, builder.twins)
            builder.large.put_many([(name, each.cid, each.size) for name, each in zip(names, linked, strict=True)])
        except (LimitExceeded, NoSpace) as problem:
            self.give_up(problem.message)

    def _finished(self, name: str) -> tuple[Entry, Linked | None]:
        """Ends the directory under way; gives its entry, and its twin if there is one."""
        builder = self._builders[-1]
        cid = builder.finish()
        self._builders.pop()
        entry = Entry(name, DIR, cid, builder.size, builder.entries + 1, PLAIN, "", builder.key)
        if not self._twinned:
            return entry, None
        try:
            return entry, self._twin(builder)
        except (LimitExceeded, NoSpace) as problem:
            self.give_up(problem.message)
            return entry, None

    def _twin(self, builder: _Directory) -> Linked:
        """Makes the twin of a directory that is finished. Raises LimitExceeded, NoSpace."""
        if builder.large is not None:
            return _linked(builder.large.finish())
        names, entries = builder.held
        linked: Sequence[HasBlocks] = entries
        below = builder.size
        if builder.twins:
            linked, more = _with_twins(names, entries, builder.twins)
            below += more
        twin = unixfs_dir.one_block(names, linked, below, self._emit_twin)
        if twin is not None:
            return twin
        large = unixfs_dir.DirBuilder(self._emit_node)
        large.put_many([(name, each.cid, each.size) for name, each in zip(names, linked, strict=True)])
        return _linked(large.finish())

    def _fits(self, what: str, size: int) -> bool:
        """Tells whether an IPFS block can be as large as this leaf; gives the twin up if not."""
        if size > PB_BYTES_MAX:
            where = f"a chunk of {shown(what)}" if what else "a chunk"
            self.give_up(f"{where} is larger than the 2 MiB of an IPFS block; --chunker fixed:1MiB cuts smaller ones")
        return size <= PB_BYTES_MAX


class _Directory(DirBuilder):
    """A directory under way: what the manifest needs, and what its twin needs besides."""

    twins: dict[bytes, Linked] | None = None  # by name, of entries whose twins are not what the entry names
    large: unixfs_dir.DirBuilder | None = None  # where the manifest cuts it


class FileTrees:
    """The two trees of one file."""

    def __init__(self, trees: Trees, emit: Emit, twin: build.FileBuilder | None) -> None:
        self._trees = trees
        self._own = FileBuilder(emit)
        self._twin = twin
        self.twin: Linked | None = None  # of the whole file, once it is finished, if there is a twin

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._own.size

    @property
    def leaves(self) -> int:
        """Leaves so far."""
        return self._own.leaves

    @property
    def key(self) -> bytes:
        """Of the whole, once it is finished, where leaves came with keys."""
        return self._own.key

    def add(self, leaf: LeafRow) -> None:
        """Takes the next leaf."""
        cid = CID.from_digest(RAW, leaf.digest)
        self._own.add(cid, leaf.size, leaf.key)
        if self._twin is not None:
            if leaf.size <= PB_BYTES_MAX:
                self._twin.add(build.Child(cid, leaf.size, leaf.size))
            else:
                self._trees._fits("", leaf.size)
                self._twin = None

    def finish(self) -> CID:
        """Gives the CID of the file in the manifest."""
        if self._twin is not None:
            self.twin = _linked(self._twin.finish())
        return self._own.finish()


def _linked(child: Child) -> Linked:
    return Linked(child.cid, child.tsize)


def _with_twins(names: list[bytes], entries: list[Entry], twins: dict[bytes, Linked] | None) -> tuple[list[HasBlocks], int]:
    """Puts twins in the place of entries, and takes them out of ``twins``; tells how many bytes more they have together."""
    linked: list[HasBlocks] = [*entries]
    more = 0
    if twins:
        for at, name in enumerate(names):
            twin = twins.pop(name, None)
            if twin is not None:
                more += twin.size - linked[at].size
                linked[at] = twin
    return linked, more


def _leaves(cid: CID, nodes: NodeDB) -> Iterator[tuple[CID, int]]:
    """Gives the leaves below a node of a file, in order, with their sizes. Raises DataError, StoreError."""
    block = nodes.get_many([cid]).get(cid)
    if block is None:
        raise StoreError(f"node {cid} is no longer here")
    node = decode(block)
    if not isinstance(node, FileNode):
        raise StoreError(f"node {cid} is none of a file")
    start = 0
    for child, end in zip(node.links, node.ends, strict=True):
        if child.codec == RAW:
            yield child, end - start
        else:
            yield from _leaves(child, nodes)
        start = end
