"""`repair`: everything that was added or fetched is read again, and a new index takes the place of the one in force."""

from __future__ import annotations

import errno
import os
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.block import verify
from wherry.dag.walk import EnterFile, Leaf, LeaveFile, LinkStep
from wherry.errors import (
    DataError,
    HomeTooNew,
    NoSpace,
    NotFound,
    SourceChanged,
    StoreError,
    Unwritable,
    WherryError,
    in_words,
)
from wherry.observe import Progress
from wherry.offload import apart, in_thread
from wherry.results import RepairResult
from wherry.rootfiles import RootFiles
from wherry.store import peers
from wherry.store.index import FileRecord, LeafRow
from wherry.store.newindex import NewIndex, discard_if_damaged
from wherry.store.nodes import NodeDB
from wherry.store.state import StateDB
from wherry.synth import Synth, is_synth
from wherry.taken import Taken
from wherry.transfer.car_in import IMPORTED
from wherry.transfer.hashing import Opened
from wherry.transfer.pace import paced
from wherry.transfer.record import Recorder
from wherry.transfer.remake import Remaker
from wherry.transfer.target import free_bytes
from wherry.transfer.tree import walk_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wherry.buffers import BufferPool
    from wherry.cid import Bytes
    from wherry.manifest import Entry
    from wherry.observe import Observe
    from wherry.store.state import RootRow
    from wherry.store.store import Store
    from wherry.transfer.sink import Sealer
    from wherry.transfer.unlock import Locksmith


_ELSE: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.ENXIO})  # a link, a file or a socket has taken the place


def set_damaged_aside(home: Path) -> list[str]:
    """Makes way for new databases before a repair: those that SQLite finds damaged are renamed, and an index removed.

    A nodes.db of an earlier wherry is written anew with the pages of today (specs/decisions/0003), if there is room.
    Gives the new names of those. The home must be held alone. Raises HomeTooNew.
    """
    renamed = []
    discard_if_damaged(home)
    peers.discard_if_damaged(home)
    for name, database in (("state.db", StateDB), ("nodes.db", NodeDB)):
        path = home / name
        if not path.exists():
            continue
        try:
            with closing(database(home)) as opened:
                sound = opened.sound()
                if isinstance(opened, NodeDB) and sound:
                    _repage(opened, home)
        except HomeTooNew:
            raise
        except StoreError:
            sound = False
        journal = home / f"{name}-journal"
        if not sound:
            path = path.rename(home / f"{name}.damaged-{int(time.time())}")
            if journal.exists():
                journal.rename(f"{path}-journal")
            renamed.append(str(path))
    return renamed


def _repage(nodes: NodeDB, home: Path) -> None:
    with suppress(StoreError, NoSpace, Unwritable):  # it stays as it is, which is slower and no damage
        nodes.repage(free_bytes(str(home)))


class _Reread(NamedTuple):
    """What became of a root."""

    differs: bool = False  # for sure: something was read, or has gone, or its manifest is lost
    missing: str = ""  # why some of it could not be read, if so


