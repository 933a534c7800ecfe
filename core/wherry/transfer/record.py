"""Records what `add` and `get` did, in batches: nodes first, then where leaves lie; roots last (specs/0005 §6)."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Final

from wherry.store.index import FileRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.block import Block
    from wherry.cid import CID
    from wherry.store.index import Index, LeafRow, Signature
    from wherry.store.places import Fresh
    from wherry.store.store import Store

_ROWS_MAX: Final = 16_384  # rows or nodes a transaction: tens of milliseconds in which readers wait
_NODE_BYTES_MAX: Final = 4 << 20
_SECONDS_MAX: Final = 2.0  # what a kill may cost


class Recorder:
    """Gathers nodes and leaves and writes them in order. Not for several threads."""

    def __init__(self, store: Store, before: Callable[[], None] | None = None, index: Index | None = None) -> None:
        """``before`` writes what must be on disk before anything that is recorded refers to it.

        ``index`` takes the places of whole files and of leaves instead of the one that is in force.
        """
        self._store = store
        self._index = index or store.index
        self.before = before or _nothing
        self._nodes: list[Block] = []
        self._twins: dict[bytes, bytes] = {}  # by CID
        self._node_bytes = 0
        self._twin_bytes = 0
        self._files: list[FileRecord] = []
        self._loose: list[tuple[int, LeafRow]] = []
        self._rows = 0
        self._since = time.monotonic()
        self.blocks = 0  # leaves and nodes given
        self.new_blocks = 0  # of them, those that were not known
        self.new_bytes = 0  # of leaves that were not known
        self.stored_bytes = 0  # of nodes, as written into the home

    def node(self, block: Block) -> None:
        """Takes a manifest node."""
        self._nodes.append(block)
        self._node_bytes += len(block.data)
        self.blocks += 1
        self.stored_bytes += len(block.data)

    def twin(self, cid: bytes, data: bytes) -> None:
        """Takes a node of a UnixFS tree over leaves that are counted already; what it takes on disk is counted, it is not."""
        size = len(data)
        self._twins[cid] = data
        self._twin_bytes += size
        self.stored_bytes += size
        if len(self._twins) >= _ROWS_MAX or self._twin_bytes >= _NODE_BYTES_MAX:  # shards of a huge directory come all at once
            self.flush()

    def file(self, record: FileRecord, since: float = inf) -> None:
        """Takes a file that was read whole; its reading began at ``since`` (of `time.monotonic`), if that is some time ago."""
        self._since = min(self._since, since)
        self._files.append(record)
        self._rows += 1 + len(record.leaves)
        self.blocks += len(record.leaves)

    def leaves(self, file: int, leaves: Sequence[LeafRow]) -> None:
        """Takes leaves, in any order, of a file that `Index.begin` gave the number of."""
        self._loose += [(file, leaf) for leaf in leaves]
        self._rows += len(leaves)
        self.blocks += len(leaves)

    def known(self, leaves: int) -> None:
        """Counts leaves that need no record, because they are known."""
        self.blocks += leaves

    def large(self, path: str, signature: Signature, cut: str) -> LargeFile:
        """Begins a file whose leaves come in order, over a longer time."""
        return LargeFile(self, self._store, path, signature, cut)

    def flush_if_due(self) -> None:
        """Writes if enough has gathered, or enough time has passed."""
        nodes = max(len(self._nodes), len(self._twins))
        node_bytes = max(self._node_bytes, self._twin_bytes)  # twins cause no more transactions, and each of these a sync
        due = self._rows >= _ROWS_MAX or nodes >= _ROWS_MAX or node_bytes >= _NODE_BYTES_MAX
        if due or time.monotonic() - self._since > _SECONDS_MAX:
            self.flush()

    def flush(self, *, last: bool = False) -> None:
        """Writes everything but what the twin needs, unless that is much or this is the ``last`` time.

        It is on disk when this returns. Whoever adds the same files again makes the twin anew, without reading them: a kill
        costs nothing, and of a table in the order of its keys fewer pages are written twice.
        """
        self.before()
        nodes, self._nodes, self._node_bytes = self._nodes, [], 0
        files, self._files = self._files, []
        loose, self._loose, self._rows = self._loose, [], 0
        twins: dict[bytes, bytes] = {}
        if last or 2 * len(self._twins) >= _ROWS_MAX or 2 * self._twin_bytes >= _NODE_BYTES_MAX:
            twins, self._twins, self._twin_bytes = self._twins, {}, 0
        self.new_blocks += self._store.nodes.put_many(nodes, twins)
        self._count(self._index.record(files))
        self._count(self._index.add_rows(loose))
        self._since = time.monotonic()

    def _count(self, fresh: Fresh) -> None:
        self.new_blocks += fresh.leaves
        self.new_bytes += fresh.bytes

    def root(self, cid: CID, path: str, how: str, options: dict[str, str]) -> None:
        """Writes everything, and then acknowledges the root."""
        self.flush(last=True)
        self._store.state.put_root(cid, path, how, options)


def _nothing() -> None:
    """There is nothing to write before."""


class LargeFile:
    """The record of one large file: leaves are written every few seconds, so reading can go on behind them.

    One that is read sooner is recorded as small files are, together with others: its own transactions would be four, each with
    its syncs, and a tree of many files of some MiB is nothing but such files.
    """

    def __init__(self, recorder: Recorder, store: Store, path: str, signature: Signature, cut: str) -> None:
        self._recorder = recorder
        self._store = store
        self._path, self._signature, self._cut = path, signature, cut
        self._leaves: list[LeafRow] = []
        self._count = 0
        self._since = time.monotonic()
        before = store.index.files([path], cut).get(path)
        self.resumed = before is not None and before.cid is None and before.signature == signature
        self._file = before.id if before is not None and self.resumed else None  # None: not begun in the index

    def so_far(self) -> Iterator[LeafRow]:
        """Gives the leaves that an interrupted run left, from the file's start up to the first gap.

        Leaves that are not recorded as such, in that size, are damage: from there on the file is read.
        """
        expected = 0
        for leaves in self._store.index.progress(self._file) if self._file is not None else ():
            known = self._store.index.leaves([leaf.digest for leaf in leaves], sealed=bool(leaves[0].key))
            if leaves[0].offset != expected or any(known.get(leaf.digest) != (leaf.size, leaf.key) for leaf in leaves):
                return
            for leaf in leaves:
                expected += leaf.size
                self._count += 1
                yield leaf

    def add(self, leaves: list[LeafRow]) -> None:
        """Takes the next leaves."""
        self._leaves += leaves
        self._count += len(leaves)
        if len(self._leaves) >= _ROWS_MAX or time.monotonic() - self._since > _SECONDS_MAX:
            self.save()

    def save(self) -> int:
        """Writes the leaves taken so far, of a file that is begun in the index; gives its number there."""
        self._recorder.before()
        if self._file is None:
            self._file = self._store.index.begin(self._path, self._signature, self._cut)
        leaves, self._leaves = self._leaves, []
        self._recorder.blocks += len(leaves)
        self._recorder._count(self._store.index.add_leaves(self._file, leaves, progress=True))
        self._since = time.monotonic()
        return self._file

    def finish(self, cid: CID | None, key: bytes = b"") -> None:
        """Says that the file is whole (None: but to be read again by the next add).

        Its nodes are written first, for a finished file is not read again.
        """
        if self._file is None:
            leaves, self._leaves = self._leaves, []
            self._recorder.file(FileRecord(self._path, self._signature, cid, self._cut, leaves, key), self._since)
            return
        number = self.save()
        self._recorder.flush()
        self._store.index.finish(number, cid, key=key, leaves=self._count)
