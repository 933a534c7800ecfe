"""Local sources of a get, seen as channels: what this node holds, and files that lie where the target's will.

What was in an interrupted part, in the target that is replaced, or in another dataset of this node is hashed instead of
fetched. `file` addresses of plain copies use the same class.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import PAGE, ROOM
from wherry.errors import LocalError, WherryError
from wherry.fileio import read_exactly
from wherry.offload import in_thread
from wherry.safetree import SafeTree
from wherry.transfer.tree import read_here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from wherry.abc.transport import BlockSource, Held, Lender, Want
    from wherry.block import Block
    from wherry.buffers import Buffer
    from wherry.cid import CID
    from wherry.transfer.jobs import Job


class HeldChannel(Channel):
    """Blocks of a store on this machine."""

    parallel = 2

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self.odd: list[CID] = []  # that were asked for in another length than they have, so far

    def compare(self, job: Job) -> None:
        """Reads those of ``job`` that have another length; blocks its thread. Raises IntegrityError if one is right."""
        odd, self.odd = self.odd, []
        for cid in odd:
            block = read_here(self._source, cid)
            if block is not None:
                job.compare({cid: block})

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        found = await in_thread(lambda: self._source.find([want.cid for want in wants]))
        yield await _filled(lender, lambda buffer: self._read(buffer, found, wants, lender))

    def _read(self, buffer: Buffer, found: Sequence[Held | None], wants: Sequence[Want], lender: Lender) -> Arrival:
        at, blocks, missing = ROOM, [], []
        for number, (held, want) in enumerate(zip(found, wants, strict=True)):
            if held is None or (want.size is not None and held.size != want.size):
                if held is not None:
                    self.odd.append(want.cid)
                missing.append(number)
                continue
            if at + held.size > len(buffer.view):
                break  # of unknown sizes; asked for again
            try:
                held.read_into(buffer.view[at : at + held.size])
            except WherryError:
                missing.append(number)
                continue
            blocks.append(Laid(number, at, at + held.size))
            at += held.size
        arrival = Arrival(buffer, blocks, missing)
        lender.settle(arrival)
        return arrival


class KnownChannel(Channel):
    """Blocks that are in memory: a root that is a leaf had to be fetched to know its size."""

    parallel = 1

    def __init__(self, known: Callable[[CID], Block | None]) -> None:
        self._known = known

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        found = [self._known(want.cid) for want in wants]
        yield await _filled(lender, lambda buffer: self._lay(buffer, found, lender))

    def _lay(self, buffer: Buffer, found: Sequence[Block | None], lender: Lender) -> Arrival:
        at, blocks, missing = ROOM, [], []
        for number, block in enumerate(found):
            if block is None or at + len(block.data) > len(buffer.view):
                missing.append(number)
                continue
            buffer.view[at : at + len(block.data)] = block.data
            blocks.append(Laid(number, at, at + len(block.data)))
            at += len(block.data)
        arrival = Arrival(buffer, blocks, missing)
        lender.settle(arrival)
        return arrival


class FilesChannel(Channel):
    """Files that lie in a directory under the paths of the dataset, or one file that is the dataset. They prove nothing:
    like everything they are hashed before they count.
    """

    parallel = 2
    manifests = False

    def __init__(self, path: str, *, afresh: bool = False) -> None:
        """``afresh``: read what the disk has, where the system may still show what it could not write (after a failed sync).

        Raises LocalError if ``path`` cannot be opened.
        """
        self._path = path
        self._afresh = afresh
        self._whole_file = not os.path.isdir(path)
        # Where a file lies was given, and may be a link; the file itself is opened below it, and is none.
        self._tree = SafeTree(os.path.dirname(path) or ".", follow=True) if self._whole_file else SafeTree(path)

    def close(self) -> None:
        """Frees the directory."""
        self._tree.close()

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`. A manifest node, or a block of unknown size, is always missing here."""
        yield await _filled(lender, lambda buffer: self._read(buffer, wants, lender))

    def _read(self, buffer: Buffer, wants: Sequence[Want], lender: Lender) -> Arrival:
        at, blocks, missing = ROOM, [], []
        fd, opened = -1, ""
        try:
            for number, want in enumerate(wants):
                name = os.path.basename(self._path) if self._whole_file else want.path
                if want.size is None or not name or (self._whole_file and want.path):
                    missing.append(number)
                    continue
                try:
                    if fd < 0 or name != opened:
                        if fd >= 0:
                            os.close(fd)
                        fd, opened = -1, name
                        fd = self._tree.open(name, os.O_RDONLY | os.O_NONBLOCK)
                    if self._afresh:  # pages that were not written are dropped when they are; those that are to be, stay
                        begin, end = want.offset // PAGE * PAGE, -(-(want.offset + want.size) // PAGE) * PAGE
                        os.posix_fadvise(fd, begin, end - begin, os.POSIX_FADV_DONTNEED)
                    read_exactly(fd, buffer.view[at : at + want.size], want.offset, name)
                except (OSError, LocalError):
                    missing.append(number)
                    continue
                blocks.append(Laid(number, at, at + want.size))
                at += want.size
        finally:
            if fd >= 0:
                os.close(fd)
        arrival = Arrival(buffer, blocks, missing)
        lender.settle(arrival)
        return arrival


async def _filled(lender: Lender, read: Callable[[Buffer], Arrival]) -> Arrival:
    """Has a lent buffer filled and settled in a thread; gives it back if that fails or is cancelled."""
    buffer = await lender.lend()
    try:
        return await in_thread(lambda: read(buffer))
    except BaseException:
        buffer.release()
        raise
