"""Where a torrent is downloaded to before it has its name: a hidden folder beside the target (specs/0036 §9)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.torrents import INFO_FILE, TORRENT_FILE, Placed
from wherry.errors import IntegrityError, LocalError, NoSpace, NotFound, TargetBusy, TargetExists, WherryError, local_error
from wherry.safetree import SafeTree, remove_tree, rename_new, swap_in, sync_dir
from wherry.torrent.verify import verify
from wherry.transfer.target import RESERVE_BYTES, free_bytes, hidden_names
from wherry.units import MiB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.torrent.read import Torrent

_DATA: Final = "data"  # the file or folder that becomes the target
_SWAP: Final = "data-old"  # where `data` is while it and what it replaces exchange their names
_ASIDE: Final = "data-older"  # where what is replaced is meanwhile, if names cannot be exchanged
_REPLACING: Final = "replacing"  # the inode of `data`: before the exchange it is at `_SWAP`, behind it what was replaced
_GOING: Final = "removed"  # what was replaced, on its way out: from then on it is nobody's only copy
_SUFFIX: Final = ".wherry-part"
_ID: Final = "id"
_LOCK: Final = "lock"
_RESUME: Final = "resume"  # of the transport


class TorrentPlace:
    """The hidden folder of one download, locked. Methods block; for one thread at a time."""

    def __init__(self, target: str, ids: Sequence[str]) -> None:
        """Makes or opens the folder of the torrent with these ``ids`` for ``target`` (absolute).

        Raises TargetBusy, LocalError, and TargetExists where another torrent has begun.
        """
        self.target = target
        self.folder = _folder(target)
        self._above = _absent(os.path.dirname(self.folder))
        self._lock = self._locked()
        self._discarded = False
        try:
            self._settle()
            self._claim(ids)
        except BaseException:
            os.close(self._lock)
            raise

    def _locked(self) -> int:
        """Makes the folder if it is not there, and locks it. Raises TargetBusy, LocalError."""
        while True:
            try:
                os.makedirs(self.folder, mode=0o700, exist_ok=True)
                fd = os.open(f"{self.folder}/{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:  # its owner removed it between our two calls
                continue
            except OSError as problem:
                raise local_error(problem, "cannot make", self.folder) from problem
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                os.close(fd)
                raise TargetBusy(f"another get writes {self.target!r}", hint="wait for it, or choose another -o") from problem
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)  # as above: what we locked is no longer in the folder

    def _settle(self) -> None:
        """Undoes what a run that was killed within `_replace` had begun, or lets stand what it had done. Raises LocalError.

        The download goes back to where it is gone on from, and what the user had to the target unless something lies there.
        A kill in here leaves what the next run settles.
        """
        data, swap, aside, marker = (f"{self.folder}/{name}" for name in (_DATA, _SWAP, _ASIDE, _REPLACING))
        inode = self.read(_REPLACING)
        try:
            if os.path.lexists(aside) and not os.path.lexists(self.target):
                rename_new(aside, self.target)
            if os.path.lexists(swap):
                if inode is not None and inode == _inode(swap):
                    rename_new(swap, data)
                elif not os.path.lexists(self.target):
                    rename_new(swap, self.target)
            with suppress(FileNotFoundError):
                os.unlink(marker)
        except OSError as problem:
            raise local_error(problem, "cannot put back what an earlier get had moved in", self.folder) from problem

    def _claim(self, ids: Sequence[str]) -> None:
        known = (self.read(_ID) or b"").decode(errors="replace").split()
        info = self.known_info()
        if info is not None:  # begun by one infohash, gone on from by the other
            known += [hashlib.sha1(info, usedforsecurity=False).hexdigest(), hashlib.sha256(info).hexdigest()]
        if known and not set(known) & set(ids) and not os.path.lexists(f"{self.folder}/{_DATA}"):
            for name in (INFO_FILE, TORRENT_FILE, _RESUME):  # another torrent began here, and nothing came of it
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.folder}/{name}")
            known = []
        if not known:
            self.write(_ID, "\n".join(ids).encode())
        elif not set(known) & set(ids):
            raise TargetExists(
                f"{self.folder!r} has a part of another torrent",
                hint="finish that get, or remove the folder; or choose another -o",
            )

    def read(self, name: str) -> bytes | None:
        """Gives a small file of the folder; None if it is not there. Raises LocalError."""
        try:
            with open(f"{self.folder}/{name}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise local_error(problem, "cannot read", f"{self.folder}/{name}") from problem

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file of the folder, in one step. Raises LocalError."""
        path = f"{self.folder}/{name}"
        try:
            with open(f"{path}.new", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
        except OSError as problem:
            raise local_error(problem, "cannot write", path) from problem

    def known_info(self) -> bytes | None:
        """Gives the info dictionary that an earlier run had approved."""
        return self.read(INFO_FILE)

    def keep(self, torrent: Torrent, whole: bytes | None) -> None:
        """Writes down the torrent, or the info dictionary alone, for the transport and for a later run. Raises LocalError."""
        self.write(INFO_FILE, torrent.info)
        if whole is not None:
            self.write(TORRENT_FILE, whole)

    def check_space(self, torrent: Torrent) -> None:
        """Raises NoSpace if the disk has no room for what is missing."""
        free, missing = free_bytes(self.folder), torrent.size - sum(one.st_blocks * 512 for one in self._files())
        if missing + RESERVE_BYTES > free:
            raise NoSpace(
                f"{self.target!r} needs {format_size(max(missing, 0))} more, its disk has {format_size(free)} free, and "
                f"{format_size(RESERVE_BYTES)} must be left for journals",
                hint="free some space, or choose another -o",
            )

    def _files(self) -> Iterator[os.stat_result]:
        """Gives what the disk says of each file that was begun."""
        data = f"{self.folder}/{_DATA}"
        if os.path.lexists(data) and not os.path.isdir(data):  # a torrent may be one file
            yield os.lstat(data)
        for parent, _, names in os.walk(data):
            for name in names:
                yield os.lstat(os.path.join(parent, name))

    def forget_progress(self) -> None:
        """Removes what the transport noted, so that it looks at every byte again."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.folder}/{_RESUME}")

    def check(self, torrent: Torrent, read: Callable[[int], None]) -> None:
        """Compares what was downloaded with the torrent; removes what is none of it. Raises IntegrityError, LocalError."""
        data = f"{self.folder}/{_DATA}"
        if not torrent.single and os.path.isdir(data) and not os.path.islink(data):
            self._tidy(torrent)
        compare(data, torrent, read, follow=False)  # it lies in our own folder, which is no link

    def _tidy(self, torrent: Torrent) -> None:
        """Removes what is not in the torrent, and makes the empty files. Of our own folder alone: `compare` changes nothing."""
        with SafeTree(f"{self.folder}/{_DATA}") as tree:
            for path in _others(tree, torrent):
                tree.clear(path)
            for file in torrent.files:
                if not file.size:
                    with suppress(OSError):  # it is not there then, which is seen when it is compared
                        os.close(tree.open("/".join(file.parts), os.O_RDWR | os.O_CREAT | os.O_NONBLOCK))

    def finish(self, *, force: bool, sync: bool) -> None:
        """Gives the target its name, in one step, and removes the folder. Raises TargetExists, LocalError."""
        data = f"{self.folder}/{_DATA}"
        try:
            if sync:
                with SafeTree(self.folder) as tree:
                    tree.sync()
            if force and os.path.lexists(self.target):
                self._replace(data, sync=sync)
            else:
                rename_new(data, self.target)
            if sync:
                sync_dir(os.path.dirname(self.target))
        except FileExistsError as problem:
            raise TargetExists(f"{self.target!r} appeared meanwhile", hint="give --force to replace it") from problem
        except OSError as problem:
            raise local_error(problem, "cannot give its name to", self.target) from problem
        self.discard()

    def _replace(self, data: str, *, sync: bool) -> None:
        """What was there goes with the folder. It is at no moment at ``data``, where the next run would write into it."""
        swap, aside = f"{self.folder}/{_SWAP}", f"{self.folder}/{_ASIDE}"
        self._remove_replaced()
        self.write(_REPLACING, _inode(data))  # `_settle` tells by it what lies where, if we are killed from here on
        if sync:
            sync_dir(self.folder)
        os.rename(data, swap)
        try:
            swap_in(swap, self.target, aside)
        except BaseException:
            os.rename(swap, data)
            raise

    def _remove_replaced(self) -> None:
        """Removes what was replaced. It gets another name first: half of it is not to be put back."""
        for name in (_SWAP, _ASIDE):
            _remove(f"{self.folder}/{_GOING}")
            with suppress(OSError):
                os.rename(f"{self.folder}/{name}", f"{self.folder}/{_GOING}")
        _remove(f"{self.folder}/{_GOING}")

    def _has_the_only_copy(self) -> bool:
        """Tells whether what the user had is here and not at the target: the exchange failed, and so did undoing it."""
        here = any(os.path.lexists(f"{self.folder}/{name}") for name in (_SWAP, _ASIDE))
        return here and not os.path.lexists(self.target)

    def discard(self) -> None:
        """Removes the folder, which is of no more use, and those that were made for it, unless the target lies there.

        From then on it may be another's, and is left alone. It stays if it has the only copy of what was replaced. Idempotent.
        """
        if self._discarded or self._has_the_only_copy():
            return
        self._discarded = True
        self._remove_replaced()
        with suppress(OSError):
            for entry in os.listdir(self.folder):
                if entry != _LOCK:  # goes last: nobody else begins here while we remove
                    _remove(f"{self.folder}/{entry}")
            os.unlink(f"{self.folder}/{_LOCK}")
            for folder in (self.folder, *self._above):
                os.rmdir(folder)

    def close(self) -> None:
        """Frees the folder; it stays for the next run if there is anything in it to go on from. Idempotent."""
        if self._lock >= 0:
            if not self._is_worth_keeping():
                self.discard()
            os.close(self._lock)
            self._lock = -1

    def _is_worth_keeping(self) -> bool:
        """Tells whether there are bytes of a file, an info dictionary that peers gave, or an exchange for `_settle`."""
        info, torrent, replacing = (os.path.lexists(f"{self.folder}/{name}") for name in (INFO_FILE, TORRENT_FILE, _REPLACING))
        return (info and not torrent) or replacing or any(one.st_size for one in self._files())


def _inode(path: str) -> bytes:
    """Tells the file or folder at ``path`` from others of its file system. Raises OSError."""
    return str(os.lstat(path).st_ino).encode()


def _remove(path: str) -> None:
    """Removes what is there, as far as it can."""
    with suppress(OSError):
        remove_tree(path)


def tidy(target: str, ids: Sequence[str]) -> None:
    """Removes what a run of the same torrent left if it was killed just when the target had got its name."""
    if not os.path.lexists(_folder(target)):
        return
    with suppress(WherryError):  # another get has it, or it is of another torrent: it is no obstacle to anything
        place = TorrentPlace(target, ids)
        place.discard()
        place.close()


def _absent(folder: str) -> list[str]:
    """Lists the folders that have to be made, the innermost first."""
    found = []
    while folder not in ("", "/") and not os.path.lexists(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def _folder(target: str) -> str:
    return hidden_names(target)[0].removesuffix(_SUFFIX) + ".wherry-torrent"


def placed(torrent: Torrent) -> list[Placed]:
    """Says where each file goes in the folder."""
    return [Placed("/".join((_DATA, *file.parts)), file.size) for file in torrent.files]


def compare(path: str, torrent: Torrent, read: Callable[[int], None], *, follow: bool = True) -> None:
    """Compares the file or folder at ``path`` with the torrent; ``read`` is told of each stretch, and may raise to stop.

    What is not in the torrent is a difference too. Nothing is changed. No link is followed in the folder, nor to where the
    file lies without ``follow``. Raises IntegrityError, LocalError.
    """
    above, name = os.path.split(path)
    if not torrent.single and not (os.path.isdir(path) and not os.path.islink(path)):
        raise IntegrityError(f"{path!r} is no folder")
    with SafeTree(above, follow=follow) if torrent.single else SafeTree(path) as tree:
        if not torrent.single:
            for other in _others(tree, torrent):
                raise IntegrityError(f"{other!r} is not in the torrent")
        paths = [name if torrent.single else "/".join(file.parts) for file in torrent.files]
        verify(torrent, lambda index: _content(tree, paths[index], read), lambda _: read(0))


def _others(tree: SafeTree, torrent: Torrent) -> Iterator[str]:
    """Gives what is in the folder and not in the torrent. Raises IntegrityError where a folder of the torrent is none."""
    paths = {"/".join(file.parts) for file in torrent.files}
    folders = {parent for path in paths for parent in _parents(path)}
    for folder in ["", *sorted(folders)]:
        try:
            names = tree.names(folder)
        except (LocalError, NotFound) as problem:
            raise IntegrityError(problem.message) from problem
        for name in names:
            inner = f"{folder}/{name}" if folder else name
            if inner not in paths and inner not in folders:
                yield inner


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _content(tree: SafeTree, path: str, read: Callable[[int], None]) -> Iterator[bytes]:
    """Reads a file. Raises IntegrityError if it is none, LocalError."""
    try:
        fd = tree.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise IntegrityError(f"{path!r} is no file")
        with open(fd, "rb", buffering=0) as file:
            while data := file.read(MiB):
                yield data
                read(len(data))
    except FileNotFoundError as problem:
        raise IntegrityError(f"{path!r} is not there") from problem
    except OSError as problem:
        raise local_error(problem, "cannot read", f"{tree.path}/{path}") from problem