class _Rereading:
    """Reads what one root holds and records where its leaves lie. Blocks its thread."""

    def __init__(self, store: Store, fresh: NewIndex, pool: BufferPool, locksmith: Locksmith) -> None:
        self._store = store
        self._pool = pool
        self._locksmith = locksmith
        self._recorder = Recorder(store, index=fresh)
        self._stopped = False
        self.files = 0
        self.bytes = 0

    def stop(self) -> None:
        """Ends `root` soon, with InterruptedError; any thread."""
        self._stopped = True

    def root(self, row: RootRow) -> _Reread:
        """Tells whether all of the root, or all that was selected of it, still is as its manifest says. What is, is recorded.

        Raises errors of wherry's own databases, which say nothing of a root.
        """
        if not is_synth(row.path):
            try:
                os.lstat(row.path)
            except OSError as problem:
                return _Reread(missing=in_words(problem))
        remaker, taken = Remaker(row.path, self._store.index), Taken(row, self._store)
        here = gone = 0
        differs, missing = False, ""
        try:
            for fault in self._files(row, remaker, taken):
                if fault is None:
                    here += 1
                elif isinstance(fault, NotFound):
                    gone += 1
                elif _is_change(fault):
                    differs = True
                else:
                    missing = missing or fault.message
        except (StoreError, NoSpace, Unwritable):
            raise
        except (DataError, NotFound):
            fault = remaker.unopened  # a leaf that could be a node is made of its file, and tells nothing without it
            differs = fault is None or _is_change(fault) or (isinstance(fault, NotFound) and here > 0)
            missing = "" if fault is None else fault.message
        except WherryError as problem:  # no key, or no plugin, which says nothing of its files
            missing = problem.message
        self._recorder.flush()
        if differs or (gone and here):
            return _Reread(differs=True)
        none = not here and (gone or taken.absent)
        return _Reread(missing=missing or ("none of its files is there" if none else ""))

    def _files(self, row: RootRow, remaker: Remaker, taken: Taken) -> Iterator[WherryError | None]:
        """Reads its files, one after the other; gives what was wrong with each."""
        entry, opening, sealing, cut = RootFiles.of(row, self._store, self._locksmith)
        leaves: list[Leaf] = []
        walk = walk_of(entry)
        for step in taken.steps(walk, opening, remaker):
            if isinstance(step, Leaf):
                leaves.append(step)
                continue
            if not isinstance(step, EnterFile | LeaveFile | LinkStep):
                continue
            path = f"{row.path}/{step.path}" if step.path else row.path
            if isinstance(step, EnterFile):
                leaves = []
                known = taken.enter(path, step.entry.size)
                if known is False or (known is None and taken.misses(path)):
                    taken.leave()
                    walk.skip()
            elif isinstance(step, LeaveFile):
                fault = self._file(path, _sized(step.entry, leaves, path), leaves, cut, sealing)
                if not (_is_change(fault) or isinstance(fault, NotFound)) or taken.counts(path):
                    yield fault
                taken.leave()
            elif not taken.whole and os.path.islink(path):
                yield None  # a selection may be of links alone

    def _file(self, path: str, entry: Entry, leaves: list[Leaf], cut: str, sealing: Sealer | None) -> WherryError | None:
        try:
            record = self._read(path, entry, leaves, cut, sealing)
        except WherryError as problem:
            return problem
        self.files += 1
        self._recorder.file(record)
        self._recorder.flush_if_due()
        return None

    def _read(self, path: str, entry: Entry, leaves: list[Leaf], cut: str, sealing: Sealer | None) -> FileRecord:
        """Hashes one file; gives what to record. Raises SourceChanged, IntegrityError, and what reading does."""
        buffer = self._pool.take()
        try:
            with closing(Opened(path, Synth(path) if is_synth(path) else None)) as opened:
                if opened.signature.size != entry.size:
                    raise SourceChanged(f"{path!r} has another size than it had")
                for leaf in leaves:
                    if self._stopped:
                        raise InterruptedError
                    data: Bytes = opened.read(leaf.offset, leaf.size, buffer.view)
                    self.bytes += leaf.size
                    if sealing is not None and leaf.key:
                        data = sealing.seal_leaf(data, leaf.key, leaf.offset, final=leaf.final)
                    verify(leaf.cid, data, origin=path)
                opened.check_same()
                rows = [LeafRow(leaf.cid.digest, leaf.offset, leaf.size, leaf.key) for leaf in leaves]
                cid = None if opened.racy else entry.cid
                return FileRecord(path, opened.signature, cid, cut, rows, entry.key)
        finally:
            buffer.release()


def _is_change(problem: WherryError | None) -> bool:
    """Tells whether a file that could not be read is another one than it was, and not one that cannot be read now."""
    number = getattr(getattr(problem, "__cause__", None), "errno", None)
    return isinstance(problem, (SourceChanged, DataError)) or number in _ELSE


def _sized(entry: Entry, leaves: list[Leaf], path: str) -> Entry:
    """Gives the entry of a file; of one that is a raw block, with the size that the file at ``path`` has: the hash decides."""
    if leaves and leaves[0].guessed and not leaves[0].key:
        try:
            size = os.lstat(path).st_size
        except OSError:
            return entry
        leaves[0] = leaves[0]._replace(size=size)
        return entry._replace(size=size)
    return entry


async def repair(
    store: Store,
    pool: BufferPool,
    locksmith: Locksmith,
    observe: Observe | None,
    set_aside: list[str],
    *,
    home: Path,
    drop_missing: bool = False,
) -> RepairResult:
    """Reads everything that was added or fetched and records again where it lies; nothing of the user's is changed.

    A root that is no longer what it was, or whose manifest is lost, is dropped from the list of roots, and told; so is
    what `set_damaged_aside` gave. One that cannot be read, for it is not there, or its key is not, stays in the list with
    what is known of it, and is told as missing; with ``drop_missing`` it is dropped as well. Until all is read, the index and
    the roots are as they were, whatever ends this. Raises StoreError, NoSpace, Unwritable.
    """
    began = time.monotonic()
    rows = await in_thread(store.state.roots)
    fresh = await in_thread(partial(NewIndex, home), undo=NewIndex.discard)
    try:
        reading = _Rereading(store, fresh, pool, locksmith)

        def progress() -> Progress:
            return Progress(verb="repair", phase="hash", bytes_done=reading.bytes, files_done=reading.files)

        async with paced(observe, progress):
            found = [
                (row, await apart(partial(reading.root, row), reading.stop))
                for row in rows
                if row.how != IMPORTED  # it lies in the home, and there is nothing to read
            ]
        dropped = [row for row, became in found if became.differs or (became.missing and drop_missing)]
        missing = [] if drop_missing else [(row, became.missing) for row, became in found if became.missing]
        if missing:
            await in_thread(partial(fresh.carry_over, [row.path for row, _ in missing]))
        await in_thread(partial(store.renew_index, fresh))
    finally:
        await in_thread(fresh.discard)
    for row in dropped:
        await in_thread(partial(store.state.drop_root, row.cid, row.path))
    return RepairResult(
        roots=len(rows), kept=len(rows) - len(dropped), dropped=[_named(row) for row in dropped],
        missing=[f"{_named(row)}: {why}" for row, why in missing], set_aside=set_aside, files=reading.files,
        bytes=reading.bytes, seconds=time.monotonic() - began,
    )  # fmt: skip


def _named(row: RootRow) -> str:
    return f"{row.cid} at {row.path}"
