"""`doctor`: what is wrong with this machine, a home, and what it is to serve."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING, Final

from wherry.publiccid import PublicCID
from wherry.results import Check
from wherry.safetree import SafeTree
from wherry.store.held import there
from wherry.synth import is_synth
from wherry.transfer.target import free_bytes
from wherry.units import GiB, format_size

if TYPE_CHECKING:
    from wherry.store.home import Home
    from wherry.store.state import RootRow
    from wherry.store.store import Store
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
