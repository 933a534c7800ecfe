"""Where verified bytes go: files of the target, or nowhere (specs/0010 §2).

The order for each batch: hash every block -> write -> append to the journal. A file that fits into one buffer is written
whole by one call or not at all; a longer one is preallocated and filled piece by piece, by O_DIRECT where that wins.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry.buffers import PAGE
from wherry.errors import Unwritable, WherryError, local_error
from wherry.limits import BUFFER_BYTES
from wherry.store.index import FileRecord, LeafRow, Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.cid import CID
    from wherry.manifest import Attrs
    from wherry.sealing.seal import Sealing
    from wherry.store.store import Store
    from wherry.transfer.record import Recorder
    from wherry.transfer.target import Target
    from wherry.unixfs.wrap import Wrapping

Sealer: TypeAlias = "Sealing | Wrapping"  # what makes blocks of plain bytes, and opens them
Gained: TypeAlias = "Callable[[Sequence[Sequence[Piece]]], None]"

_DIRECT_BYTES_MIN: Final = 64 << 20  # smaller files gain nothing from O_DIRECT (specs/decisions/0004)
_SEALED_SMALL_MAX: Final = BUFFER_BYTES * 7 // 8  # padding makes sealed leaves up to an eighth longer on their way


@dataclass(slots=True, eq=False)
class Slot:
    """A file that is being written."""

    path: str  # in the dataset
    cid: CID
    size: int
    attrs: Attrs
    base: int  # where it begins in the transfer's stretch of bytes
    left: int  # bytes neither written nor known to be
    key: bytes = b""  # where the dataset is encrypted
    wrapped: bool = False  # whether blocks of it may be longer than the plain bytes in them
    trusted: bool = True  # what the journal says of it can be taken
    torn: bool = False  # whether its leaves come from several places, however small it is
    fd: int = -1
    direct: int = -1  # a second descriptor, for O_DIRECT
    record: FileRecord | None = None  # of a small file that is written, until it is committed
    number: int = 0  # of a long file, in the index
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def small(self) -> bool:
        """Whether it is written whole by one call."""
        return not self.torn and self.size <= (_SEALED_SMALL_MAX if self.key or self.wrapped else BUFFER_BYTES)


class Piece(NamedTuple):
    """One leaf of a file: what a want of a batch is for."""

    slot: Slot
    cid: CID
    offset: int
    size: int  # plain bytes
    key: bytes = b""  # where the dataset is encrypted; of UnixFS, how it is wrapped
    guessed: bool = False  # whether size and key are only what its surroundings let expect

    @property
    def final(self) -> bool:
        """Whether the file ends with it."""
        return self.offset + self.size == self.slot.size


class Sink:
    """Takes settled pieces. This one writes nothing: the target ``null:``. Safe for threads."""

    __slots__ = ("_counting", "done_bytes", "done_files", "gained", "placed", "sealing")

    def __init__(self, sealing: Sealer | None = None) -> None:
        """``sealing`` opens what arrives, where the dataset is encrypted."""
        self.sealing = sealing
        self.placed = True  # whether sources are asked by ``Slot.base``, the place in the dataset that peers speak of
        self.gained: Gained | None = None  # is told, on any thread, what can be given on to others
        self._counting = threading.Lock()
        self.done_bytes = 0  # verified and in their place
        self.done_files = 0  # of which all bytes are

    def begin(self, slot: Slot) -> None:
        """Says that a long or an empty file begins; the empty one is done."""
        if not slot.size:
            with self._counting:
                self.done_files += 1

    def write(self, view: memoryview, pieces: Sequence[Piece], starts: Sequence[int]) -> None:
        """Takes verified pieces that follow each other in one file, each with where it starts in ``view``. Raises LocalError.

        Pieces of a small file are all of it; pieces of a long one lie back to back in ``view``.
        """

    def in_place(self, pieces: Sequence[Piece]) -> bool:
        """Takes pieces that were found right where they belong; tells whether they may stay there, or must be written anew."""
        del pieces
        return True

    def commit(self, runs: Sequence[Sequence[Piece]]) -> None:
        """Counts pieces as done: those of many calls of `write` or `in_place` at once."""
        self._count(runs, sum([_taken(pieces[0].slot, pieces) for pieces in runs]))

    def _count(self, runs: Sequence[Sequence[Piece]], files: int) -> None:
        """Counts pieces as done, and ``files`` that are whole by them."""
        if self.gained is not None:
            self.gained(runs)
        size = sum([piece.size for pieces in runs for piece in pieces])
        with self._counting:
            self.done_bytes += size
            self.done_files += files

    def known(self, piece: Piece) -> None:
        """Takes a piece of a long file that an earlier run wrote."""

    def known_whole(self, slot: Slot, pieces: Sequence[Piece]) -> bool:
        """Takes a small file that an earlier run wrote; tells whether it is there."""
        del slot, pieces
        return False

    def close(self) -> None:
        """Closes what is open of files that are not finished. No thread may be writing any more."""


class FileSink(Sink):
    """Writes into the part of a target, journals, and records for the index. Safe for threads."""

    __slots__ = ("_cut", "_direct", "_open_slots", "_recorder", "_recording", "_store", "_sync", "_target")

    def __init__(
        self,
        target: Target,
        store: Store,
        recorder: Recorder,
        *,
        direct: bool,
        sync: bool,
        sealing: Sealer | None = None,
        cut: str = "",
    ) -> None:
        """``cut`` tells the index how leaves were made (see `FileRecord`)."""
        super().__init__(sealing)
        self._cut = cut
        self._target = target
        self._store = store
        self._recorder = recorder
        self._recording = threading.Lock()
        self._direct = direct
        self._sync = sync
        self._open_slots: set[Slot] = set()  # long files that are being filled

    def begin(self, slot: Slot) -> None:
        """Prepares a long file; makes an empty one."""
        if slot.size == 0:
            self._keep([self._finish(slot, self._create(slot), True, [])])
            super().begin(slot)
            return
        final = self._target.final(slot.path)
        row = self._store.index.files([final], self._cut).get(final)
        going_on = row is not None and row.cid is None
        nothing = Signature(0, 0, 0, 0, 0)
        slot.number = row.id if row is not None and going_on else self._store.index.begin(final, nothing, self._cut)
        slot.fd = self._open(slot)
        if os.fstat(slot.fd).st_nlink > 1:  # somebody made a copy of hard links, which is not to be changed with it
            os.close(slot.fd)
            slot.fd = self._create(slot)
        self._open_slots.add(slot)
        found = os.fstat(slot.fd)
        slot.trusted = found.st_size == slot.size and self._target.journal.unchanged(found.st_mtime_ns)
        self._allocate(slot)

    def _open(self, slot: Slot, flags: int = os.O_CREAT) -> int:
        fd = self._try_open(slot, flags)
        if fd is None:
            raise Unwritable(f"cannot write {slot.path!r}: a file is in the way")
        return fd

    def _try_open(self, slot: Slot, flags: int) -> int | None:
        """Opens a file; None if one is there and must not be."""
        try:
            return self._target.tree.open(
                self._target.inside(slot.path), os.O_RDWR | flags, 0o777 if slot.attrs.executable else 0o666
            )
        except FileExistsError:
            return None
        except OSError as problem:
            raise local_error(problem, "cannot write", f"{self._target.part}: {slot.path}") from problem

    def _create(self, slot: Slot) -> int:
        """Makes a new file. One that an earlier run left goes: what others have of it, open or linked, is not written into."""
        fd = self._try_open(slot, os.O_CREAT | os.O_EXCL)
        if fd is not None:
            return fd
        self._target.tree.clear(self._target.inside(slot.path), stat.S_IFDIR)
        return self._open(slot, os.O_CREAT | os.O_EXCL)

    def _allocate(self, slot: Slot) -> None:
        try:
            os.posix_fallocate(slot.fd, 0, slot.size)
        except OSError as problem:
            if problem.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise local_error(problem, "cannot write", slot.path or self._target.path) from problem
        if os.fstat(slot.fd).st_size != slot.size:
            os.ftruncate(slot.fd, slot.size)
        if self._direct and slot.size >= _DIRECT_BYTES_MIN:
            try:
                slot.direct = self._target.tree.open(self._target.inside(slot.path), os.O_WRONLY | os.O_DIRECT)
            except OSError:  # the file system has no O_DIRECT: the page cache does
                slot.direct = -1

    def write(self, view: memoryview, pieces: Sequence[Piece], starts: Sequence[int]) -> None:
        """See `Sink.write`."""
        slot = pieces[0].slot
        try:
            if slot.small:
                self._write_small(slot, [view[start : start + piece.size] for piece, start in zip(pieces, starts, strict=True)])
            else:
                self._write_long(slot, view[starts[0] : starts[-1] + pieces[-1].size], starts[0], pieces[0].offset)
        except OSError as problem:
            raise local_error(problem, "cannot write", slot.path or self._target.path) from problem

    def _write_small(self, slot: Slot, parts: list[memoryview]) -> None:
        fd = self._create(slot)
        try:
            offset = 0
            for part in parts:
                _write_all(fd, part, offset)
                offset += len(part)
        except BaseException:
            os.close(fd)
            raise
        slot.record = self._finish(slot, fd, True, [])

    def _write_long(self, slot: Slot, view: memoryview, start: int, offset: int) -> None:
        if slot.direct >= 0 and start % PAGE == 0 and offset % PAGE == 0:
            whole = len(view) // PAGE * PAGE
            if whole and self._write_direct(slot, view[:whole], offset):
                view, offset = view[whole:], offset + whole
        _write_all(slot.fd, view, offset)

    def _write_direct(self, slot: Slot, view: memoryview, offset: int) -> bool:
        try:
            _write_all(slot.direct, view, offset)
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise
            return False  # this file system wants another alignment
        return True

    def in_place(self, pieces: Sequence[Piece]) -> bool:
        """Finishes a small file that is right already, unless it has hard links elsewhere."""
        slot = pieces[0].slot
        if slot.small:
            fd = self._open(slot, 0)
            if os.fstat(fd).st_nlink > 1:
                os.close(fd)
                return False
            try:
                if os.fstat(fd).st_size != slot.size:  # what was compared is there, and more behind it
                    os.ftruncate(fd, slot.size)
            except OSError as problem:
                os.close(fd)
                raise local_error(problem, "cannot write", slot.path or self._target.path) from problem
            slot.record = self._finish(slot, fd, False, [])
        return True

    def commit(self, runs: Sequence[Sequence[Piece]]) -> None:
        """Finishes the files whose last piece is here, journals and records; many files share one write of each."""
        records = []
        stretches = []
        files = 0
        for pieces in runs:
            slot, first, last = pieces[0].slot, pieces[0], pieces[-1]
            if slot.record is not None:
                records.append(slot.record._replace(leaves=[_leaf(piece) for piece in pieces]))
                slot.record = None
                files += 1
            else:
                files += self._advance(slot, pieces)
            stretches.append((slot.base + first.offset, slot.base + last.offset + last.size))
        self._target.journal.append(stretches)
        self._keep(records)
        self._count(runs, files)

    def known(self, piece: Piece) -> None:
        """See `Sink.known`."""
        self._count([[piece]], self._advance(piece.slot, [piece]))

    def known_whole(self, slot: Slot, pieces: Sequence[Piece]) -> bool:
        """See `Sink.known_whole`."""
        try:
            fd = self._open(slot, 0)
        except WherryError:
            return False
        found = os.fstat(fd)
        slot.trusted = found.st_size == slot.size and self._target.journal.unchanged(found.st_mtime_ns)
        if not slot.trusted:
            os.close(fd)
            return False
        self._keep([self._finish(slot, fd, False, [_leaf(piece) for piece in pieces])])
        self._count([pieces], 1)
        return True

    def _advance(self, slot: Slot, pieces: Sequence[Piece]) -> bool:
        """Records pieces of a long file, and finishes it with its last one; tells whether that was among them."""
        with self._recording:
            self._recorder.leaves(slot.number, [_leaf(piece) for piece in pieces])
            self._recorder.flush_if_due()
        whole = _taken(slot, pieces)
        if whole:
            record = self._finish(slot, slot.fd, False, [])
            with self._recording:
                self._store.index.finish(slot.number, slot.cid, record.signature, key=slot.key)
        return whole

    def _finish(self, slot: Slot, fd: int, fresh: bool, leaves: list[LeafRow]) -> FileRecord:
        """Gives a whole file its attributes, closes it, and says what is to be recorded of it."""
        try:
            if not fresh and slot.attrs.executable is not None:  # a file that was there before may have any mode
                mode = os.fstat(fd).st_mode
                # Who may read may execute: so the umask holds for both.
                wanted = mode | (mode & 0o444) >> 2 if slot.attrs.executable else mode & ~0o111
                if wanted != mode:
                    os.fchmod(fd, stat.S_IMODE(wanted))
            if not slot.small and self._sync:  # tells of bytes that the disk did not take: syncfs does not before Linux 5.8
                self._bring_to_disk(fd)
            if slot.attrs.mtime is not None:
                nanoseconds = slot.attrs.mtime[0] * 10**9 + slot.attrs.mtime[1]
                os.utime(fd, ns=(nanoseconds, nanoseconds))
            signature = Signature.of(os.fstat(fd))
        except OSError as problem:
            raise local_error(problem, "cannot finish", slot.path or self._target.path) from problem
        finally:
            slot.fd = fd
            self._close(slot)
        return FileRecord(self._target.final(slot.path), signature, slot.cid, self._cut, leaves, slot.key)

    def _bring_to_disk(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError:
            self._target.journal.distrust()
            raise

    def _keep(self, records: list[FileRecord]) -> None:
        with self._recording:
            for record in records:
                self._recorder.file(record)
            self._recorder.flush_if_due()

    def close(self) -> None:
        """See `Sink.close`."""
        for slot in list(self._open_slots):
            self._close(slot)

    def _close(self, slot: Slot) -> None:
        self._open_slots.discard(slot)
        for number in {slot.fd, slot.direct} - {-1}:
            os.close(number)
        slot.fd = slot.direct = -1


def _taken(slot: Slot, pieces: Sequence[Piece]) -> bool:
    """Takes pieces off what is left of a file; tells whether nothing is."""
    with slot.lock:
        slot.left -= sum([piece.size for piece in pieces])
        return slot.left == 0


def _leaf(piece: Piece) -> LeafRow:
    return LeafRow(piece.cid.digest, piece.offset, piece.size, piece.key)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        if count == len(view):
            return
        view, offset = view[count:], offset + count
