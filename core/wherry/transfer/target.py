"""Where a get writes: a hidden part with a journal beside it; the name appears when the content is whole (specs/0010 §1)."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import NoSpace, NotFound, TargetError, TargetExists, WherryError, local_error
from wherry.manifest import DIR
from wherry.names import on_disk, shown
from wherry.safetree import SafeTree, remove_tree, rename_new, swap_in, sync_dir
from wherry.transfer.journal import Journal
from wherry.transfer.replaced import remove, set_aside
from wherry.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.manifest import Entry

_NAME_MAX: Final = 200  # longer names are replaced by their hash, so that the hidden names fit as well
_ASIDE: Final = "-old"  # behind the part's name: where what is replaced is for a moment, if names cannot be exchanged
_ELSEWHERE: Final = "name a place on a disk, below a directory that is there or can be made: -o PATH"
RESERVE_BYTES: Final = 16 << 20  # left free on the disk, for journals and databases


def hidden_names(path: str) -> tuple[str, str]:
    """Gives the paths of the part and of the journal for the target ``path``."""
    parent, name = os.path.split(path)
    if len(os.fsencode(name)) > _NAME_MAX:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return os.path.join(parent, f".{name}.wherry-part"), os.path.join(parent, f".{name}.wherry-journal")


def check_path(path: str) -> None:
    """A target's path is written down as text, and ends with a name. Raises TargetError, before anything is fetched."""
    if not os.path.normpath(path).strip("/"):
        raise TargetError(f"{path!r} has no name and cannot be a target", hint="name a file or directory below it: -o /PATH")
    try:
        path.encode()
    except UnicodeEncodeError as problem:
        hint = "choose another -o or folder; where the locale is not UTF-8, set PYTHONUTF8=1"
        raise TargetError(f"the path {on_disk(path)} is not UTF-8", hint=hint) from problem
    check_encoding(path)


def check_encoding(text: str, path: str = "") -> None:
    """A name, or what a link says, must be one in the encoding of this machine's file names. Raises TargetError.

    ``path``: where it is in the dataset, if that is not ``text``.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError as problem:
        raise TargetError(
            f"{shown(path or text)} cannot be written: the encoding of file names is {sys.getfilesystemencoding()} here",
            hint="set LANG=C.UTF-8, or PYTHONUTF8=1, and run the same command again",
        ) from problem


class Target:
    """The part of one transfer, open and locked. ``tree`` and ``inside`` say where each file of the dataset is written."""

    def __init__(self, path: str, root: Entry, identity: dict[str, str]) -> None:
        """Opens or makes the part for ``path`` (absolute). Raises TargetBusy, TargetError, LocalError."""
        check_path(path)
        self.path = path
        self.finished = False
        self._unsynced: WherryError | None = None
        self._root = root
        self.part, journal = hidden_names(path)
        parent = os.path.dirname(path)
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as problem:
            raise _no_place(problem, "cannot make the directory", parent) from problem
        try:
            os.lstat(path)
        except FileNotFoundError:
            pass
        except OSError as problem:  # a name that this file system cannot have is said now, not when all is fetched
            raise local_error(problem, "cannot write", path) from problem
        try:
            self.journal = Journal(journal, identity)
        except NotFound as problem:  # the directory is there, and takes no file: /proc
            raise TargetError(f"nothing can be written in {parent!r}", hint=_ELSEWHERE) from problem
        try:
            self.existed = self._prepare()
            # The part is ours, and no link; where it lies is for the user to say.
            self.tree = SafeTree(self.part) if root.kind == DIR else SafeTree(parent, follow=True)
        except BaseException:
            self.journal.close(remove=not os.path.lexists(self.part))
            raise

    def _prepare(self) -> bool:
        """Makes the part, or checks what an earlier run left; what is of the wrong kind is removed (it is ours)."""
        try:
            _set_aside_older(self.part, self.path)
        except OSError as problem:
            raise local_error(problem, "cannot rename", self.part + _ASIDE) from problem
        try:
            found: os.stat_result | None = os.lstat(self.part)
        except FileNotFoundError:
            found = None
        want_dir = self._root.kind == DIR
        if found is not None and self.journal.was_replaced(found.st_ino):
            try:
                set_aside(self.part, self.part)  # the user's, and others may hold its files: not to be written into
            except OSError as problem:
                raise local_error(problem, "cannot rename", self.part) from problem
            found = None
        if found is not None and stat.S_IFMT(found.st_mode) != (stat.S_IFDIR if want_dir else stat.S_IFREG):
            try:
                remove_tree(self.part)
            except OSError as problem:
                raise local_error(problem, "cannot remove", self.part) from problem
            found = None
        if found is None:
            self.journal.forget()
            if want_dir:
                try:
                    os.mkdir(self.part)
                except OSError as problem:
                    raise local_error(problem, "cannot make the directory", self.part) from problem
        elif not want_dir and not self.journal.unchanged(found.st_mtime_ns):
            self.journal.forget()
        self.journal.begin()
        return found is not None

    def inside(self, path: str) -> str:
        """Gives the place of a dataset's file ``path`` relative to ``tree``."""
        return path if self._root.kind == DIR else os.path.basename(self.part)

    def final(self, path: str) -> str:
        """Gives the place of a dataset's file ``path`` once the target is whole."""
        return f"{self.path}/{path}" if path else self.path

    def check_space(self, missing_bytes: int) -> None:
        """Raises NoSpace if the disk has no room for what is still missing."""
        free = free_bytes(os.path.dirname(self.path))
        if missing_bytes + RESERVE_BYTES > free:
            raise NoSpace(
                f"{self.path!r} needs {format_size(missing_bytes)} more, its disk has {format_size(free)} free, and "
                f"{format_size(RESERVE_BYTES)} must be left for journals",
                hint="free some space, or choose another -o; nothing was fetched",
            )

    def allocated_bytes(self) -> int:
        """Gives the bytes on disk that the part has already, written or preallocated."""
        total = os.lstat(self.part).st_blocks * 512
        for parent, _, names in os.walk(self.part):
            total += sum(os.lstat(os.path.join(parent, name)).st_blocks * 512 for name in names)
        return total

    def sync(self, *, mark: bool = True) -> None:
        """Brings to disk what was written, and marks that in the journal. Blocks.

        Raises LocalError, and does so ever after: a system tells but once that it could not write something, and may then drop
        it. What lies in the part is not trusted beyond the last mark, by the next run neither.
        """
        if self._unsynced is not None:
            raise self._unsynced
        try:
            position = self.journal.position()
            self.tree.sync()
            if mark:
                self.journal.mark_synced(position)
        except WherryError as problem:
            self._unsynced = problem
            self.journal.distrust()
            raise

    def discard(self) -> None:
        """Removes part and journal: nothing of use is in them."""
        self.tree.close()
        try:
            remove_tree(self.part)
        except OSError as problem:
            raise local_error(problem, "cannot remove", self.part) from problem
        self.journal.close(remove=True)

    def finish(self, *, force: bool, synced: bool, named: Callable[[], None] | None = None) -> list[str]:
        """Gives the part its name, in one step; has ``named`` record that; then removes what had the name, and the journal.

        Gives what could not be removed, in words: it is a success all the same. Raises TargetExists, LocalError, what ``named``
        raises.
        """
        try:
            if force and os.path.lexists(self.path):
                replaced = self._replace(synced=synced)
            else:
                rename_new(self.part, self.path)
                replaced = _set_aside_older(self.part, self.path)
        except FileExistsError as problem:
            raise TargetExists(f"{self.path!r} appeared meanwhile", hint="give --force to replace it") from problem
        except OSError as problem:
            raise local_error(problem, "cannot give its name to", self.path) from problem
        self.finished = True
        if synced:
            sync_dir(os.path.dirname(self.path))
        if named is not None:
            named()
        problems = remove(replaced)
        try:
            self.journal.close(remove=True)
        except WherryError as problem:
            problems.append(problem.message)
        return problems

    def _replace(self, *, synced: bool) -> list[str]:
        """Gives where what was replaced lies. Raises OSError, LocalError."""
        older = _set_aside_older(self.part, self.path)
        self.journal.replacing(os.lstat(self.part).st_ino, synced=synced)
        return [*older, set_aside(swap_in(self.part, self.path, self.part + _ASIDE), self.part)]

    def close(self) -> None:
        """Frees the target; the part and the journal stay for the next run. Idempotent."""
        self.tree.close()
        self.journal.close()


