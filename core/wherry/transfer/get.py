"""`get`: the way of the data from sources to files.

    root -> walk (nodes fetched ahead) -> done already? -> batch -> is it on this machine? -> [buffer lent]
         -> fetch (a few tasks a source) -> verify and write, on the thread that received -> journal -> name it

A batch of leaves goes through stages: the part that an interrupted run left, the target that is replaced, this node's own
store, and then the sources. Whatever gives a block, it counts when it is hashed. The target's name appears when it is whole.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep
from wherry.errors import LimitExceeded, NoSpace, WherryError
from wherry.observe import Note
from wherry.offload import in_thread
from wherry.transfer.jobs import LeafJob
from wherry.transfer.leftovers import Leftovers
from wherry.transfer.local import FilesChannel, HeldChannel, KnownChannel
from wherry.transfer.pack import Packer
from wherry.transfer.remake import Remaker
from wherry.transfer.request import fetch_once
from wherry.transfer.running import worst
from wherry.transfer.select import Extent, chosen
from wherry.transfer.sink import FileSink, Piece, Sink, Slot
from wherry.transfer.target import check_encoding
from wherry.transfer.tree import walk_of
from wherry.units import format_size
from wherry.unixfs.wrap import Wrapping

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from wherry.abc.transport import Channel
    from wherry.buffers import BufferPool
    from wherry.dag.walk import Root
    from wherry.manifest import Entry
    from wherry.observe import Observe
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.journal import Journal
    from wherry.transfer.record import Recorder
    from wherry.transfer.select import Guard, Selection
    from wherry.transfer.sink import Gained, Sealer
    from wherry.transfer.target import Target
    from wherry.transfer.tree import Nodes

_SYNC_S: Final = 5.0  # what a power cut may cost


@dataclass(slots=True)
class Count:
    """How far a get is; read by whoever shows progress."""

    files: int = 0  # that were begun
    links: int = 0
    files_total: int | None = None
    bytes_total: int | None = None
    extent: Extent = field(default_factory=Extent)  # of the files walked so far


def check_bounds(root: Entry, *, bytes_max: int | None, entries_max: int, exact: bool = True) -> None:
    """Refuses a dataset that claims more than the user takes. Raises LimitExceeded.

    What a manifest claims can be relied on: the walk compares every node with its parent's claim. What is not ``exact`` is
    looked at again as it comes.
    """
    if not exact:
        return
    if bytes_max is not None and root.size > bytes_max:
        raise LimitExceeded(
            f"the dataset has {format_size(root.size)}, at most {format_size(bytes_max)} are taken", hint="raise --max-bytes"
        )
    if root.entries > entries_max:
        raise LimitExceeded(f"the dataset has {root.entries} entries, at most {entries_max} are taken")


class Get:
    """One run of `get` into one target. Made and used on one event loop."""

    __slots__ = (
        "_asks_by_place", "_bytes_max", "_careful", "_channels", "_fetcher", "_guard", "_journal", "_leftovers", "_nodes",
        "_observe", "_packer", "_part", "_pieces", "_plain", "_pool", "_recheck", "_sealing", "_selection", "_sink",
        "_stages", "_store", "_target", "_torn", "count",
    )  # fmt: skip

    def __init__(
        self,
        nodes: Nodes,
        fetcher: Fetcher,
        store: Store,
        pool: BufferPool,
        *,
        selection: Selection,
        guard: Guard,
        observe: Observe,
        careful: bool = False,
        placed: bool = True,
        bytes_max: int | None = None,
    ) -> None:
        """``careful``: expect nothing of blocks that have not come (see `Misjudged`). ``bytes_max``: more is refused.

        ``placed``: it is known where files lie in the stretch of bytes of the dataset that peers speak of.
        """
        # A seed that shows its dataset piece by piece knows of no selection: who selects asks it for what is not shown too.
        self._asks_by_place = placed and selection.everything
        self._careful = careful
        self._bytes_max = bytes_max
        self._nodes = nodes
        self._fetcher = fetcher
        self._store = store
        self._pool = pool
        self._selection = selection
        self._guard = guard
        self._observe = observe
        self._sealing: Sealer | None = nodes.unlocked.sealing if nodes.unlocked is not None else None
        self._packer = Packer(self._sealing, self._fetcher.flow)
        self._target: Target | None = None
        self._journal: Journal | None = None
        self._sink = Sink(self._sealing)
        self._recheck = False
        self._part: Channel | None = None  # what an interrupted run left, as a source
        self._stages: list[Channel] = []  # other local sources of blocks
        self._plain: list[Channel] = []  # local sources of plain bytes
        self._channels: list[FilesChannel] = []
        self._leftovers: Leftovers | None = None
        self._pieces: list[Piece] = []
        self._torn = False  # whether there are leaves among them that CIDs carry
        self.count = Count()

    @property
    def done_bytes(self) -> int:
        """Bytes that are verified and in their place."""
        return self._sink.done_bytes

    @property
    def done_files(self) -> int:
        """Files that are whole and in their place."""
        return self._sink.done_files

    def to_nowhere(self, root: Root) -> Coroutine[Any, Any, None]:
        """Fetches and verifies everything, and keeps nothing of it."""
        self._begin_root(root)
        self._sink.placed = self._asks_by_place
        self._use_known()
        return self._work(root)  # not awaited here: a frame of this takes 0.2 KB, in each of a thousand transfers

    async def to_target(
        self,
        root: Root,
        target: Target,
        recorder: Recorder,
        *,
        direct: bool,
        sync: bool,
        replaced: str | None,
        gained: Gained | None = None,
    ) -> None:
        """Fills the part of ``target``; ``replaced`` is a path whose content may be of use.

        ``gained`` is told, on any thread, what was written and can be given to others.

        Raises what fetching and writing do. Call `close` afterwards, when the fetcher is over.
        """
        self._target, self._journal = target, target.journal
        self._begin_root(root)
        unlocked = self._nodes.unlocked
        cut = f" {self._sealing.scheme.name}" if self._sealing is not None else ""
        cut += f" {unlocked.header.commit.hex()[:16]}" if unlocked is not None else ""
        self._sink = FileSink(
            target, self._store, recorder, direct=direct, sync=sync, sealing=self._sealing, cut=cut
        )  # fmt: skip
        self._sink.placed, self._sink.gained = self._asks_by_place, gained
        self._recheck = target.existed and not target.journal.intact
        if target.existed:
            self._part = self._files(target.part, afresh=True)
            self._leftovers = Leftovers(target.tree)
        self._use_known()
        if replaced is not None:
            with suppress(WherryError):  # what cannot be read is of no use, and is replaced all the same
                self._plain.append(self._files(replaced))
        if await in_thread(self._store.holds_any):
            self._stages.append(HeldChannel(self._store))
        self._check_space(root.entry, target)
        if not sync:
            await self._work(root)
            return
        try:
            async with asyncio.TaskGroup() as group:  # a disk that does not take what was written ends the work at once
                syncing = group.create_task(_sync_now_and_then(target))
                await self._work(root)
                syncing.cancel()
        except BaseExceptionGroup as problems:
            raise worst(problems) from problems
        await in_thread(partial(target.sync, mark=False))  # the journal goes now

    def close(self) -> None:
        """Frees what is open. No fetch may be under way any more."""
        for channel in self._channels:
            channel.close()
        self._sink.close()

    def _begin_root(self, root: Root) -> None:
        """Prepares for the kind of the dataset."""
        if root.entry.cid.codec == DAG_PB:
            self._sealing = Wrapping()
            self._sink = Sink(self._sealing)
            self._packer = Packer(self._sealing, self._fetcher.flow)

    def _use_known(self) -> None:
        if self._nodes.leaf is not None or isinstance(self._sealing, Wrapping):
            self._stages.append(KnownChannel(self._nodes.known))

    def _files(self, path: str, *, afresh: bool = False) -> FilesChannel:
        channel = FilesChannel(path, afresh=afresh)
        self._channels.append(channel)
        return channel

    def _check_space(self, root: Entry, target: Target) -> None:
        if not self._selection.everything:
            return  # what is selected is known at the end of the walk only; a full disk is met when it is met
        missing = root.size - target.journal.done.total
        try:
            target.check_space(missing)
        except NoSpace:
            if not target.existed:
                raise
            target.check_space(missing - target.allocated_bytes() + target.journal.done.total)

    # The walk

    async def _work(self, root: Root) -> None:
        if self._selection.everything and root.exact:
            self.count.bytes_total = root.entry.size
        slot: Slot | None = None
        walk = walk_of(root.entry, hints=not self._careful, predict=not self._careful)
        # What an earlier run wrote need not come again to be walked: the part gives leaves that must be read as nodes.
        remaker = Remaker(self._target.part, self._store.index) if self._target is not None and self._target.existed else None
        steps, passed = self._nodes.steps(walk, remaker), self.count.extent.leave_out
        async for step in steps if self._selection.everything else chosen(steps, walk, self._selection, passed):
            if isinstance(step, EnterDir | EnterFile | LinkStep):
                self._guard.enter(step)
                if isinstance(step, LinkStep) and not self._guard.takes_link(step):
                    continue
                if self._target is not None:
                    check_encoding(step.path)
                if self._leftovers is not None:
                    self._leftovers.enter(step)
            if isinstance(step, EnterFile):
                slot = await self._begin(step)
                told = step.guessed or not isinstance(self._sealing, Wrapping)
                if slot.size and slot.cid.codec == RAW and told:  # the commonest by far: a file that is one leaf
                    walk.skip()
                    self._pieces = [Piece(slot, slot.cid, 0, slot.size, slot.key, step.guessed)]
                    await self._leave(slot)
            elif isinstance(step, Leaf) and slot is not None:
                self._torn |= step.inline
                await self._leaf(slot, Piece(slot, step.cid, step.offset, step.size, step.key, step.guessed))
            elif isinstance(step, LeaveFile) and slot is not None:
                await self._leave(slot)
            elif isinstance(step, EnterDir) and self._target is not None:
                if step.path:
                    self._target.tree.make_dir(step.path)
                self._target.tree.spread(step.path, on=True)
            elif isinstance(step, LeaveDir):
                await self._leave_dir(step.path)
            elif isinstance(step, LinkStep) and self._target is not None:
                check_encoding(step.entry.target, step.path)
                self._target.tree.make_link(step.path, step.entry.target)
                self.count.links += 1
        await self._send(self._packer.flush())
        await self._fetcher.drained()
        if skipped := self._guard.skipped_links:
            links, were = ("link that leads", "was") if skipped == 1 else ("links that lead", "were")
            self._observe(Note("warning", f"{skipped} {links} out of the target {were} left out"))
        if self._target is not None and not (self._selection.everything or self.count.files or self.count.links):
            self._observe(Note("warning", "no file is selected by what to include and exclude: compare it with `wherry ls`"))

    async def _leave_dir(self, path: str) -> None:
        self._guard.leave_dir()
        if self._leftovers is not None:
            await in_thread(partial(self._leftovers.leave_dir, path))
        if self._target is not None:
            self._target.tree.spread(path, on=False)  # its own directories are made by now

    # One file

    async def _begin(self, step: EnterFile) -> Slot:
        entry = step.entry
        slot = Slot(step.path, entry.cid, entry.size, entry.attrs, self.count.extent.take(entry.size), entry.size, entry.key)
        slot.wrapped = entry.cid.codec == DAG_PB
        if self._bytes_max is not None and self.count.extent.selected_bytes > self._bytes_max:
            raise LimitExceeded(
                f"the dataset has more than {format_size(self._bytes_max)}, which is what is taken", hint="raise --max-bytes"
            )
        self.count.files += 1
        self._pieces, self._torn = [], False
        if not slot.size:
            self._sink.begin(slot)  # made at once: a hop to a thread takes three times as long
        elif not slot.small:
            await in_thread(partial(self._sink.begin, slot))  # it syncs a record, and takes the room on the disk
        return slot

    async def _leaf(self, slot: Slot, piece: Piece) -> None:
        if slot.small:
            self._pieces.append(piece)
        elif self._is_done(slot, piece.offset, piece.size):
            self._sink.known(piece)
        else:
            await self._send(self._packer.long(piece))

    async def _leave(self, slot: Slot) -> None:
        if not slot.small or not slot.size:
            return
        if self._torn and len(self._pieces) > 1:
            slot.torn = True
            await in_thread(partial(self._sink.begin, slot))
            for piece in self._pieces:
                await self._leaf(slot, piece)
        elif not (self._is_done(slot, 0, slot.size) and self._sink.known_whole(slot, self._pieces)):
            await self._send(self._packer.small(self._pieces))

    def _is_done(self, slot: Slot, offset: int, size: int) -> bool:
        return (
            self._journal is not None
            and slot.trusted
            and self._journal.done.covers(slot.base + offset, slot.base + offset + size)
        )

    async def _send(self, pieces: list[Piece]) -> None:
        """Sends a batch through the local stages, and what is left of it to the sources."""
        if not pieces:
            return
        job: LeafJob | None = LeafJob(self._sink, pieces)
        if self._part is not None and (self._recheck or not all(piece.slot.trusted for piece in pieces)):
            job = await self._try(self._part, pieces, in_place=True, plain=True)
        for channel in self._plain:
            if job is not None:
                job = await self._try(channel, job.pieces, plain=True)
        for channel in self._stages:
            if job is not None:
                job = await self._try(channel, job.pieces)
        if job is not None:
            await self._fetcher.put(job)

    async def _try(
        self, channel: Channel, pieces: Sequence[Piece], *, in_place: bool = False, plain: bool = False
    ) -> LeafJob | None:
        """Asks a local source; gives what it did not have, or not right."""
        attempt = LeafJob(self._sink, pieces, in_place=in_place, plain=plain)
        await fetch_once(channel, attempt, self._pool, "this machine")
        if isinstance(channel, HeldChannel) and channel.odd:
            await in_thread(partial(channel.compare, attempt))
        left = [piece for piece, done in zip(pieces, attempt.done, strict=True) if not done]
        return LeafJob(self._sink, left) if left else None


async def _sync_now_and_then(target: Target) -> None:
    while True:
        await asyncio.sleep(_SYNC_S)
        await in_thread(target.sync)
