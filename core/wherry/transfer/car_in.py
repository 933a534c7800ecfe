"""`import`: blocks of a CAR into the home (specs/0032 §3).

    read -> verify -> keep, a few MiB at a time, each batch on disk before the next -> walk from each root -> acknowledge it

What lies in a file of the user's, or is a node here already, is not kept twice. Blocks stay when a run is cut short, and the
same CAR goes on from them; a root is acknowledged only when nothing below it is missing. Synchronous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.block import Block
from wherry.car import CarReader, verified
from wherry.errors import BlockNotFound, CIDError, DecodeError, LimitExceeded, WherryError
from wherry.gateway.blocks import Blocks
from wherry.gateway.order import Found, Sent, Walk
from wherry.gateway.request import CarWish
from wherry.store.held import stays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.transport import Held
    from wherry.publiccid import PublicCID
    from wherry.store.store import Store

IMPORTED: Final = "import"  # how a root came
_BATCH_BYTES: Final = 4 << 20
_SKIPPED_MAX: Final = 20  # named; the others are counted


class _Kept(Blocks):
    """The blocks of this home. Of one that can never be here it is not said that it is missing."""

    def held(self, cids: Sequence[PublicCID]) -> list[Held | None]:
        """Looks up a batch. Raises CIDError for a hash that nothing is kept by."""
        for cid in cids:
            cid.block()
        return super().held(cids)


class ImportedRoot(NamedTuple):
    """A root that a CAR names, and what is missing below it."""

    cid: PublicCID
    missing: str  # "" if nothing is
    malformed: bool = False  # a block below is not as its codec has it, or beyond a bound: none that comes later mends that
    unsupported: bool = False  # nor this: a block below is named by a hash that nothing is kept by


class CarImport:
    """One run. ``run`` blocks its thread; ``cancel`` may be called from any other."""

    def __init__(self, store: Store, read: Callable[[int], bytes], *, origin: str, where: str) -> None:
        """``read`` gives at most so many bytes, b"" at the end. ``where`` the database lies, for the record of a root."""
        self._store = store
        self._read = read
        self._origin = origin
        self._where = where
        self._waiting: dict[bytes, Block] = {}
        self._waiting_bytes = 0
        self._walk = Walk(_Kept(store), CarWish())
        self._cancelled = False
        self.bytes_read = 0
        self.checking = False  # whether all is read, and it is looked whether anything is missing
        self.bytes_checked = 0  # of blocks below its roots
        self.blocks = 0
        self.new_blocks = 0
        self.new_bytes = 0
        self.skipped: list[str] = []  # blocks of a hash that nothing is kept by: the CID of each, and why
        self.more_skipped = 0

    def cancel(self) -> None:
        """Ends ``run`` soon, with InterruptedError; what was kept stays."""
        self._cancelled = True

    def run(self) -> list[ImportedRoot]:
        """Reads all of it; gives its roots, of which those that miss nothing are acknowledged.

        Raises DecodeError, LimitExceeded, IntegrityError for a block that is not what it is called, StoreError, and what
        ``read`` raises; InterruptedError if cancelled.
        """
        reader = CarReader(self._read, origin=self._origin)
        for cid, data in reader:
            if self._cancelled:
                raise InterruptedError
            self.bytes_read = reader.bytes_read
            self._take(cid, data)
        self.bytes_read = reader.bytes_read
        self._keep()
        self.checking = True
        return [self._root(root) for root in dict.fromkeys(reader.roots)]

    def _take(self, cid: PublicCID, data: bytes) -> None:
        self.blocks += 1
        if cid.inline is not None:
            verified(cid, data, origin=self._origin)
            return  # the name holds it
        try:
            name = cid.block()
            verified(cid, data, origin=self._origin)
        except CIDError as problem:
            if len(self.skipped) < _SKIPPED_MAX:
                self.skipped.append(problem.message.removeprefix("CID "))
            else:
                self.more_skipped += 1
            return
        if name not in self._waiting:
            self._waiting[name] = Block(name, data)
            self._waiting_bytes += len(data)
        if self._waiting_bytes >= _BATCH_BYTES:
            self._keep()

    def _keep(self) -> None:
        waiting, self._waiting, self._waiting_bytes = list(self._waiting.values()), {}, 0
        found = self._store.find([block.cid for block in waiting])
        fresh = [block for block, held in zip(waiting, found, strict=True) if not stays(held)]
        self.new_blocks += self._store.nodes.put_many(fresh)
        self.new_bytes += sum(len(block.data) for block in fresh)

    def _hold(self, sent: Sent) -> None:
        """Keeps a block below a root that is in the cache alone. Raises BlockNotFound for one whose file is gone."""
        held = sent.held if sent.held is not None else self._store.find([sent.cid.block()])[0]
        if held is None or stays(held):  # None: what was read stands under another codec, beside the nodes
            return
        data = bytearray(held.size)
        try:
            held.read_into(memoryview(data))
        except WherryError as problem:
            raise BlockNotFound(f"block {sent.cid} is not here any more") from problem
        self._store.nodes.put_many([Block(sent.cid.block(), bytes(data))])

    def _root(self, root: PublicCID) -> ImportedRoot:
        """Walks from a root to every block below it, but for those below roots before it that miss nothing."""
        try:
            for sent in self._walk.blocks(Found((), root)):
                if self._cancelled:
                    raise InterruptedError
                self._hold(sent)
                self.bytes_checked += len(sent.data) if sent.held is None else sent.held.size
            name = root.block()
        except WherryError as problem:  # a block is missing, or is no DAG: what it names is not known
            self._walk = Walk(_Kept(self._store), CarWish())  # that one was where something is missing
            malformed, unsupported = isinstance(problem, (DecodeError, LimitExceeded)), isinstance(problem, CIDError)
            return ImportedRoot(root, problem.message, malformed, unsupported)
        if root.inline is None:  # how many bytes the files have is not known: of a directory no have-map is told
            self._store.state.put_root(name, self._where, IMPORTED, {})
        return ImportedRoot(root, "")
