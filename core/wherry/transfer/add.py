"""`add`: the way of the data from files to a CID.

    scan -> small files in batches, large ones in stretches -> read and hash (worker threads, one hop)
         -> in order: leaves into file trees, entries into directories -> record nodes and places -> acknowledge the root

Reads every byte once and copies none (D3). What an earlier run read and recorded is not read again: whole files that have
not changed, and the beginning of a large file whose reading was interrupted. Synchronous; it imports no event loop.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.block import EMPTY_LEAF
from wherry.cid import CID, RAW
from wherry.dag.build import DirBuilder, FileBuilder, nodes_of
from wherry.errors import NotFound, SourceChanged, UsageError
from wherry.limits import BUFFER_BYTES
from wherry.manifest import DIR, FILE, LINK, PLAIN, Attrs, Entry, dataset_block
from wherry.names import escapes, portability
from wherry.store.index import DIGEST_BYTES, FileRecord, Signature
from wherry.synth import Synth, is_synth
from wherry.transfer.hashing import Opened
from wherry.transfer.readers import Batch, Readers
from wherry.transfer.record import Recorder
from wherry.transfer.scan import Found, Left, Seen, Skipped, root_kind, scan

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from wherry.buffers import BufferPool
    from wherry.chunking import FixedChunker
    from wherry.store.index import FileRow
    from wherry.store.store import Store
    from wherry.transfer.hashing import LeafRow
    from wherry.transfer.reader import Row
    from wherry.transfer.record import LargeFile

_BATCH_FILES: Final = 64  # small files a call: many share one hop
_MANY_FILES: Final = 512  # from so many on, children that read along are worth their start
_WINDOW: Final = 8  # batches or stretches under way; their results wait for their turn
_LOOK_UP_FILES: Final = 256  # names looked up in one query
_WARNINGS_MAX: Final = 20  # said one by one; the others are counted


@dataclass(slots=True)
class Tally:
    """What was done so far; read by whoever shows progress."""

    files: int = 0
    bytes: int = 0
    read_bytes: int = 0  # of them, those that had to be read
    bytes_total: int | None = None
    warnings: list[str] = field(default_factory=list)
    more_warnings: int = 0

    def warn(self, text: str) -> None:
        """Keeps a warning, within bounds."""
        if len(self.warnings) < _WARNINGS_MAX:
            self.warnings.append(text)
        else:
            self.more_warnings += 1


_File: TypeAlias = tuple[Found, Batch, int]  # a file to be read, its batch and its place there
_Known: TypeAlias = tuple[Found, "FileRow", bool, None]  # a file that was read before and is unchanged; is it executable?


class Add:
    """One run of `add`. ``run`` blocks its thread; ``cancel`` may be called from any other."""

    def __init__(self, store: Store, pool: BufferPool, chunker: FixedChunker, *, mtime: bool = False, home: str = "") -> None:
        self._store = store
        self._pool = pool
        self._chunker = chunker
        self._mtime = mtime
        self._home = os.path.realpath(home) if home else ""
        self._recorder = Recorder(store)
        self._chunker_name = chunker.name
        self._readers = Readers(chunker.leaf_bytes, pool)
        self._cancelled = False
        self._root_path = ""
        self._look_up = False
        self.tally = Tally()

    @property
    def new_blocks(self) -> int:
        """Blocks that this node did not hold before."""
        return self._recorder.new_blocks

    @property
    def reused_blocks(self) -> int:
        """Blocks that this node held already."""
        return self._recorder.blocks - self._recorder.new_blocks

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
        self._look_up = self._store.index.knows_below(self._root_path)
        with closing(seen), closing(self._readers), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "wherry-hash") as threads:
            try:
                entry = self._build(seen, threads)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                self._recorder.flush()
                raise
        cid = entry.cid
        if meta or entry.attrs != PLAIN:
            block = dataset_block(entry, dict(meta))
            self._recorder.node(block)
            cid = block.cid
        options = {"chunker": self._chunker_name, "mtime": str(self._mtime).lower()}
        self._recorder.root(cid, self._root_path, "add", options)
        return cid

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
        builders = [DirBuilder(self._recorder.node)]
        names: list[str] = []
        alone: list[Entry] = []
        pending: deque[_File | _Known | Seen] = deque()
        batch = Batch()
        sent = 0  # files

        def settle() -> None:
            """Settles the oldest item."""
            item = pending.popleft()
            if isinstance(item, Found):
                if item.kind == DIR:
                    builders.append(DirBuilder(self._recorder.node))
                    names.append(item.name)
                else:
                    builders[-1].add(Entry(item.name, LINK, target=item.target))
            elif isinstance(item, Left):
                inner = builders.pop()
                builders[-1].add(Entry(names.pop(), DIR, inner.finish(), inner.size, inner.entries + 1))
            elif isinstance(item, Skipped):
                self.tally.warn(f"{item.path!r} is left out: {item.why}")
            else:
                entry = self._settle_file(item, threads)
                if entry.name:
                    builders[-1].add(entry)
                else:
                    alone.append(entry)
                if self.tally.files % _BATCH_FILES == 0:
                    self._recorder.flush_if_due()

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
                settle()
        if batch.paths:
            self._readers.submit(batch)
        while pending:
            settle()
        if alone:
            return alone[0]
        root = builders.pop()
        return Entry("", DIR, root.finish(), root.size, root.entries + 1)

    # Files

    def _known(self, seen: Iterable[Seen]) -> Iterable[Seen | _Known]:
        """Puts what is recorded beside each file that has not changed since, in the same order."""
        for some in _groups(seen, _LOOK_UP_FILES):
            paths = [item.path for item in some if isinstance(item, Found) and item.kind == FILE] if self._look_up else []
            rows = self._store.index.files(paths) if paths else {}
            for item in some:
                self._warn(item)
                row = rows.get(item.path) if isinstance(item, Found) and item.kind == FILE else None
                yield (row is not None and isinstance(item, Found) and self._known_still(item, row)) or item

    def _known_still(self, found: Found, row: FileRow) -> _Known | None:
        """Gives the file as it is known, if it is unchanged and its node is here."""
        if row.cid is None or row.chunker != self._chunker_name:
            return None
        if row.cid.codec != RAW and row.cid not in self._store.nodes.sizes([row.cid]):
            return None
        if is_synth(row.path):
            return found, row, False, None
        try:
            stat = os.lstat(row.path)
        except OSError:
            return None
        return (found, row, stat.st_mode & 0o100 != 0, None) if Signature.of(stat) == row.signature else None

    def _settle_file(self, item: _File | _Known, threads: ThreadPoolExecutor) -> Entry:
        found = item[0]
        self.tally.files += 1
        if len(item) == 4:
            _, known, executable, _ = item
            size = known.signature.size
            leaves = self._chunker.count(size)
            self._recorder.known(leaves + nodes_of(leaves))
            self.tally.bytes += size
            return Entry(found.name, FILE, known.cid or EMPTY_LEAF, size, 1, self._attrs(executable, known.signature))
        _, batch, place = item
        if is_synth(found.path):
            return self._large(found, threads)
        row = self._readers.result(batch)[place]
        digests = row[7]
        return self._large(found, threads) if digests is None else self._small(found, row, digests)

    def _small(self, found: Found, row: Row, digests: bytes) -> Entry:
        size, leaf_bytes = row[2], self._chunker.leaf_bytes
        if size <= leaf_bytes:
            cid = CID.from_digest(RAW, digests) if size else EMPTY_LEAF
            leaves = [(digests, 0, size)] if size else []
        else:
            builder = FileBuilder(self._recorder.node)
            leaves = [
                (digests[at : at + DIGEST_BYTES], offset, min(leaf_bytes, size - offset))
                for at, offset in zip(range(0, len(digests), DIGEST_BYTES), range(0, size, leaf_bytes), strict=True)
            ]
            for digest, _, length in leaves:
                builder.add(CID.from_digest(RAW, digest), length)
            cid = builder.finish()
        signature = Signature(*row[:5])
        self._recorder.file(FileRecord(found.path, signature, None if row[6] else cid, self._chunker_name, leaves))
        self.tally.bytes += size
        self.tally.read_bytes += size
        attrs = self._attrs(row[5] & 0o100 != 0, signature) if row[5] & 0o100 or self._mtime else PLAIN
        return Entry(found.name, FILE, cid, size, 1, attrs)

    def _large(self, found: Found, threads: ThreadPoolExecutor) -> Entry:
        synth = Synth(found.path) if is_synth(found.path) else None
        with closing(_opened(found.path, synth)) as opened:
            size, leaf_bytes = opened.signature.size, self._chunker.leaf_bytes
            if not found.name:
                self.tally.bytes_total = size
            builder = FileBuilder(self._recorder.node)
            record = self._recorder.large(found.path, opened.signature, self._chunker_name)
            for digest in record.digests_so_far(leaf_bytes):
                builder.add(CID.from_digest(RAW, digest), min(leaf_bytes, size - builder.size))
            self._recorder.known(builder.leaves)
            self.tally.bytes += builder.size
            running: deque[Future[list[LeafRow]]] = deque()
            at = builder.size
            try:
                while at < size or running:
                    while at < size and len(running) < _WINDOW:
                        length = min(BUFFER_BYTES, size - at)
                        running.append(threads.submit(opened.hash_stretch, at, length, leaf_bytes, self._pool))
                        at += length
                    self._take(running.popleft().result(), builder, record)
            except BaseException:
                record.save()
                raise
            finally:
                for future in running:
                    future.cancel()
                for future in running:
                    future.cancelled() or future.exception()
            opened.check_same()
            cid = builder.finish()
            record.finish(None if opened.racy else cid)
            return Entry(found.name, FILE, cid, size, 1, self._attrs(opened.executable, opened.signature))

    def _take(self, leaves: list[LeafRow], builder: FileBuilder, record: LargeFile) -> None:
        if self._cancelled:
            raise InterruptedError
        for digest, _, size in leaves:
            builder.add(CID.from_digest(RAW, digest), size)
            self.tally.bytes += size
            self.tally.read_bytes += size
        record.add(leaves)
        self._recorder.flush_if_due()

    def _attrs(self, executable: bool, signature: Signature) -> Attrs:
        if not executable and not self._mtime:
            return PLAIN
        return Attrs(executable, divmod(signature.mtime, 10**9) if self._mtime else None)

    def _warn(self, item: Seen) -> None:
        """Says what other machines may refuse, here where it can still be mended."""
        if not isinstance(item, Found) or not item.name:
            return
        problem = portability(item.name)
        if problem is not None:
            self.tally.warn(f"{item.path!r}: the name {problem}; `get` refuses it unless --names posix is given")
        if item.kind == LINK and escapes(item.path[len(self._root_path.rstrip("/")) + 1 :], item.target):
            self.tally.warn(f"{item.path!r} points out of the tree; `get` refuses it unless --links skip or keep is given")


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
