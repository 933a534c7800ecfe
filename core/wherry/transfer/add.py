"""`add`: the way of the data from files to a CID.

    scan -> small files in batches, large ones in stretches -> read and hash (worker threads, one hop)
         -> in order: leaves into file trees, entries into directories -> record nodes and places -> acknowledge the root

With encryption, leaves are sealed before they are hashed and nodes before they are recorded, and a header says who may open
them; the sealed blocks themselves are made again from the files when somebody asks for them (specs/0016).

Reads every byte once and copies none (D3). What an earlier run read and recorded is not read again: whole files that have
not changed, and the beginning of a large file whose reading was interrupted. Synchronous; it imports no event loop.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.block import EMPTY_LEAF
from wherry.chunking import FixedChunker
from wherry.cid import CID, RAW
from wherry.dag.build import nodes_of
from wherry.errors import NotFound, SourceChanged, UsageError
from wherry.manifest import DIR, FILE, PLAIN, Attrs, Entry, dataset_block
from wherry.results import UNIXFS_OFF
from wherry.store.index import DIGEST_BYTES, FileRecord, LeafRow, Signature
from wherry.synth import Synth, is_synth
from wherry.transfer.hashing import Naming, Opened
from wherry.transfer.large import LargeFileReading
from wherry.transfer.readers import Batch, Readers
from wherry.transfer.record import Recorder
from wherry.transfer.remembered import LOOK_UP_FILES, Known, Remembered
from wherry.transfer.scan import Found, Left, Seen, Skipped, root_kind, scan
from wherry.transfer.tally import Tally
from wherry.transfer.trees import ENCRYPTED, Trees

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from wherry.abc.chunker import Chunker
    from wherry.block import Block
    from wherry.buffers import BufferPool
    from wherry.dagpb import Linked
    from wherry.publiccid import PublicCID
    from wherry.store.store import Store
    from wherry.transfer.publish import Publication
    from wherry.transfer.reader import Row
    from wherry.transfer.record import LargeFile
    from wherry.transfer.trees import FileTrees

_BATCH_FILES: Final = 64  # small files a call: many share one hop
_MANY_FILES: Final = 512  # from so many on, children that read along are worth their start
_WINDOW: Final = 8  # batches under way; their results wait for their turn


_File: TypeAlias = tuple[Found, Batch, int]  # a file to be read, its batch and its place there


class Add:
    """One run of `add`. ``run`` blocks its thread; ``cancel`` may be called from any other."""

    def __init__(
        self,
        store: Store,
        pool: BufferPool,
        chunker: Chunker,
        *,
        mtime: bool = False,
        home: str = "",
        publication: Publication | None = None,
        unixfs: bool = True,
    ) -> None:
        """``publication``: encrypt, and for whom; ``unixfs``: build the twin in UnixFS as well, where there can be one."""
        self._store = store
        self._pool = pool
        self._naming = Naming(chunker, publication.sealer if publication else None)
        self._mtime = mtime
        self._home = os.path.realpath(home) if home else ""
        self._recorder = Recorder(store, publication.write_kept if publication is not None else None)
        self._publication = publication
        self._cut = publication.cut(chunker.name) if publication else chunker.name
        # What cuts at fixed distances and does not seal needs no plugin, so child processes can do it.
        self._fixed = chunker.leaf_bytes if isinstance(chunker, FixedChunker) and publication is None else 0
        self._readers = Readers(self._fixed, pool, None if self._fixed else self._naming.small)
        without = ENCRYPTED if publication is not None else "" if unixfs else UNIXFS_OFF
        self._trees = Trees(self._emit, self._recorder.twin, sealed=publication is not None, without=without)
        self._cancelled = False
        self._root_path = ""
        self.tally = Tally()

    @property
    def new_blocks(self) -> int:
        """Blocks that this node did not hold before."""
        return self._recorder.new_blocks

    @property
    def unixfs(self) -> PublicCID | None:
        """The CID of the twin in UnixFS, once `run` is over; None: there is none, for `unixfs_reason`."""
        return self._trees.twin

    @property
    def unixfs_reason(self) -> str:
        """Why there is no twin."""
        return self._trees.reason

    @property
    def reused_blocks(self) -> int:
        """Blocks that this node held already."""
        return self._recorder.blocks - self._recorder.new_blocks

    @property
    def unique_bytes(self) -> int:
        """Bytes of leaves that this node did not hold before."""
        return self._recorder.new_bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes of manifest nodes, and of blocks that cannot be made again, written into the home."""
        return self._recorder.stored_bytes

    def cancel(self) -> None:
        """Ends ``run`` soon, with InterruptedError; what was read stays recorded."""
        self._cancelled = True

    def run(self, path: str, meta: Mapping[str, str]) -> CID:
        """Adds the file or directory at ``path`` (a link there is followed, none below); gives its CID.

        Raises what reading and recording raise (LocalError, SourceChanged, UnsafeName, StoreError), UsageError,
        InterruptedError if cancelled. What was recorded until then stays, so the next run goes on there.
        """
        _check_names()
        if meta:
            dataset_block(_ANY, dict(meta))  # words that do not fit are refused before a long read, not after it
        self._root_path, seen = self._open(path)
        with closing(seen), closing(self._readers), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "wherry-hash") as threads:
            try:
                entry = self._build(seen, threads)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                self._recorder.flush()
                raise
        cid = self._root(entry, meta)
        options = {"chunker": self._naming.chunker.name, "mtime": str(self._mtime).lower()}
        if self._publication is not None:
            options |= self._publication.options
        if self.unixfs is not None:
            options["unixfs"] = str(self.unixfs)
        self._recorder.root(cid, self._root_path, "add", options)
        return cid

    def _root(self, entry: Entry, meta: Mapping[str, str]) -> CID:
        """Makes what stands above the tree."""
        if self._publication is not None:
            sealed, key = self._publication.node(dataset_block(entry, dict(meta)))
            self._recorder.node(sealed)
            for block in self._publication.finish(sealed.cid, key):
                self._recorder.node(block)
            return self._publication.header.cid
        if not meta and entry.attrs == PLAIN:
            return entry.cid
        block = dataset_block(entry, dict(meta))
        self._recorder.node(block)
        return block.cid

    def _emit(self, node: Block) -> tuple[CID, bytes] | None:
        """Keeps a manifest node; sealed, gives what its parent lists."""
        if self._publication is None:
            self._recorder.node(node)
            return None
        sealed, key = self._publication.node(node)
        self._recorder.node(sealed)
        return sealed.cid, key

    def _open(self, path: str) -> tuple[str, Generator[Seen]]:
        if is_synth(path):
            where = Synth(path).address
        else:
            where = os.path.realpath(path)
            if root_kind(where) == DIR:
                if where == self._home:
                    raise UsageError(f"{path!r} is wherry's own home", hint="add the directory that your data is in")
                return where, scan(where, leave_out=self._home)
        return where, _one(Found(FILE, where, ""))

    # Order: what comes first in the manifest is settled first

    def _build(self, seen: Iterable[Seen], threads: ThreadPoolExecutor) -> Entry:
        trees = self._trees
        pending: deque[_File | Known | Seen] = deque()
        batch = Batch()
        sent = 0  # files

        def settle() -> None:
            """Settles the oldest item."""
            item = pending.popleft()
            if isinstance(item, Found):
                if item.kind == DIR:
                    trees.enter(item.name)
                else:
                    trees.link(item.name, item.target)
            elif isinstance(item, Left):
                trees.leave()
            elif isinstance(item, Skipped):
                self.tally.warn(f"{item.path!r} is left out: {item.why}")
            else:
                trees.put(*self._settle_file(item, threads))
                if self.tally.files % _BATCH_FILES == 0:
                    self._flush_if_due()

        for item in self._known(seen):
            if self._cancelled:
                raise InterruptedError
            if isinstance(item, Found) and item.kind == FILE:
                pending.append((item, batch, len(batch.paths)))
                batch.paths.append(item.path)
                if len(batch.paths) == _BATCH_FILES:
                    self._readers.submit(batch)
                    batch = Batch()
                    sent += _BATCH_FILES
                    if sent == _MANY_FILES:
                        self._readers.start()
            else:
                pending.append(item)
            while len(pending) > _WINDOW * _BATCH_FILES:
                if batch.paths and pending[0][1:2] == (batch,):  # files that are known, links and folders filled the window
                    self._readers.submit(batch)
                    batch = Batch()
                settle()
        if batch.paths:
            self._readers.submit(batch)
        while pending:
            settle()
        return trees.finish()

    # Files

    def _known(self, seen: Iterable[Seen]) -> Iterable[Seen | Known]:
        """Puts what is recorded beside each file that has not changed since, in the same order."""
        remembered = Remembered(self._store, self._cut, self._root_path)
        for some in _groups(seen, LOOK_UP_FILES):
            for item in some:
                self.tally.look_at(item, self._root_path)
            yield from remembered.beside(some)

    def _settle_file(self, item: _File | Known, threads: ThreadPoolExecutor) -> tuple[Entry, Linked | None]:
        """Gives a file's entry, and its twin unless that is its only leaf."""
        found = item[0]
        self.tally.files += 1
        if len(item) == 4:
            _, known, executable, _ = item
            size = known.signature.size
            leaves = known.leaves or -(-size // self._naming.chunker.leaf_bytes_max)  # 0: recorded by an older wherry
            self._recorder.known(leaves + nodes_of(leaves))
            self.tally.bytes += size
            entry = Entry(found.name, FILE, known.cid or EMPTY_LEAF, size, 1, self._attrs(executable, known.signature))
            entry = entry._replace(key=known.key)
            if self._publication is not None:
                self._publication.again(entry)
            return entry, self._trees.known(entry.cid, self._store.nodes)
        _, batch, place = item
        if is_synth(found.path):
            return self._large(found, threads)
        row = self._readers.result(batch)[place]
        return self._large(found, threads) if row[7] is None else self._small(found, row, self._rows(row))

    def _rows(self, row: Row) -> list[LeafRow]:
        """Gives the leaves of a small file; from children come only their digests."""
        if not self._fixed:
            rows: list[LeafRow] = row[7]
            return rows
        size, digests = row[2], row[7]
        if size <= self._fixed:
            return [LeafRow(digests, 0, size)] if size else []
        starts = zip(range(0, len(digests), DIGEST_BYTES), range(0, size, self._fixed), strict=True)
        return [LeafRow(digests[at : at + DIGEST_BYTES], offset, min(self._fixed, size - offset)) for at, offset in starts]

    def _small(self, found: Found, row: Row, leaves: list[LeafRow]) -> tuple[Entry, Linked | None]:
        size, key, twin = row[2], b"", None
        if len(leaves) > 1:
            file = self._trees.begin()
            for leaf in leaves:
                self._link(leaf, file)
            cid, key, twin = file.finish(), file.key, file.twin
        else:
            cid = CID.from_digest(RAW, leaves[0].digest) if leaves else EMPTY_LEAF
            key = leaves[0].key if leaves else b""
            if self._publication is not None:
                self._publication.leaves(leaves)
        signature = Signature(*row[:5])
        self._recorder.file(FileRecord(found.path, signature, None if row[6] else cid, self._cut, leaves, key))
        self.tally.bytes += size
        self.tally.read_bytes += size
        attrs = self._attrs(row[5] & 0o100 != 0, signature) if row[5] & 0o100 or self._mtime else PLAIN
        return Entry(found.name, FILE, cid, size, 1, attrs, "", key), twin

    def _large(self, found: Found, threads: ThreadPoolExecutor) -> tuple[Entry, Linked | None]:
        synth = Synth(found.path) if is_synth(found.path) else None
        with closing(_opened(found.path, synth)) as opened:
            size = opened.signature.size
            if not found.name:
                self.tally.bytes_total = size
            file = self._trees.begin()
            record = self._recorder.large(found.path, opened.signature, self._cut)
            key = self._naming.sealer.file_key() if self._naming.sealer is not None else b""
            for leaf in record.so_far():
                self._link(leaf, file)
            self._recorder.known(file.leaves)
            self.tally.bytes += file.size
            leaves = LargeFileReading(opened, self._naming, key, threads, self._pool).leaves(file.size)
            try:
                with closing(leaves):
                    for some in leaves:
                        self._take(some, file, record)
            except BaseException:
                record.save()
                raise
            opened.check_same()
            cid = file.finish()
            record.finish(None if opened.racy else cid, file.key)
            attrs = self._attrs(opened.executable, opened.signature)
            return Entry(found.name, FILE, cid, size, 1, attrs, "", file.key), file.twin

    def _link(self, leaf: LeafRow, file: FileTrees) -> None:
        file.add(leaf)
        if self._publication is not None:
            self._publication.leaves([leaf])

    def _take(self, leaves: list[LeafRow], file: FileTrees, record: LargeFile) -> None:
        if self._cancelled:
            raise InterruptedError
        for leaf in leaves:
            self._link(leaf, file)
            self.tally.bytes += leaf.size
            self.tally.read_bytes += leaf.size
        record.add(leaves)
        self._flush_if_due()

    def _flush_if_due(self) -> None:
        for block in self._publication.drain() if self._publication is not None else ():
            self._recorder.node(block)
        self._recorder.flush_if_due()

    def _attrs(self, executable: bool, signature: Signature) -> Attrs:
        if not executable and not self._mtime:
            return PLAIN
        return Attrs(executable, divmod(signature.mtime, 10**9) if self._mtime else None)


_ANY: Final = Entry("", FILE, EMPTY_LEAF)


def _check_names() -> None:
    """Names are read as UTF-8; under another encoding the same tree would get another CID. Raises UsageError."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UsageError(f"this locale reads file names as {encoding}, not as UTF-8", hint="set PYTHONUTF8=1")


def _opened(path: str, synth: Synth | None) -> Opened:
    try:
        return Opened(path, synth)
    except NotFound as problem:  # it was there a moment ago
        raise SourceChanged(f"{path!r} vanished while the tree was read", hint="run the same command again") from problem


def _one(item: Seen) -> Generator[Seen]:
    yield item


def _groups(seen: Iterable[Seen], count: int) -> Iterator[list[Seen]]:
    """Cuts what comes into lists of at most ``count``."""
    iterator = iter(seen)
    while some := list(islice(iterator, count)):
        yield some
