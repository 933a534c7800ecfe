"""Jobs: batches of wants, what becomes of them, and what is left to be asked of another source (specs/0013 §1)."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wherry.abc.transport import Arrival, FilePart, Lender, Want
from wherry.block import Block, checked, largest, other_size
from wherry.cid import DAG_PB
from wherry.errors import LimitExceeded, WherryError
from wherry.transfer.settle import CLAIMED, DONE, settle

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from wherry.buffers import Buffer, BufferPool
    from wherry.cid import CID
    from wherry.transfer.sink import Piece, Sealer, Sink


class Job(ABC):
    """A batch of wants that is with one source at a time. Each of a thousand transfers has several: slots, and no lists."""

    __slots__ = ()

    wants: Sequence[Want]
    size: int = 0  # bytes of the wants whose size is known
    spans: Sequence[tuple[int, int]] = ()  # where it lies in the dataset's stretch of bytes, sorted; (): not known, or nowhere
    repeated: int = 0  # bytes that came for it and were there already

    def __str__(self) -> str:
        return str(self.wants[0].cid)

    @abstractmethod
    def settle(self, arrival: Arrival, peer: str) -> None:
        """Verifies and keeps what arrived; never raises. Any thread."""

    @property
    @abstractmethod
    def progress(self) -> int:
        """Counts what is done of it; an answer that does not raise it was of no use."""

    @property
    def settling(self) -> bool:
        """Whether some of it is being written just now: where no thread of its own is at it, by one of its `twin`'s."""
        return False

    def twin(self) -> Job | None:
        """Gives a job of the same wants for another source; what either of the two gets done is done for both.

        None: this kind of job is for one source at a time.
        """
        return None

    @abstractmethod
    def rest(self, missing: set[int]) -> tuple[Job | None, Job | None]:
        """Gives what is not done: the part that the source does not have (``missing``), and the part that it left out."""

    def compare(self, found: Mapping[CID, Block]) -> None:
        """Raises IntegrityError if one of these blocks is wanted in another length: they are right, so its parent lies."""
        for want in self.wants:
            block = found.get(want.cid)
            if block is not None and want.size is not None and want.size != len(block.data):
                raise other_size(want.cid, len(block.data), want.size, want.path)


class JobLender(Lender):
    """Lends from the process's pool, and settles for one job and one peer."""

    def __init__(self, pool: BufferPool, job: Job, peer: str) -> None:
        self._pool = pool
        self._job = job
        self._peer = peer

    async def lend(self) -> Buffer:
        """See `Lender.lend`."""
        return await self._pool.lend()

    @property
    def awaited(self) -> bool:
        """See `Lender.awaited`."""
        return self._pool.awaited

    def settle(self, arrival: Arrival) -> None:
        """See `Lender.settle`."""
        self._job.settle(arrival, self._peer)


