"""What of a target is done: an append-only file beside it (specs/0010). After any interruption `get` goes on from here.

All files of a transfer, in the order of the walk, are seen as one stretch of bytes; a record says that some of it is
verified and written. A record is appended after the bytes were written, so after a kill it holds (the kernel has the bytes).
A power cut may lose bytes that no sync brought to disk: after one, only what was recorded before the last mark of a sync is
trusted, and the rest is hashed where it lies before anything is fetched. So it is when a sync failed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import TargetBusy, local_error
from wherry.stretches import Stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

_RECORD: Final = struct.Struct(
    ">QQI"
)  # start, length, CRC-32 of both; length 0: what stands in the journal before ``start`` is on disk
_HEADER_BYTES_MAX: Final = 4096
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_SLACK_NS: Final = 2_000_000_000  # between the last write to a part and its record: batches under way when we were killed


class Journal:
    """An open, locked journal. ``append`` is safe for threads."""

    def __init__(self, path: str, identity: dict[str, str]) -> None:
        """Opens or makes the journal for a transfer that ``identity`` tells apart (CID, selection).

        Raises TargetBusy if another process has it, LocalError.
        """
        self.path = path
        self.done = Stretches()
        self.found = False  # whether an earlier run of the same transfer left anything
        self.intact = False  # whether all that it left can be taken, so that what is not in it was not done
        self._lock = threading.Lock()
        self._fd = _open_locked(path)
        self._left_at = os.fstat(self._fd).st_mtime_ns
        self._rebooted = False
        self._replacing = 0  # the part's inode, if the run that left this was about to exchange it for the target
        self._header_bytes = 0
        self._distrusted = False
        self._identity = {"wherry": "journal/1", **identity}
        try:
            self._load()
        except BaseException:
            os.close(self._fd)
            raise

    def _load(self) -> None:
        try:
            data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        except OSError as problem:
            raise local_error(problem, "cannot read the journal", self.path) from problem
        end = data.find(b"\n", 0, _HEADER_BYTES_MAX) + 1
        try:
            header = json.loads(data[:end]) if end else {}
        except (ValueError, RecursionError):
            header = {}
        if not isinstance(header, dict):
            return
        inode = header.get("replacing")
        self._replacing = inode if isinstance(inode, int) else 0
        if {key: header.get(key) for key in self._identity} != self._identity:
            return
        self.found = True
        self._header_bytes = end
        self._rebooted = rebooted = not _boot() or header.get("boot") != _boot()  # none: this system does not tell
        at, kept = end, 0
        while at + _RECORD.size <= len(data):
            start, length, crc = _RECORD.unpack_from(data, at)
            if zlib.crc32(data[at : at + 16]) != crc or start + length >= 1 << 62:
                break
            if not length:
                kept = max(kept, start)
            at += _RECORD.size
        self.intact = not rebooted and not self._replacing and at == len(data)
        stop = min(at, kept) if rebooted else at
        stop -= (stop - end) % _RECORD.size
        for start, length, _ in _RECORD.iter_unpack(memoryview(data)[end:stop]) if stop > end else ():
            if length:
                self.done.add(start, start + length)

    def begin(self) -> None:
        """Makes the journal ready to be appended to; one that cannot go on as it is is written anew. Raises LocalError."""
        if self.intact:
            os.lseek(self._fd, 0, os.SEEK_END)
            return
        text = json.dumps({**self._identity, "boot": _boot()}).encode() + b"\n"
        data = text + b"".join([_record(start, end - start) for start, end in self.done])
        if self._rebooted:
            data += _record(len(data), 0)
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, data, 0)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as problem:
            raise local_error(problem, "cannot write the journal", self.path) from problem
        self._header_bytes = len(text)

    def unchanged(self, mtime_ns: int) -> bool:
        """Tells whether a part last written at ``mtime_ns`` was last written by the run that left this journal."""
        return mtime_ns <= self._left_at + _SLACK_NS

    def replacing(self, inode: int, *, synced: bool) -> None:
        """Says, before the part with that ``inode`` and the target exchange their names, which of the two is the part.

        After a kill behind that, what has the part's name may be the user's own. The part is whole: what was recorded goes.
        Blocks; raises LocalError.
        """
        text = json.dumps({**self._identity, "boot": _boot(), "replacing": inode}).encode() + b"\n"
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text, 0)
            if synced:
                os.fdatasync(self._fd)
        except OSError as problem:
            raise local_error(problem, "cannot write the journal", self.path) from problem
        self._header_bytes = len(text)

    def was_replaced(self, inode: int) -> bool:
        """Tells whether what has the part's name, with that ``inode``, had the target's before. Any transfer's journal does."""
        return self._replacing not in (0, inode)

    def forget(self) -> None:
        """Takes nothing that was recorded as done."""
        self.done = Stretches()
        self.intact = False

    def append(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Records stretches (start, end) whose bytes are verified and written. Raises LocalError."""
        data = b"".join([_record(start, end - start) for start, end in pairs if end > start])
        self._write(data)

    def position(self) -> int:
        """Where the journal ends now; take it before a sync, and give it to `mark_synced` after."""
        return os.lseek(self._fd, 0, os.SEEK_END)

    def mark_synced(self, position: int) -> None:
        """Records that the bytes of everything that stands before ``position`` are on disk. Blocks; raises LocalError.

        After a sync that failed, also one of a single file, nothing more is known to be there.
        """
        if self._distrusted:
            return
        self._write(_record(position, 0))
        try:
            os.fdatasync(self._fd)
        except OSError as problem:
            raise local_error(problem, "cannot bring the journal to disk", self.path) from problem

    def distrust(self) -> None:
        """A sync failed: what no mark says to be on disk may not be there, though the kernel still shows it.

        The header then tells of no boot, so the next run takes the journal as after a reboot. Raises LocalError.
        """
        self._distrusted = True
        text = json.dumps({**self._identity, "boot": ""}, separators=(",", ":")).encode()  # no longer than what it replaces
        try:
            os.pwrite(self._fd, text.ljust(self._header_bytes - 1) + b"\n", 0)
        except OSError as problem:
            raise local_error(problem, "cannot write the journal", self.path) from problem

    def _write(self, data: bytes) -> None:
        with self._lock:
            try:
                if os.write(self._fd, data) < len(data):  # the disk is full; the loader drops the record that is cut off
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as problem:
                raise local_error(problem, "cannot write the journal", self.path) from problem

    def close(self, *, remove: bool = False) -> None:
        """Frees the target; removes the journal of a transfer that is whole. Idempotent. Raises LocalError if it stays."""
        if self._fd < 0:
            return
        try:
            if remove:
                with suppress(FileNotFoundError):  # somebody cleared it away
                    os.unlink(self.path)
        except OSError as problem:
            raise local_error(problem, "cannot remove the journal", self.path) from problem
        finally:
            os.close(self._fd)
            self._fd = -1


def _open_locked(path: str) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as problem:
            raise local_error(problem, "cannot open the journal", path) from problem
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            os.close(fd)
            raise TargetBusy(
                f"another get writes the same target ({path})", hint="wait for it, or choose another -o"
            ) from problem
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # its owner finished and removed it between our two calls


def _record(start: int, length: int) -> bytes:
    data = struct.pack(">QQ", start, length)
    return data + zlib.crc32(data).to_bytes(4, "big")


def _boot() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
