"""`doctor`: what is wrong with this machine, a home, and what it is to serve."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING, Final

from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import EnterFile
from wherry.errors import NoKey, WherryError
from wherry.publiccid import PublicCID
from wherry.results import Check
from wherry.rootfiles import RootFiles
from wherry.safetree import SafeTree
from wherry.store.held import there
from wherry.store.index import Signature
from wherry.store.newindex import left_behind
from wherry.synth import is_synth
from wherry.taken import Taken
from wherry.transfer.car_in import IMPORTED
from wherry.transfer.target import free_bytes
from wherry.transfer.tree import walk_of
from wherry.units import GiB, format_size

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.store.home import Home
    from wherry.store.state import RootRow
    from wherry.store.store import Store
    from wherry.transfer.unlock import Locksmith
    from wherry.wiring import Wiring

_FREE_MIN: Final = 1 * GiB
_FILES_MAX: Final = 10_000  # of all roots together that are looked at: half a second
_FILES_MIN: Final = 100  # of each of many roots
_NAMED: Final = 5  # files that a check names
_AT_ONCE: Final = 256  # files in one query
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})


def examine(home: Home, wiring: Wiring, store: Store) -> list[Check]:
    """Gives one line a thing looked at; blocks its thread for a moment."""
    checks = [
        Check(name="python", status="ok", detail=f"{sys.version.split()[0]} on {sys.platform}"),
        _names(),
        Check(name="sqlite", status="ok", detail=f"{sqlite3.sqlite_version}, rollback journal"),
        _home(home),
        _modes(home),
        _file_system(home),
        _space(home),
        _direct(),
    ]
    for plugin in wiring.manager.listing():
        if plugin.status != "ok":
            detail = f"{plugin.name}: {plugin.status}"
            checks.append(Check(name="plugin", status="warn", detail=detail, hint="`wherry plugins list` says more"))
    if left := left_behind(home.path):
        detail = f"one that did not finish left {format_size(left)}; what the home knew is in force"
        checks.append(Check(name="repair", status="warn", detail=detail, hint="run `wherry repair` again"))
    return checks + _Roots(store, wiring.locksmith).checks()


def _home(home: Home) -> Check:
    used = f"{home.path}, used by {', '.join(home.holders()) or 'nobody who writes there'}"
    if home.writable:
        return Check(name="home", status="ok", detail=used)
    hint = "it can be read and served; give --home for more, or check the permissions and the mount"
    return Check(name="home", status="warn", detail=f"{used}; read-only", hint=hint)


def _names() -> Check:
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        hint = "set PYTHONUTF8=1: names in a manifest are UTF-8"
        return Check(name="file names", status="fail", detail=f"this locale reads them as {encoding}", hint=hint)
    return Check(name="file names", status="ok", detail="UTF-8")


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


class _Roots:
    """Looks at what was added and fetched: at files by their signatures, not at what is in them."""

    def __init__(self, store: Store, locksmith: Locksmith) -> None:
        self._store = store
        self._locksmith = locksmith

    def checks(self) -> list[Check]:
        """Gives a check for each root, the newest first."""
        rows = self._store.state.roots()
        most = max(_FILES_MIN, _FILES_MAX // max(len(rows), 1))
        seen: set[str] = set()
        found = []
        for row in rows:
            try:
                newest = row.how == IMPORTED or row.path not in seen  # CARs lie side by side, in the home
                status, detail, hint = self._looked_at(row, most, newest=newest)
            except WherryError as problem:
                status, detail, hint = "fail", f"{row.cid} at {row.path}: {problem.message}", problem.hint
            found.append(Check(name="root", status=status, detail=detail, hint=hint))
            seen.add(row.path)
        return found

    def _looked_at(self, row: RootRow, most: int, *, newest: bool) -> tuple[str, str, str | None]:
        """Gives status, detail and hint."""
        store, what = self._store, f"{row.cid} at {row.path}"
        if not is_synth(row.path) and not os.path.lexists(row.path):
            return "warn", f"{row.path} is gone; {row.cid} cannot be served from it", "restore it"
        if row.cid.codec != RAW and not store.blocks([row.cid]) and not there(store.find([row.cid])[0]):
            return "fail", f"{row.cid}: its manifest is not in the store", "`wherry add` it again"
        if not newest:
            return "ok", f"{what}, where something newer was added or fetched since", None
        if not is_synth(row.path) and row.how != IMPORTED:
            detail = what
            if row.cid.codec == DAG_PB or (row.options.get("selection") and "spans" not in row.options):  # nothing tells which
                if not store.index.knows_below(row.path):
                    return "warn", f"{what}: the index knows none of its files", "run `wherry repair`"
            else:
                try:
                    status, detail, hint = self._files(row, most)
                except NoKey:
                    status, detail, hint = "ok", f"{what}: no key here opens it, so that its files were not looked at", None
                if status != "ok":
                    return status, detail, hint
            what = detail
        twin = row.options.get("unixfs")
        if twin is not None and not there(store.find([PublicCID.parse(twin).block()])[0]):
            return "warn", f"{row.cid}: its UnixFS form {twin} is not in the store", "`wherry add` it again"
        return "ok", what, None

    def _files(self, row: RootRow, most: int) -> tuple[str, str, str | None]:
        """Compares the files of a root with what the index says of them."""
        what = f"{row.cid} at {row.path}"
        files, count, cut = self._sample(row, most)
        changed, unknown = self._compared(files, cut)
        of = f"{len(files):,} files"
        if len(files) < count:
            of += f" that were looked at (it has {count:,}; these are spread over it)"
        if unknown:
            detail = f"{what}: of {of}, the index does not know where {len(unknown):,} lie: {', '.join(unknown[:_NAMED])}"
            return "fail", detail, "run `wherry repair`"
        if changed:
            shown = ", ".join(changed[:_NAMED])
            detail = f"{what}: of {of}, {len(changed):,} changed or went since, and are not served: {shown}"
            return "warn", detail, "`wherry add` it again, or restore them"
        return "ok", f"{what}, {of}", None

    def _sample(self, row: RootRow, most: int) -> tuple[list[tuple[str, CID]], int, str]:
        """Gives the files of a root, of more than ``most`` each second, fourth, ...; how many it has; and how they were cut.

        Of a selection, those that surely were selected.
        """
        entry, opening, _, cut = RootFiles.of(row, self._store, self._locksmith)
        walk, taken = walk_of(entry), Taken(row, self._store)
        files: list[tuple[str, CID]] = []
        count, each = 0, 1
        for step in taken.steps(walk, opening):
            if not isinstance(step, EnterFile):
                continue
            walk.skip()
            path = f"{row.path}/{step.path}" if step.path else row.path
            known = taken.enter(path, step.entry.size)
            taken.leave()
            if not known:
                continue
            if count % each == 0:
                files.append((path, step.entry.cid))
                if len(files) > most:
                    files, each = files[::2], 2 * each
            count += 1
        return files, count, cut

    def _compared(self, files: list[tuple[str, CID]], cut: str) -> tuple[list[str], list[str]]:
        """Gives the paths of those that have changed or gone, and of those that the index does not know."""
        changed: list[str] = []
        unknown: list[str] = []
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            paths = [path for path, _ in some]
            as_cut, as_last = self._store.index.files(paths, cut), self._store.index.files(paths)
            for path, cid in some:
                signature = _signature(path)
                rows = [known[path] for known in (as_cut, as_last) if path in known]
                if not rows:
                    (unknown if signature is not None else changed).append(path)
                elif all(row.signature != signature or (row.cut == cut and row.cid not in (cid, None)) for row in rows):
                    changed.append(path)
        return changed, unknown


def _signature(path: str) -> Signature | None:
    try:
        return Signature.of(os.lstat(path))
    except OSError:
        return None
