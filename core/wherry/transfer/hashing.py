"""Reads and hashes large files in worker threads: one buffer, one hop, no copy."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from wherry.buffers import ROOM
from wherry.errors import SourceChanged
from wherry.fileio import open_regular, read_exactly
from wherry.store.index import Signature
from wherry.transfer.reader import RACY_NS

if TYPE_CHECKING:
    from wherry.buffers import BufferPool
    from wherry.synth import Synth

LeafRow = tuple[bytes, int, int]  # digest, offset in the file, bytes


def hash_leaves(piece: memoryview, offset: int, leaf_bytes: int) -> list[LeafRow]:
    """Hashes consecutive leaves that lie in ``piece``, which begins at ``offset`` of its file."""
    return [
        (hashlib.sha256(leaf).digest(), offset + start, len(leaf))
        for start in range(0, len(piece), leaf_bytes)
        for leaf in (piece[start : start + leaf_bytes],)
    ]


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

    def hash_stretch(self, offset: int, length: int, leaf_bytes: int, pool: BufferPool) -> list[LeafRow]:
        """Reads and hashes the leaves of one stretch, at most a buffer long and beginning at a leaf."""
        buffer = pool.take()
        try:
            return hash_leaves(self.read(offset, length, buffer.view), offset, leaf_bytes)
        finally:
            buffer.release()

    def read(self, offset: int, length: int, view: memoryview) -> memoryview:
        """Reads a stretch into ``view`` and gives the part that it fills."""
        piece = view[ROOM : ROOM + length]
        if self._synth is not None:
            self._synth.read_into(piece, offset)
        else:
            read_exactly(self._fd, piece, offset, self.path)
        return piece

    def check_same(self) -> None:
        """Raises SourceChanged if the file changed since it was opened."""
        if self._synth is None:
            check_same(self._fd, self.signature, self.path)

    def close(self) -> None:
        """Closes the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
