"""The folder of a disk cache: the larger blocks, a file each, and the lock by which its users know of one another.

    lock            held shared by everybody who has the cache open, alone by whoever clears up
    damaged         is there if the index was found damaged: the next one to be alone makes it anew
    tmp/            files being written
    blocks/ab/CID   a block; ``ab`` are the first two hexadecimal digits of its hash
    blocks/ab/CID.SIZE.CODING   a coded block; SIZE is that of the block itself. So a file says all that the index would

A file appears under its name whole, by renaming. Nothing is synced: after a power cut a file may be short or full of
zeros, and core, which hashes every block that it takes from a cache, deletes it then.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.cid import CID
from wherry.errors import CIDError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_S: Final = 30.0  # to wait for somebody who clears up
_STEP_S: Final = 0.02
_CODING: Final = re.compile(r"[a-z0-9.+-]{0,100}", re.ASCII)
_NAME: Final = re.compile(r"([a-z0-9]+)(?:\.(0|[1-9][0-9]{0,17})\.([a-z0-9.+-]{1,100}))?", re.ASCII)


class Name(NamedTuple):
    """What the name of a block's file says."""

    cid: CID
    size: int | None  # of the block itself; None: it is not coded, and the file's
    coding: str


def nameable(coding: str) -> bool:
    """Tells whether a coding can stand in the name of a file."""
    return _CODING.fullmatch(coding) is not None


class BlockFiles:
    """The files of one cache. Safe in any thread but for the lock. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks = folder / "blocks"
        self._tmp = folder / "tmp"
        for place in (folder, self._blocks, self._tmp):
            place.mkdir(mode=0o700, parents=place == folder, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def opening(self) -> Iterator[bool]:
        """Tells whether nobody else has the cache open, and then keeps others out; afterwards holds the lock shared.

        Raises StoreError if somebody keeps it for longer than LOCK_S.
        """
        alone = self._try(fcntl.LOCK_EX)
        if not alone:
            self._wait_for_others()
        yield alone
        if alone:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_others(self) -> None:
        end = time.monotonic() + LOCK_S
        while not self._try(fcntl.LOCK_SH):
            if time.monotonic() > end:
                raise StoreError(
                    f"the cache {str(self.folder)!r} is being cleared up", hint="try again when the other process is done"
                )
            time.sleep(_STEP_S)

    def close(self) -> None:
        """Lets go of the lock."""
        os.close(self._lock)

    @property
    def damaged(self) -> bool:
        """Tells whether the index was found damaged."""
        return (self.folder / "damaged").exists()

    def unmark_damaged(self) -> None:
        """Notes that the index is new."""
        (self.folder / "damaged").unlink(missing_ok=True)

    @contextmanager
    def risking(self) -> Iterator[None]:
        """Marks the index as damaged while what is done inside could damage it by a crash."""
        before = self.damaged
        mark_damaged(self.folder)
        yield
        if not before:
            self.unmark_damaged()

    def path(self, cid: bytes, size: int, coding: str) -> Path:
        """Tells where a block's file is, or would be."""
        named = CID(cid)
        return self._blocks / named.digest[:1].hex() / (f"{named}.{size}.{coding}" if coding else str(named))

    def write(self, data: bytes) -> Path:
        """Writes a new file aside, for `place`. Leaves nothing if it fails."""
        path = self._tmp / secrets.token_hex(12)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def place(self, written: Path, path: Path) -> None:
        """Gives a written file its name."""
        try:
            os.rename(written, path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(written, path)

    def read(self, path: Path, length: int) -> bytes | None:
        """Reads a block; None if its file is gone, unreadable, or not of that length."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_size != length:  # before memory is taken for it
                    return None
                data = os.read(descriptor, length)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        return data if len(data) == length else None

    def has(self, path: Path, length: int) -> bool:
        """Tells whether a block's file is there and of that length."""
        try:
            return path.stat().st_size == length
        except FileNotFoundError:
            return False

    def remove(self, path: Path) -> None:
        """Removes a block's file; none is no error."""
        path.unlink(missing_ok=True)

    def free(self) -> int:
        """Tells how many bytes are free on the disk, for us."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def clear_tmp(self) -> None:
        """Removes what was being written when somebody crashed. Only when alone."""
        with os.scandir(self._tmp) as entries:
            for entry in entries:
                os.unlink(entry.path)

    def found(self) -> Iterator[list[tuple[Name, int]]]:
        """Walks over all files, a folder at a time: names and lengths. Removes what is no block. Only when alone."""
        with os.scandir(self._blocks) as folders:
            names = sorted(entry.path for entry in folders if entry.is_dir(follow_symlinks=False))
        for name in names:
            blocks: list[tuple[Name, int]] = []
            with os.scandir(name) as entries:
                for entry in entries:
                    found = self._named(entry.name) if entry.is_file(follow_symlinks=False) else None
                    if found is not None and str(self.path(found.cid, found.size or 0, found.coding)) == entry.path:
                        blocks.append((found, entry.stat(follow_symlinks=False).st_size))
                    elif not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
            yield blocks

    def _named(self, name: str) -> Name | None:
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            return Name(CID.parse(match[1]), None if match[2] is None else int(match[2]), match[3] or "")
        except CIDError:
            return None


def mark_damaged(folder: Path) -> None:
    """Notes that the index in ``folder`` is damaged, for the next one who is alone; best effort."""
    with suppress(OSError):
        (folder / "damaged").touch(mode=0o600)
