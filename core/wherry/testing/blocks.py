"""Both ends of a transport for tests: a source of blocks in memory, and a lender that verifies and counts its buffers."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import BlockSource, Held, Lender
from wherry.block import verify
from wherry.buffers import Buffer, BufferPool
from wherry.errors import IntegrityError, SourceChanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wherry.abc.transport import Arrival, Channel, Want
    from wherry.cid import CID

ROUNDS_MAX: Final = 1000  # fetches that `harvest` makes before it says that there is no end


class MemoryHeld(Held):
    """A block in memory, seen as a stretch of a file that has no descriptor."""

    def __init__(self, data: bytes, path: str = "", offset: int = 0, *, gone: bool = False) -> None:
        """``gone``: it was found and cannot be read any more, as after its file has changed."""
        self.size = len(data)
        self._data = data
        self._path, self._offset = path, offset
        self._gone = gone

    def read_into(self, view: memoryview) -> None:
        """Fills ``view``; raises SourceChanged for a block that is gone."""
        if self._gone:
            raise SourceChanged("the file of this block has changed", hint="it was told to, by a test")
        view[:] = self._data

    def follows(self, other: Held) -> bool:
        """Whether it lies directly behind ``other`` in one file."""
        return (
            isinstance(other, MemoryHeld)
            and self._path != ""
            and (self._path, self._offset) == (other._path, other._offset + other.size)
        )


class MemorySource(BlockSource):
    """Blocks by CID. ``places`` says where in a file a block lies; ``gone`` are those that can no longer be read."""

    def __init__(self, blocks: Mapping[CID, bytes], places: Mapping[CID, tuple[str, int]] | None = None) -> None:
        self.blocks = dict(blocks)
        self.places = dict(places or {})
        self.gone: set[CID] = set()

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """See `BlockSource.find`."""
        return [self._held(cid) if cid in self.blocks else None for cid in cids]

    def _held(self, cid: CID) -> MemoryHeld:
        path, offset = self.places.get(cid, ("", 0))
        return MemoryHeld(self.blocks[cid], path, offset, gone=cid in self.gone)


class CountedPool(BufferPool):
    """A pool that knows how many buffers are out."""

    @property
    def out(self) -> int:
        """Buffers that were lent and have not come back."""
        return self._made - len(self._free)


class CheckingLender(Lender):
    """Lends from a pool of its own; verifies what arrives and keeps a copy. Any thread may settle."""

    def __init__(self, wants: Sequence[Want], pool: CountedPool) -> None:
        self.wants = wants
        self.pool = pool
        self.blocks: dict[int, bytes] = {}

    async def lend(self) -> Buffer:
        """See `Lender.lend`."""
        return await self.pool.lend()

    @property
    def awaited(self) -> bool:
        """See `Lender.awaited`."""
        return self.pool.awaited

    def settle(self, arrival: Arrival) -> None:
        """See `Lender.settle`."""
        arrival.settled = True
        for want, start, stop in arrival.blocks if arrival.buffer is not None else ():
            data = bytes(arrival.buffer.view[start:stop]) if arrival.buffer is not None else b""
            try:
                verify(self.wants[want].cid, data, origin="the source")
            except IntegrityError as problem:
                arrival.rejected.append((want, problem))
            else:
                self.blocks[want] = data


@dataclass(slots=True)
class Harvest:
    """What fetches brought: all by the number of the want."""

    blocks: dict[int, bytes] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    laid: list[list[tuple[int, int, int]]] = field(default_factory=list)  # of each arrival with a buffer
    faults: list[str] = field(default_factory=list)  # what the contract forbids


async def fetch_once(channel: Channel, wants: Sequence[Want], pool: CountedPool) -> Harvest:
    """Fetches as core does: settles what comes unsettled, gives buffers back. Notes what breaks the contract."""
    lender = CheckingLender(wants, pool)
    found = Harvest()
    answered: set[int] = set()
    async with aclosing(channel.fetch(wants, lender)) as arrivals:
        async for arrival in arrivals:
            try:
                numbers = [laid.want for laid in arrival.blocks] + list(arrival.missing)
                if not all(0 <= number < len(wants) for number in numbers):
                    found.faults.append(f"it answers wants {sorted(numbers)}, of {len(wants)}")
                    continue
                if len({*numbers, *answered}) != len(numbers) + len(answered):
                    found.faults.append("it answers a want twice")
                answered.update(numbers)
                if arrival.blocks and arrival.buffer is None:
                    found.faults.append("it says that blocks lie in no buffer")
                    continue
                found.faults += _lengths(arrival, wants)
                if not arrival.settled:
                    lender.settle(arrival)
                found.laid.append([(laid.want, laid.start, laid.stop) for laid in arrival.blocks])
                found.missing.update(arrival.missing)
                found.rejected.update(number for number, _ in arrival.rejected)
            finally:
                if arrival.buffer is not None:
                    arrival.buffer.release()
    found.blocks = lender.blocks
    found.left_out = set(range(len(wants))) - answered
    return found


def _lengths(arrival: Arrival, wants: Sequence[Want]) -> list[str]:
    """Gives what is wrong with where blocks lie."""
    faults = []
    for want, start, stop in arrival.blocks:
        size = wants[want].size
        if arrival.buffer is not None and not 0 <= start <= stop <= len(arrival.buffer.view):
            faults.append(f"it says that a block lies at {start} to {stop}, outside of its buffer")
        elif size is not None and stop - start != size:
            faults.append(f"it gives {stop - start} bytes for a block of {size}")
    return faults


async def harvest(channel: Channel, wants: Sequence[Want], pool: CountedPool) -> Harvest:
    """Fetches until every want is answered, asking again for those that were left out."""
    whole = Harvest()
    numbers = list(range(len(wants)))
    for _ in range(ROUNDS_MAX):
        found = await fetch_once(channel, [wants[number] for number in numbers], pool)
        whole.blocks.update({numbers[number]: data for number, data in found.blocks.items()})
        whole.missing.update(numbers[number] for number in found.missing)
        whole.rejected.update(numbers[number] for number in found.rejected)
        whole.laid += [[(numbers[want], start, stop) for want, start, stop in laid] for laid in found.laid]
        whole.faults += found.faults
        sized = [numbers[number] for number in sorted(found.left_out) if wants[numbers[number]].size is not None]
        if sized:
            whole.faults.append(f"it leaves out the wants {sized}, whose sizes were known")
        if whole.faults or not found.left_out:
            return whole
        if len(found.left_out) == len(numbers):
            whole.faults.append(f"it answers none of {len(numbers)} wants")
            return whole
        numbers = [numbers[number] for number in sorted(found.left_out)]
    whole.faults.append("it leaves wants out without end")
    return whole