def _set_aside_older(part: str, path: str) -> list[str]:
    """Sees to what a get moved out of the way of its part, that was killed before it could set it aside; the target is locked.

    Without a target it may be the only copy of what is the user's, and stays. Gives where it is to be removed. Raises OSError.
    """
    return [set_aside(part + _ASIDE, part)] if os.path.lexists(part + _ASIDE) and os.path.lexists(path) else []


def tidy(path: str, identity: dict[str, str], named: Callable[[], None]) -> bool:
    """Clears up what a run of the same transfer left beside ``path`` if it was killed just when that had got its name.

    Tells whether there was anything; then it has ``named`` record that ``path`` is whole, before the journal goes. What has the
    part's name goes to what was replaced, which `remove` takes. Raises what ``named`` raises.
    """
    part, journal = hidden_names(path)
    if not os.path.lexists(journal):
        return False
    try:
        opened = Journal(journal, identity)
    except WherryError:  # another get has it, or the place is read-only: it is no obstacle to anything
        return False
    clear = False
    try:
        if opened.found:
            named()
            with suppress(OSError):  # it goes another time
                _set_aside_older(part, path)
                if os.path.lexists(part):
                    set_aside(part, part)
                clear = True
    finally:
        with suppress(WherryError):
            opened.close(remove=clear)
    return opened.found


def free_bytes(path: str) -> int:
    """Gives the bytes that we may use on the disk of ``path`` or of its nearest parent that exists."""
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path or ".")
    return found.f_bavail * found.f_frsize


def _no_place(problem: OSError, doing: str, path: str) -> WherryError:
    """Gives the typed error for a directory that cannot be: where a file is in its way no permission is to be checked."""
    if isinstance(problem, FileExistsError | NotADirectoryError | FileNotFoundError):
        return TargetError(f"{doing} {path!r}: {problem.strerror}", hint=_ELSEWHERE)
    return local_error(problem, doing, path)
