"""Blocks of this node as a gateway needs them: by public CID, nodes verified before they are read (specs/0033 §5).

Synchronous, for worker threads. Nothing is fetched from anybody: a gateway does no work for strangers (reliability R11).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from wherry.abc.transport import Held
from wherry.block import verify
from wherry.cid import CID, CODECS
from wherry.errors import BlockNotFound, CIDError, LimitExceeded, WherryError
from wherry.limits import PB_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wherry.abc.transport import BlockSource, Span
    from wherry.block import Block
    from wherry.publiccid import PublicCID

BATCH: Final = 256  # leaves looked up at a time


class Inline(Held):
    """Bytes that are at hand: those of an identity CID, or of a node."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read_into(self, view: memoryview) -> None:
        """Copies them."""
        view[:] = self._data


class Part(Held):
    """Some bytes of a held block; by sendfile where the whole one can go so."""

    def __init__(self, whole: Held, start: int, stop: int) -> None:
        self.size = stop - start
        self._whole = whole
        self._start, self._stop = start, stop

    def read_into(self, view: memoryview) -> None:
        """Reads the whole block, for that is what a hash covers, and copies the part."""
        data = bytearray(self._whole.size)
        with memoryview(data) as all_of_it:
            self._whole.read_into(all_of_it)
            view[:] = all_of_it[self._start : self._stop]

    def confirm(self) -> bool:
        """Looks whether the whole block is there."""
        return self._whole.confirm()

    def open_span(self) -> Span | None:
        """Opens the file of the whole block, at the part."""
        span = self._whole.open_span()
        return None if span is None else span._replace(offset=span.offset + self._start)


class Reshaped(Held):
    """A stretch of a block in another form, made again when it is sent: a reader that is slow holds no memory."""

    def __init__(self, make: Callable[[], bytes], start: int, stop: int) -> None:
        self.size = stop - start
        self._make = make
        self._start = start

    def read_into(self, view: memoryview) -> None:
        """Makes it."""
        view[:] = self._make()[self._start : self._start + self.size]


def absent(cid: PublicCID) -> BlockNotFound | CIDError:
    """Says that a block is not here; of one whose hash nothing is kept by, that: nobody is to be asked for it."""
    try:
        cid.block()
    except CIDError as problem:
        return problem
    return BlockNotFound(f"block {cid} is not here")


@runtime_checkable
class ReadsMany(Protocol):
    """A source that reads small blocks many at a time, which takes a quarter of the time. Optional. From any thread."""

    def small_blocks(self, cids: Sequence[CID]) -> Mapping[CID, Block]:
        """Gives those that it has, verified. Raises IntegrityError, StoreError."""


class Blocks:
    """The blocks of one source. Any thread."""

    def __init__(self, source: BlockSource, reads_max: int | None = None) -> None:
        """``reads_max``: nodes that may be read in all, for answers that are not as long as what they read."""
        self._source = source
        self._left = reads_max

    @property
    def wire_bytes(self) -> int:
        """What came from others for it."""
        return 0

    def held(self, cids: Sequence[PublicCID]) -> list[Held | None]:
        """Looks up a batch, under each codec that names the same bytes. None for what is not here."""
        found: list[Held | None] = [None] * len(cids)
        names: list[tuple[int, CID]] = []
        for at, cid in enumerate(cids):
            inline = cid.inline
            if inline is not None:
                found[at] = Inline(inline)
                continue
            try:
                names.append((at, cid.block()))
            except CIDError:  # a hash that nothing here is stored by
                continue
        lacking = []
        for (at, name), block in zip(names, self._source.find([name for _, name in names]), strict=True):
            if block is None:
                lacking.append((at, name))
            found[at] = block
        if lacking:
            twins = [
                (at, CID.from_digest(codec, name.digest)) for at, name in lacking for codec in CODECS if codec != name.codec
            ]
            for (at, _), block in zip(twins, self._source.find([twin for _, twin in twins]), strict=True):
                found[at] = found[at] or block
        return found

    def soon(self, cids: Sequence[PublicCID]) -> None:
        """Hears which blocks will soon be read as nodes. Does nothing here: they are at hand, or nowhere."""

    def cancel(self) -> None:
        """Ends what somebody waits for; to be called on the loop. Nobody waits for anything here."""

    def one(self, cid: PublicCID) -> Held:
        """Looks up one. Raises BlockNotFound, CIDError for a hash that nothing is kept by."""
        held = self.held([cid])[0]
        if held is None:
            raise absent(cid)
        return held

    def node(self, cid: PublicCID) -> bytes:
        """Reads and verifies a block to be decoded. Raises what `one` does, LimitExceeded, IntegrityError, LocalError."""
        inline = cid.inline
        if inline is not None:
            return inline
        if self._left is not None:
            if not self._left:
                raise LimitExceeded("too many blocks would have to be read for this answer")
            self._left -= 1
        return self.read(cid, self.one(cid))

    def read_many(self, found: Sequence[tuple[PublicCID, Held]]) -> dict[PublicCID, bytes]:
        """Reads and verifies what was looked up, all of it into memory; what cannot be read is left out."""
        inline = [(cid, cid.inline) for cid, _ in found]
        read = {cid: data for cid, data in inline if data is not None}
        if isinstance(self._source, ReadsMany):
            names = {cid.block(): cid for cid, _ in found if cid not in read}
            with suppress(WherryError):  # one of them is damaged: each is read by itself
                read |= {names[name]: block.data for name, block in self._source.small_blocks(list(names)).items()}
        for cid, held in found:
            if cid not in read:
                with suppress(WherryError):
                    read[cid] = self.read(cid, held)
        return read

    def read(self, cid: PublicCID, held: Held) -> bytes:
        """Reads and verifies what was looked up. Raises LimitExceeded, IntegrityError, SourceChanged, LocalError."""
        if held.size > PB_BYTES_MAX:
            raise LimitExceeded(f"block {cid} has {held.size} bytes, at most {PB_BYTES_MAX} are decoded")
        data = bytearray(held.size)
        with memoryview(data) as view:
            held.read_into(view)
        verify(cid.block(), data, origin="this machine")
        return bytes(data)
