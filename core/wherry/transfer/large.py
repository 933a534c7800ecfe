"""The leaves of one large file, in order, read and named by several threads ahead of whoever takes them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wherry.chunking import FixedChunker
from wherry.limits import BUFFER_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from wherry.buffers import BufferPool
    from wherry.store.index import LeafRow
    from wherry.transfer.hashing import Naming, Opened

_WINDOW: Final = 6  # stretches under way; each holds a buffer of the process's eight


@dataclass(frozen=True, slots=True)
class LargeFileReading:
    """One reading of a large file."""

    opened: Opened
    naming: Naming
    file_key: bytes  # see `Sealer.file_key`
    threads: ThreadPoolExecutor
    pool: BufferPool

    def leaves(self, start: int) -> Generator[list[LeafRow]]:
        """Gives the leaves from ``start`` (where one begins) to the end of the file, a stretch at a time.

        Close it if it is not read to its end: it then waits for the threads. Raises LocalError, SourceChanged, and
        PluginContractError for a chunker that cuts wrong.
        """
        futures = self._fixed(start) if isinstance(self.naming.chunker, FixedChunker) else self._cut(start)
        running: deque[Future[list[LeafRow]]] = deque()
        try:
            for future in futures:
                running.append(future)
                if len(running) >= _WINDOW:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:  # not cancelled: each gives back the buffer that it holds
                future.exception()

    def _fixed(self, at: int) -> Iterator[Future[list[LeafRow]]]:
        """Where leaves lie is known beforehand, so the threads read as well."""
        size = self.opened.signature.size
        while at < size:
            length = min(BUFFER_BYTES, size - at)
            yield self.threads.submit(self.opened.name_stretch, at, length, self.naming, self.file_key, self.pool)
            at += length

    def _cut(self, at: int) -> Iterator[Future[list[LeafRow]]]:
        """Where a leaf ends is known when it was read: this thread reads and cuts, the others name."""
        rest = b""
        while at < self.opened.signature.size:
            stretch, rest = self.opened.cut_stretch(at, rest, self.naming, self.pool)
            at += sum(stretch.lengths)
            yield self.threads.submit(self.opened.name_cut, stretch, self.naming, self.file_key)
