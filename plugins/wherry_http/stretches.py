"""Parts of files as CARs by range, and what is taken of one (specs/0033 §11).

The gateway sends the nodes on the way, which core has verified long ago, and then the blocks that have a byte of the range.
Of what comes, only what was asked for is laid down; all else is passed over, and there is little of it or the answer is left.
"""

from __future__ import annotations

import http.client
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.car import CarReader
from wherry.errors import CIDError, DecodeError, LimitExceeded, PeerProtocolError, WherryError
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.transport import FilePart, Want
    from wherry.cid import CID
    from wherry.publiccid import PublicCID

    Place = Callable[[int, int], tuple[memoryview, Callable[[], None]]]

BLOCKS_MIN: Final = 2  # that are worth a CAR: see specs/decisions/0011
OTHER_BYTES_MAX: Final = 2 * MiB  # of blocks that were not asked for: the nodes on the way, 60 KiB a level
OTHER_BLOCKS_MAX: Final = 256
HEAD_BYTES_MAX: Final = 256  # before each block


class Stretch(NamedTuple):
    """Wants that follow each other in one file."""

    file: CID
    start: int
    stop: int
    wants: tuple[int, ...]

    @property
    def path(self) -> str:
        """What is asked for."""
        span = f"{self.start}:{self.stop - 1}"
        return f"/ipfs/{self.file}?format=car&dag-scope=entity&entity-bytes={span}&car-version=1&car-order=dfs&car-dups=n"


class Strange(Exception):
    """What came is a CAR, but not the one that was asked for, as of a gateway that does not know ranges."""


class Cut(Exception):
    """The answer ended before all came, as that of a gateway which lacks a block."""


def divided(wants: Sequence[Want]) -> tuple[list[Stretch], list[int]]:
    """Gives the stretches that are worth a CAR, and the other wants."""
    stretches: list[Stretch] = []
    single: list[int] = []
    row: list[int] = []
    before: FilePart | None = None
    for number, want in enumerate(wants):
        part = want.part
        if before is None or part is None or part.file != before.file or part.start != before.stop:
            _close(wants, row, stretches, single)
            row = []
        row.append(number)
        before = part
    _close(wants, row, stretches, single)
    return stretches, single


def _close(wants: Sequence[Want], row: list[int], stretches: list[Stretch], single: list[int]) -> None:
    first, last = (wants[row[0]].part, wants[row[-1]].part) if len(row) >= BLOCKS_MIN else (None, None)
    if first is not None and last is not None:
        stretches.append(Stretch(first.file, first.start, last.stop, tuple(row)))
    else:
        single += row


class Receiver:
    """Takes the blocks of one stretch from one answer. For one thread."""

    def __init__(self, stretch: Stretch, wants: Sequence[Want], peer: str) -> None:
        self._peer = peer
        self._missing: dict[CID, list[int]] = {}
        self._other_bytes = self._other_blocks = 0
        self.came = 0  # blocks that this answer brought, while other threads bring theirs
        for number in stretch.wants:
            self._missing.setdefault(wants[number].cid, []).append(number)

    def receive(self, response: http.client.HTTPResponse, place: Place) -> None:
        """Lays the blocks down as they come, until all are there.

        ``place`` is given a want and a size, and gives where the block may lie and what is to be called when it does. Raises
        PeerProtocolError for what is no CAR, Strange, Cut, what ``place`` raises, and OSError.
        """
        peer = self._peer
        try:
            car = CarReader(response.read, origin=peer, read_into=response.readinto)
        except WherryError as problem:
            raise PeerProtocolError(f"{peer} sent what is no CAR: {problem.message}", peer=peer) from problem
        if car.version != 1:
            raise PeerProtocolError(f"{peer} answered with a CAR of version {car.version}", peer=peer)
        try:
            while self._missing and (found := car.section()) is not None:
                self._block(car, found[0], found[1], place)
        except (http.client.IncompleteRead, ConnectionError) as problem:
            raise Cut from problem
        except (DecodeError, LimitExceeded) as problem:
            if response.isclosed():
                raise Cut from problem
            raise PeerProtocolError(f"{peer} sent what is no CAR: {problem.message}", peer=peer) from problem

    def _block(self, car: CarReader, public: PublicCID, size: int, place: Place) -> None:
        numbers = None
        if public.inline is None:
            with suppress(CIDError):  # of a hash that wherry does not know: nothing that it asked for
                numbers = self._missing.pop(public.block(), None)
        if numbers is None:
            self._other_bytes, self._other_blocks = self._other_bytes + size, self._other_blocks + 1
            if self._other_bytes > OTHER_BYTES_MAX or self._other_blocks > OTHER_BLOCKS_MAX:
                raise Strange
            car.skip()
            return
        view, done = place(numbers[0], size)
        car.take(view)
        done()
        self.came += 1
        for again in numbers[1:]:  # equal blocks come once
            other, done = place(again, size)
            other[:] = view
            done()
