"""What a running get can give on to others: blocks that it has written into its part (specs/0025 §4).

Every piece was verified when it was written, and the part is locked, so it is sent as files are: by sendfile, without a second
look; whoever receives it verifies it. Where a piece lies is remembered for the last ones only, for a dataset may have many
millions; older ones are found in the index, under the path that they will have.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import BlockSource, Held, Span
from wherry.cid import DAG_PB, RAW
from wherry.errors import SourceChanged, local_error
from wherry.fileio import read_exactly
from wherry.unixfs.wrap import Wrapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.block import Block
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.store.index import Index
    from wherry.transfer.sink import Piece, Sealer
    from wherry.transfer.target import Target

RECENT_MAX: Final = 32_768  # pieces that are remembered: 10 MB, and 32 GiB of leaves of 1 MiB


class _Lies(NamedTuple):
    """Where the plain bytes of a leaf lie in the part."""

    path: str  # of its file in the dataset
    offset: int
    size: int
    key: bytes = b""  # of a sealed leaf
    final: bool = False  # whether its file ends with it


class PartSource(BlockSource):
    """The part of one get, as others see it. Safe for threads."""

    def __init__(
        self,
        root: CID,
        target: Target,
        index: Index,
        sealing: Sealer | None,
        node: Callable[[CID], Block | None],
        *,
        flow: Flow | None = None,
    ) -> None:
        """``sealing`` makes sealed leaves again; ``node`` gives manifest nodes that are fetched and not yet in the store.

        ``flow`` is the get's: what it gives on is charged to it.
        """
        self._flow = flow
        self.root = root
        self._target = target
        self._index = index
        self._sealing = sealing
        self._node = node
        self._recent: OrderedDict[bytes, _Lies] = OrderedDict()
        self._lock = threading.Lock()

    def gained(self, runs: Sequence[Sequence[Piece]]) -> None:
        """Takes pieces that were written."""
        with self._lock:
            for pieces in runs:
                for piece in pieces:
                    self._recent[piece.cid.digest] = _Lies(piece.slot.path, piece.offset, piece.size, piece.key, piece.final)
            while len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """See `BlockSource.find`."""
        found = self._find(cids)
        for held in found:
            if held is not None:
                held.flow = self._flow
        return found

    def _find(self, cids: Sequence[CID]) -> list[Held | None]:
        if self._sealing is not None and self._sealing.scheme.coding:
            return [self._unsaved(cid) for cid in cids]  # sealed leaves that were coded first cannot be made again
        with self._lock:
            found = {cid.digest: self._recent[cid.digest] for cid in cids if cid.digest in self._recent}
        kinds = (RAW, DAG_PB) if isinstance(self._sealing, Wrapping) else (RAW,)
        older = [cid.digest for cid in cids if cid.codec in kinds and cid.digest not in found]
        if older:
            found |= self._from_index(older)
        return [
            _HeldPart(cid, found[cid.digest], self._target, self._sealing) if cid.digest in found else self._unsaved(cid)
            for cid in cids
        ]

    def _unsaved(self, cid: CID) -> Held | None:
        block = self._node(cid) if cid.codec != RAW else None
        return _HeldBlock(block) if block is not None else None

    def _from_index(self, digests: Sequence[bytes]) -> dict[bytes, _Lies]:
        whole, below = self._target.path, self._target.path + "/"

        def inside(path: str) -> str | None:
            if path == whole:
                return ""
            return path.removeprefix(below) if path.startswith(below) else None

        found: dict[bytes, _Lies] = {}
        if self._sealing is None or isinstance(self._sealing, Wrapping):
            for digest, places in self._index.locate(digests).items():
                for place in places:
                    path = inside(place.path)
                    if path is not None:
                        found[digest] = _Lies(path, place.offset, place.size)
                        break
        if self._sealing is None:
            return found
        for digest, sealed in self._index.locate_sealed(digests).items():
            path, place = inside(sealed.place.path), sealed.place
            if path is not None and place.signature.size:  # a file that is not whole yet does not tell where it ends
                final = place.offset + place.size == place.signature.size
                found[digest] = _Lies(path, place.offset, place.size, sealed.key, final)
        return found


class _HeldBlock(Held):
    """A manifest node that is in memory."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.size = len(block.data)

    def read_into(self, view: memoryview) -> None:
        """See `Held.read_into`."""
        view[:] = self._block.data


class _HeldPart(Held):
    """A leaf in a part."""

    def __init__(self, cid: CID, lies: _Lies, target: Target, sealing: Sealer | None) -> None:
        self._cid = cid
        self._lies = lies
        self._target = target
        self._sealing = sealing if lies.key else None
        self.size = lies.size if self._sealing is None else self._sealing.wire_size(lies.size, lies.key) or 0

    def read_into(self, view: memoryview) -> None:
        """See `Held.read_into`. A sealed leaf is made again, and leaves only if it is what it was."""
        lies = self._lies
        plain = view[: lies.size]
        fd = self._open()
        try:
            read_exactly(fd, plain, lies.offset, lies.path)
        finally:
            os.close(fd)
        if self._sealing is not None:
            sealed = self._sealing.seal_leaf(plain, lies.key, lies.offset, final=lies.final)
            if hashlib.sha256(sealed).digest() != self._cid.digest:
                raise SourceChanged(f"{lies.path!r} no longer holds the block {self._cid}")
            view[:] = sealed

    def follows(self, other: Held) -> bool:
        """See `Held.follows`."""
        if not isinstance(other, _HeldPart) or self._sealing is not None:
            return False
        mine, before = self._lies, other._lies
        return mine.path == before.path and mine.offset == before.offset + before.size and self._target is other._target

    def open_span(self) -> Span | None:
        """See `Held.open_span`."""
        return None if self._sealing is not None else Span(self._open(), self._lies.offset)

    def _open(self) -> int:
        try:
            return self._target.tree.open(self._target.inside(self._lies.path), os.O_RDONLY | os.O_NONBLOCK)
        except OSError as problem:
            raise local_error(problem, "cannot read", self._lies.path or self._target.path) from problem
