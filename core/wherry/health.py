"""`doctor` and `repair`: what is wrong with a home, and making its index again."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.block import verify
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import EnterFile, Leaf, LeaveFile, root_of
from wherry.errors import BlockNotFound, HomeTooNew, LocalError, NoKey, NoSpace, StoreError, Unwritable, WherryError
from wherry.manifest import FILE, Entry
from wherry.observe import Progress
from wherry.offload import apart, in_thread
from wherry.publiccid import PublicCID
from wherry.results import Check, RepairResult
from wherry.safetree import SafeTree
from wherry.store import peers
from wherry.store.held import there
from wherry.store.index import FileRecord, Index, LeafRow
from wherry.store.nodes import NodeDB
from wherry.store.state import StateDB
from wherry.synth import Synth, is_synth
from wherry.transfer.car_in import IMPORTED
from wherry.transfer.hashing import Opened
from wherry.transfer.pace import paced
from wherry.transfer.record import Recorder
from wherry.transfer.remake import Remaker
from wherry.transfer.target import free_bytes
from wherry.transfer.tree import local_steps, walk_of
from wherry.units import GiB, format_size
from wherry.unixfs.node import root_of as unixfs_root_of
from wherry.unixfs.wrap import Wrapping

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.block import Block
    from wherry.buffers import BufferPool
    from wherry.cid import CID, Bytes
    from wherry.observe import Observe
    from wherry.store.home import Home
    from wherry.store.state import RootRow
    from wherry.store.store import Store
    from wherry.transfer.sink import Sealer
    from wherry.transfer.unlock import Locksmith, Unlocked
    from wherry.wiring import Wiring

_FREE_MIN: Final = 1 * GiB
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})


def examine(home: Home, wiring: Wiring, store: Store) -> list[Check]:
    """Gives one line a thing looked at; blocks its thread for a moment."""
    checks = [
        Check(name="python", status="ok", detail=f"{sys.version.split()[0]} on {sys.platform}"),
        _names(),
        Check(name="sqlite", status="ok", detail=f"{sqlite3.sqlite_version}, rollback journal"),
        Check(name="home", status="ok", detail=f"{home.path}, used by {', '.join(home.holders())}"),
        _modes(home),
        _file_system(home),
        _space(home),
        _direct(),
    ]
    for plugin in wiring.manager.listing():
        if plugin.status != "ok":
            detail = f"{plugin.name}: {plugin.status}"
            checks.append(Check(name="plugin", status="warn", detail=detail, hint="`wherry plugins list` says more"))
    checks += [_root(row, store) for row in store.state.roots()]
    return checks


def _names() -> Check:
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        hint = "set PYTHONUTF8=1: names in a manifest are UTF-8"
        return Check(name="file names", status="fail", detail=f"this locale reads them as {encoding}", hint=hint)
    return Check(name="file names", status="ok", detail="UTF-8")


def set_damaged_aside(home: Path) -> list[str]:
    """Makes way for new databases before a repair: the index goes in any case, others if SQLite finds them damaged.

    A nodes.db of an earlier wherry is written anew with the pages of today (specs/decisions/0003), if there is room.
    Gives the new names of those. The home must be held alone. Raises HomeTooNew.
    """
    renamed = []
    peers.discard_if_damaged(home)
    for name, database in (("state.db", StateDB), ("nodes.db", NodeDB), ("index.db", Index)):
        path = home / name
        if not path.exists():
            continue
        try:
            with closing(database(home)) as opened:
                sound = isinstance(opened, Index) or opened.sound()
                if isinstance(opened, NodeDB) and sound:
                    _repage(opened, home)
        except HomeTooNew:
            raise
        except StoreError:
            sound = False
        journal = home / f"{name}-journal"
        if database is Index:
            path.unlink()
            journal.unlink(missing_ok=True)
        elif not sound:
            path = path.rename(home / f"{name}.damaged-{int(time.time())}")
            if journal.exists():
                journal.rename(f"{path}-journal")
            renamed.append(str(path))
    return renamed


def _repage(nodes: NodeDB, home: Path) -> None:
    with suppress(StoreError, NoSpace, Unwritable):  # it stays as it is, which is slower and no damage
        nodes.repage(free_bytes(str(home)))


def _modes(home: Home) -> Check:
    mode = stat.S_IMODE(os.stat(home.path).st_mode)
    if mode & 0o077:
        return Check(
            name="permissions",
            status="warn",
            detail=f"{home.path} is open to others ({mode:04o})",
            hint=f"chmod 700 {home.path}",
        )
    return Check(name="permissions", status="ok", detail=f"{mode:04o}")


def _file_system(home: Home) -> Check:
    kind, longest = "unknown", -1
    path = os.path.realpath(home.path)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _, place, found, *_ = line.split()
                if (path == place or path.startswith(place.rstrip("/") + "/")) and len(place) > longest:
                    kind, longest = found, len(place)
    except OSError:
        kind = "unknown"
    if kind in _NETWORK_FILE_SYSTEMS:
        hint = "keep the home on a local disk (--home); locks of network file systems do not hold"
        return Check(name="file system", status="warn", detail=f"the home is on {kind}", hint=hint)
    return Check(name="file system", status="ok", detail=kind)


def _space(home: Home) -> Check:
    free = free_bytes(str(home.path))
    status = "ok" if free >= _FREE_MIN else "warn"
    return Check(
        name="space", status=status, detail=f"{format_size(free)} free", hint=None if status == "ok" else "free some space"
    )


def _direct() -> Check:
    with SafeTree("/") as tree:
        has = tree.beneath()
    return Check(name="kernel", status="ok", detail="openat2" if has else "no openat2: paths are walked step by step")


def _root(row: RootRow, store: Store) -> Check:
    if is_synth(row.path) or os.path.lexists(row.path):
        known = bool(store.blocks([row.cid])) or there(store.find([row.cid])[0])
        if known:
            twin = row.options.get("unixfs")
            if twin is not None and not there(store.find([PublicCID.parse(twin).block()])[0]):
                what = f"{row.cid}: its UnixFS form {twin} is not in the store"
                return Check(name="root", status="warn", detail=what, hint="`wherry add` it again")
            return Check(name="root", status="ok", detail=f"{row.cid} at {row.path}")
        return Check(
            name="root", status="fail", detail=f"{row.cid}: its manifest is not in the store", hint="`wherry add` it again"
        )
    return Check(
        name="root", status="warn", detail=f"{row.path} is gone; {row.cid} cannot be served from it", hint="restore it"
    )


class _Rereading:
    """Reads what one root holds and records where its leaves lie. Blocks its thread."""

    def __init__(self, store: Store, pool: BufferPool, locksmith: Locksmith) -> None:
        self._store = store
        self._pool = pool
        self._locksmith = locksmith
        self._recorder = Recorder(store)
        self._stopped = False
        self.files = 0
        self.bytes = 0

    def stop(self) -> None:
        """Ends `root` soon, with InterruptedError; any thread."""
        self._stopped = True

    def root(self, row: RootRow) -> bool:
        """Tells whether all of the root still is as its manifest says. What is, is recorded."""
        whole = True
        try:
            entry, unlocked = self._entry(row)
            sealing: Sealer | None = unlocked.sealing if unlocked is not None else None
            cut = row.options.get("chunker", "")
            if entry.cid.codec == DAG_PB:
                sealing = Wrapping()
                cut += f" {sealing.scheme.name}"
            if unlocked is not None:
                cut = f" {unlocked.header.scheme.name} {unlocked.header.commit.hex()[:16]}"
            leaves: list[Leaf] = []
            inner = unlocked.sealing if unlocked is not None else None
            for step in local_steps(self._store, walk_of(entry), inner, Remaker(row.path, self._store.index)):
                if isinstance(step, EnterFile):
                    leaves = []
                elif isinstance(step, Leaf):
                    leaves.append(step)
                elif isinstance(step, LeaveFile):
                    path = f"{row.path}/{step.path}" if step.path else row.path
                    whole = self._file(path, _sized(step.entry, leaves, path), leaves, cut, sealing) and whole
        except NoKey:  # nothing is known to be wrong with it
            return True
        except WherryError:
            whole = False
        self._recorder.flush()
        return whole

    def _entry(self, row: RootRow) -> tuple[Entry, Unlocked | None]:
        """Gives the root's entry; of an encrypted dataset, unlocked. A bare leaf has no node: its size is the file's."""
        if row.cid.codec == RAW:
            try:
                return Entry("", FILE, row.cid, os.stat(row.path).st_size), None
            except OSError as problem:
                raise LocalError(f"{row.path!r}: {problem.strerror}") from problem
        found = self._block(row.cid)
        if row.cid.codec == DAG_PB:
            return unixfs_root_of(found).entry, None
        if not self._locksmith.knows(found):
            return root_of(found).entry, None
        unlocked = self._locksmith.unlock(found)
        root = unlocked.sealing.open_node(self._block(unlocked.header.root), unlocked.key)
        return root_of(root, sealed=True).entry, unlocked

    def _block(self, cid: CID) -> Block:
        found = self._store.blocks([cid]).get(cid)
        if found is None:
            raise BlockNotFound(f"block {cid} is not here")
        return found

    def _file(self, path: str, entry: Entry, leaves: list[Leaf], cut: str, sealing: Sealer | None) -> bool:
        self.files += 1
        self.bytes += entry.size
        buffer = self._pool.take()
        try:
            with closing(Opened(path, Synth(path) if is_synth(path) else None)) as opened:
                if opened.signature.size != entry.size:
                    return False
                for leaf in leaves:
                    if self._stopped:
                        raise InterruptedError
                    data: Bytes = opened.read(leaf.offset, leaf.size, buffer.view)
                    if sealing is not None and leaf.key:
                        data = sealing.seal_leaf(data, leaf.key, leaf.offset, final=leaf.final)
                    verify(leaf.cid, data, origin=path)
                opened.check_same()
                rows = [LeafRow(leaf.cid.digest, leaf.offset, leaf.size, leaf.key) for leaf in leaves]
                cid = None if opened.racy else entry.cid
                self._recorder.file(FileRecord(path, opened.signature, cid, cut, rows, entry.key))
                self._recorder.flush_if_due()
        except WherryError:
            return False
        finally:
            buffer.release()
        return True


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
    store: Store, pool: BufferPool, locksmith: Locksmith, observe: Observe | None, set_aside: list[str]
) -> RepairResult:
    """Reads everything that was added or fetched and records again where it lies; nothing of the user's is changed.

    A root that is no longer what it was, or whose manifest is lost, is dropped from the list of roots, and told; so is
    what `set_damaged_aside` gave. One that is encrypted, and whose key is not here, stays in the list, unread. Raises
    StoreError.
    """
    began = time.monotonic()
    rows = await in_thread(store.state.roots)
    await in_thread(store.index.clear)
    reading = _Rereading(store, pool, locksmith)
    dropped = []

    def progress() -> Progress:
        return Progress(verb="repair", phase="hash", bytes_done=reading.bytes, files_done=reading.files)

    async with paced(observe, progress):
        for row in rows:
            if row.how == IMPORTED:
                continue  # it lies in the home, and there is nothing to read
            if not await apart(partial(reading.root, row), reading.stop):
                dropped.append(f"{row.cid} at {row.path}")
                await in_thread(partial(store.state.drop_root, row.cid, row.path))
    return RepairResult(
        roots=len(rows), kept=len(rows) - len(dropped), dropped=dropped, set_aside=set_aside, files=reading.files,
        bytes=reading.bytes, seconds=time.monotonic() - began,
    )  # fmt: skip
