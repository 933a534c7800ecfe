"""The versions of a followed name beside its link: what they are called, the swap, and which of them go (specs/0034 §7)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import CIDError, NotFound, TargetExists, local_error
from wherry.publiccid import PublicCID
from wherry.safetree import remove_tree, sync_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.store.state import RootRow, StateDB

_NAME_BYTES_MAX: Final = 200  # of a folder's name; what a get has beside it takes some more
_GOING: Final = ".wherry-removed"  # ends the hidden name of a version that is being removed


def folder_of(link: str) -> str:
    """Gives the folder that the versions of ``link`` lie in."""
    return link + ".versions"


def version_name(cid: str, path: str) -> str:
    """Names the folder of a version: each CID and path has its own, and one that file systems take."""
    if not path:
        return cid
    whole = f"{cid}-{path.replace('%', '%25').replace('/', '%2F')}"
    fits = len(whole.encode("utf-8", "surrogatepass")) <= _NAME_BYTES_MAX
    return whole if fits else f"{cid}-{hashlib.sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()}"


def check_link(link: str, *, force: bool) -> None:
    """Looks whether ``link`` may be swapped: nothing is there, or a link to a version of its own, or any with ``force``.

    Raises TargetExists.
    """
    if not os.path.lexists(link):
        return
    if not os.path.islink(link):
        raise TargetExists(f"{link!r} is no symbolic link", hint="name another place, or move it away")
    if force or _leads_to(link) is not None:
        return
    raise TargetExists(
        f"{link!r} is a symbolic link to {os.readlink(link)!r}, and not one that follows a name: it leads to nothing in "
        f"{folder_of(link)!r}",
        hint="name another place, or give --force to replace the link; what it leads to stays as it is",
    )


def _leads_to(link: str) -> str | None:
    """Gives the name of the version that ``link`` leads to, be it there or not; None: it leads elsewhere, or is no link."""
    try:
        to = os.readlink(link)
    except OSError:
        return None
    parent, name = os.path.split(os.path.join(os.path.dirname(link), to))
    if name in ("", ".", ".."):
        return None
    return name if os.path.realpath(parent) == os.path.realpath(folder_of(link)) else None


def swap(link: str, path: str, *, force: bool = False) -> bool:
    """Lets ``link`` lead to ``path`` by one rename, and syncs; tells whether it led elsewhere.

    Raises errors of the disk (LocalError), TargetExists as `check_link`, and NotFound if the version has gone meanwhile.
    """
    wanted = os.path.join(os.path.basename(folder_of(link)), os.path.basename(path))
    try:
        with _locked(os.path.dirname(path)):  # nobody removes the version between the look and the swap
            if not os.path.lexists(path):
                raise NotFound(f"{path!r} was removed before the link led to it", hint="follow again: it is got anew")
            check_link(link, force=force)
            with suppress(FileNotFoundError):
                if os.readlink(link) == wanted:
                    return False
            aside = _aside(link)
            os.symlink(wanted, aside)
            try:
                os.rename(aside, link)
            except BaseException:
                os.unlink(aside)
                raise
            sync_dir(os.path.dirname(link))
    except OSError as problem:
        raise local_error(problem, "swap the link", link) from problem
    return True


def _aside(link: str) -> str:
    """Gives where the next link is made; removes the one that a process left there that was killed."""
    aside = f"{link}.next"
    with suppress(OSError):
        if os.readlink(aside).startswith(os.path.basename(folder_of(link)) + os.sep):
            os.unlink(aside)
    return f"{link}.{secrets.token_hex(6)}" if os.path.lexists(aside) else aside


# Which versions go


def prune(link: str, keep: int | None, state: StateDB) -> tuple[list[str], list[str]]:
    """Removes versions that are older than the one that ``link`` leads to, but for ``keep`` of them all; None: none.

    Only what this home got, whole, and under a name that versions have. Each is renamed first, so that no half of one is ever
    under its name; what a process that was killed left of that is removed in any case. Gives the paths of those that went, and
    what could not be removed, in words. Blocks its thread.
    """
    folder = folder_of(link)
    removed, problems = [], []
    try:
        with _locked(folder) as (fd, alone):
            going = [name for name in os.listdir(fd) if name.endswith(_GOING) and _is_version(name[1 : -len(_GOING)])]
            for row in _surplus(link, fd, keep, state) if alone and keep is not None else ():
                name = os.path.basename(row.path)
                hidden = f".{name}{_GOING}"
                if hidden in going:  # left by one that was killed, and the version was got again
                    remove_tree(hidden, dir_fd=fd)
                os.rename(name, hidden, src_dir_fd=fd, dst_dir_fd=fd)
                going = [*(other for other in going if other != hidden), hidden]
                state.drop_root(row.cid, row.path)
                removed.append(os.path.join(folder, name))
            if removed:
                os.fsync(fd)  # before anything in them goes
            if alone:
                fcntl.flock(fd, fcntl.LOCK_UN)  # large ones take a while, and nobody else is to wait with a swap for that
            for hidden in going:  # another process may remove it, too
                try:
                    remove_tree(hidden, dir_fd=fd)
                except OSError as problem:
                    problems.append(
                        local_error(problem, "cannot remove the older version", os.path.join(folder, hidden)).message
                    )
    except OSError as problem:
        problems.append(local_error(problem, "cannot remove older versions in", folder).message)
    return removed, problems


def _surplus(link: str, fd: int, keep: int, state: StateDB) -> list[RootRow]:
    """Lists what this home got as versions of ``link`` and is not to be kept; what somebody else made has no row."""
    place = os.path.realpath(folder_of(link))
    folders: dict[str, bool] = {}
    made: dict[str, tuple[tuple[int, int], RootRow]] = {}
    for row in state.roots():
        parent, name = os.path.split(row.path)
        if row.how != "get" or name in made or not _is_version(name):
            continue
        if parent not in folders:
            folders[parent] = os.path.realpath(parent) == place
        if folders[parent]:
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:  # removed by hand, or by a process that was killed before it could say so
                state.drop_root(row.cid, row.path)
                continue
            if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
                made[name] = (row.at, found.st_ctime_ns), row
    current = made.get(_leads_to(link) or "")
    if current is None:
        return []
    # Newer ones, that the link does not lead to, are those that another process has just got, or that the name went back from.
    older = sorted([one for one in made.values() if one[0] < current[0]], reverse=True)
    return [row for _, row in older[keep - 1 :]]


def _is_version(name: str) -> bool:
    """Tells whether a name has the form that `version_name` gives."""
    head, dash, rest = name.partition("-")
    try:
        return str(PublicCID.parse(head)) == head and bool(rest) == bool(dash)
    except CIDError:
        return False


@contextmanager
def _locked(folder: str) -> Iterator[tuple[int, bool]]:
    """Opens a folder of versions, alone for a moment; tells whether it is alone: some file systems know no such locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        yield fd, alone
    finally:
        os.close(fd)