class LeafJob(Job):
    """Leaves that go to the sink."""

    __slots__ = ("_claiming", "_sink", "done", "in_place", "pieces", "plain", "repeated", "size", "spans", "wants")

    def __init__(
        self,
        sink: Sink,
        pieces: Sequence[Piece],
        *,
        in_place: bool = False,
        plain: bool = False,
        twin: LeafJob | None = None,
    ) -> None:
        """``plain``: asked of files of this machine, which hold plain bytes also where the dataset is encrypted.

        ``in_place``: those are the very files that are written. ``twin``: a job of the same pieces, asked of another source.
        """
        self._sink = sink
        self.pieces = pieces = tuple(pieces)
        self.wants: tuple[Want, ...]
        sealing = None if plain else sink.sealing
        if sealing is None:
            self.wants = tuple([Want(piece.cid, piece.size, piece.slot.path, piece.offset, _part(piece)) for piece in pieces])
        else:  # where plain bytes lie is no help to a source, and nobody's business
            self.wants = tuple([_want(piece, sealing) for piece in pieces])
        self.size = sum([piece.size for piece in pieces])
        self.spans = _spans(pieces) if sink.placed else ()
        self.done: bytearray = bytearray(len(pieces)) if twin is None else twin.done
        self._claiming: threading.Lock = threading.Lock() if twin is None else twin._claiming
        self.repeated = 0
        self.in_place = in_place
        self.plain = plain

    def settle(self, arrival: Arrival, peer: str) -> None:
        """See `Job.settle`."""
        self.repeated += settle(
            self._sink, arrival, self.pieces, self.done, self._claiming, peer=peer, in_place=self.in_place, plain=self.plain
        )

    @property
    def progress(self) -> int:
        """See `Job.progress`."""
        return self.done.count(DONE)

    @property
    def settling(self) -> bool:
        """See `Job.settling`."""
        return CLAIMED in self.done

    def twin(self) -> LeafJob:
        """See `Job.twin`."""
        return LeafJob(self._sink, self.pieces, in_place=self.in_place, plain=self.plain, twin=self)

    def split(self, size: int) -> list[LeafJob]:
        """Gives jobs of about ``size`` bytes, of which this one consists; small files stay in one piece."""
        parts: list[list[Piece]] = [[]]
        count = 0
        for piece in self.pieces:
            torn = piece.slot.small and parts[-1] and parts[-1][-1].slot is piece.slot
            if count and count + piece.size > size and not torn:
                parts.append([])
                count = 0
            parts[-1].append(piece)
            count += piece.size
        return [LeafJob(self._sink, part) for part in parts]

    def rest(self, missing: set[int]) -> tuple[LeafJob | None, LeafJob | None]:
        """See `Job.rest`. A small file stays in one piece: one missing leaf makes all of it missing."""
        lost = {id(self.pieces[want].slot) for want in missing if self.pieces[want].slot.small}
        absent: list[Piece] = []
        left: list[Piece] = []
        for want, piece in enumerate(self.pieces):
            if self.done[want] != DONE:
                (absent if want in missing or id(piece.slot) in lost else left).append(piece)
        return self._some(absent), self._some(left)

    def _some(self, pieces: list[Piece]) -> LeafJob | None:
        return LeafJob(self._sink, pieces) if pieces else None


def _want(piece: Piece, sealing: Sealer) -> Want:
    if piece.guessed:
        return Want(piece.cid, part=_part(piece))  # a source that has another size in mind is right, perhaps
    if not piece.key:
        return Want(piece.cid, piece.size, piece.slot.path, piece.offset, _part(piece))
    return Want(piece.cid, sealing.wire_size(piece.size, piece.key), part=_part(piece))


def _part(piece: Piece) -> FilePart | None:
    """Says which part of a UnixFS file of several blocks a piece is; None for a file that is one block, or not of UnixFS."""
    file = piece.slot.cid
    return FilePart(file, piece.offset, piece.offset + piece.size) if file[1] == DAG_PB and file != piece.cid else None


def _spans(pieces: Sequence[Piece]) -> tuple[tuple[int, int], ...]:
    """Gives where pieces lie in the dataset's stretch of bytes; neighbours are one span."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted((piece.slot.base + piece.offset, piece.slot.base + piece.offset + piece.size) for piece in pieces):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return tuple(spans)


class NodeJob(Job):
    """Manifest nodes, or a root of unknown size; the first is needed, the others are welcome."""

    __slots__ = ("answer", "found", "wants")

    def __init__(self, cids: Sequence[CID], answer: asyncio.Future[dict[CID, Block]] | None = None) -> None:
        """``answer`` is given what was found when the first is there; None: nobody waits for it."""
        self.wants = [Want(cid) for cid in cids]
        self.found: dict[CID, Block] = {}
        self.answer = answer

    def settle(self, arrival: Arrival, peer: str) -> None:
        """See `Job.settle`."""
        arrival.settled = True
        if arrival.buffer is None:
            return
        for laid in arrival.blocks:
            cid, size = self.wants[laid.want].cid, laid.stop - laid.start
            limit = largest(cid)
            try:
                if size > limit:
                    raise LimitExceeded(f"block {cid} from {peer} has {size} bytes, at most {limit}")
                self.found[cid] = checked(cid, bytes(arrival.buffer.view[laid.start : laid.stop]), origin=peer)
            except WherryError as problem:
                arrival.rejected.append((laid.want, problem))

    @property
    def progress(self) -> int:
        """See `Job.progress`."""
        return len(self.found)

    def twin(self) -> NodeJob:
        """See `Job.twin`."""
        return self

    def rest(self, missing: set[int]) -> tuple[NodeJob | None, NodeJob | None]:
        """See `Job.rest`."""
        if self.wants[0].cid in self.found:
            return None, None
        return (self, None) if 0 in missing else (None, self)
