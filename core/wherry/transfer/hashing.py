"""Reads and hashes large files in worker threads: one buffer, one hop, no copy."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from wherry.buffers import ROOM
from wherry.errors import PluginContractError, SourceChanged, WherryError
from wherry.fileio import open_regular, read_exactly
from wherry.limits import BUFFER_BYTES
from wherry.store.index import LeafRow, Signature
from wherry.transfer.reader import RACY_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wherry.abc.chunker import Chunker
    from wherry.buffers import Buffer, BufferPool
    from wherry.sealing.sealer import Sealer
    from wherry.synth import Synth


class Naming(NamedTuple):
    """How plain bytes become leaves: where they are cut, and with what they are sealed (None: not at all)."""

    chunker: Chunker
    sealer: Sealer | None = None

    def small(self, piece: memoryview) -> list[LeafRow]:
        """Names the leaves of a whole file that lies in ``piece``."""
        key = self.sealer.file_key() if self.sealer is not None else b""
        return self.leaves(piece, 0, self.cut(piece, last=True), len(piece), key)

    def leaves(self, piece: memoryview, offset: int, lengths: Iterable[int], file_size: int, file_key: bytes) -> list[LeafRow]:
        """Names consecutive leaves of ``lengths`` that lie in ``piece``, which begins at ``offset`` of its file."""
        rows = []
        at = 0
        for length in lengths:
            leaf = piece[at : at + length]
            if self.sealer is None:
                rows.append(LeafRow(hashlib.sha256(leaf).digest(), offset + at, length))
            else:
                final = offset + at + length == file_size
                digest, key = self.sealer.leaf(leaf, offset + at, final=final, file_key=file_key)
                rows.append(LeafRow(digest, offset + at, length, key))
            at += length
        return rows

    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        """Has the chunker cut, and checks what it says. Raises PluginContractError."""
        try:
            lengths = list(self.chunker.cut(data, last=last))
            left = len(data) - sum(lengths)
        except WherryError:
            raise
        except Exception as problem:
            what = f"the chunker {self.chunker.name} raised {type(problem).__name__}: {problem}"
            raise PluginContractError(what, hint="run `wherry plugins check` on it") from problem
        most = self.chunker.leaf_bytes_max
        wrong = any(not 0 < length <= most for length in lengths) or left < 0 or (left > 0 if last else left >= max(most, 1))
        if wrong:
            what = f"the chunker {self.chunker.name} cut {len(data)} bytes into {len(lengths)} leaves of {sum(lengths)}"
            raise PluginContractError(what, hint="run `wherry plugins check` on it")
        return lengths


class Stretch(NamedTuple):
    """A part of a file that was read into a lent buffer, and cut."""

    buffer: Buffer
    piece: memoryview
    offset: int
    lengths: Sequence[int]


def check_same(fd: int, signature: Signature, path: str) -> None:
    """Raises SourceChanged if the open file is not as it was when ``signature`` was taken."""
    stat = os.fstat(fd)
    if (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) != (signature.size, signature.mtime, signature.ctime):
        raise SourceChanged(f"{path!r} changed while it was read", hint="run the same command again when nothing writes to it")


class Opened:
    """A large file (or a generated one) open for several workers at once."""

    def __init__(self, path: str, synth: Synth | None = None) -> None:
        """Raises LocalError or SourceChanged if it cannot be opened."""
        self.path = path
        self._synth = synth
        self._fd = -1
        if synth is not None:
            self.signature = Signature(0, 0, synth.size, 0, 0)
            self.executable = self.racy = False
            return
        self._fd, stat = open_regular(path)
        age = time.time_ns() - stat.st_ctime_ns
        if 0 <= age <= RACY_NS:  # a file that was just written: a moment's wait spares reading it again next time
            time.sleep((RACY_NS - age) / 1e9 + 0.001)
            stat = os.fstat(self._fd)
        self.signature = Signature.of(stat)
        self.executable = stat.st_mode & 0o100 != 0
        self.racy = time.time_ns() - stat.st_ctime_ns <= RACY_NS
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def name_stretch(self, offset: int, length: int, naming: Naming, file_key: bytes, pool: BufferPool) -> list[LeafRow]:
        """Reads and names a stretch, at most BUFFER_BYTES long, that begins at a leaf and ends at one or with the file."""
        buffer = pool.take()
        try:
            piece = self.read(offset, length, buffer.view)
            lengths = naming.cut(piece, last=True)
            return naming.leaves(piece, offset, lengths, self.signature.size, file_key)
        finally:
            buffer.release()

    def cut_stretch(self, offset: int, carried: bytes, naming: Naming, pool: BufferPool) -> tuple[Stretch, bytes]:
        """Reads on behind what was ``carried`` over, which begins at ``offset``, and cuts it; gives what is left over."""
        buffer = pool.take()
        try:
            size = min(BUFFER_BYTES, self.signature.size - offset)
            whole = buffer.view[ROOM : ROOM + size]
            whole[: len(carried)] = carried
            self._fill(whole[len(carried) :], offset + len(carried))
            lengths = naming.cut(whole, last=offset + size == self.signature.size)
            used = sum(lengths)
            return Stretch(buffer, whole[:used], offset, lengths), bytes(whole[used:])
        except BaseException:
            buffer.release()
            raise

    def name_cut(self, stretch: Stretch, naming: Naming, file_key: bytes) -> list[LeafRow]:
        """Names a stretch that was read and cut, and gives its buffer back."""
        try:
            return naming.leaves(stretch.piece, stretch.offset, stretch.lengths, self.signature.size, file_key)
        finally:
            stretch.buffer.release()

    def read(self, offset: int, length: int, view: memoryview) -> memoryview:
        """Reads a stretch into ``view`` and gives the part that it fills."""
        piece = view[ROOM : ROOM + length]
        self._fill(piece, offset)
        return piece

    def _fill(self, piece: memoryview, offset: int) -> None:
        if self._synth is not None:
            self._synth.read_into(piece, offset)
        else:
            read_exactly(self._fd, piece, offset, self.path)

    def check_same(self) -> None:
        """Raises SourceChanged if the file changed since it was opened."""
        if self._synth is None:
            check_same(self._fd, self.signature, self.path)

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
