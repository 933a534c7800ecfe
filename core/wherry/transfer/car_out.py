"""`export`: a DAG as a CAR, of what is here and at sources, in the order of a gateway (specs/0032 §4). Synchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.block import verify
from wherry.car import header, section_head
from wherry.cid import DAG_CBOR
from wherry.errors import LimitExceeded, NotFound
from wherry.gateway.files import look
from wherry.gateway.order import Found, Walk, resolve
from wherry.gateway.request import CarWish
from wherry.limits import LEAF_BYTES_MAX, PB_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.gateway.blocks import Blocks
    from wherry.publiccid import PublicCID

SCOPES: Final = ("all", "entity", "block")


class CarExport:
    """One run. ``run`` blocks its thread; ``cancel`` may be called from any other."""

    def __init__(self, blocks: Blocks, root: PublicCID, parts: Sequence[str] = (), *, scope: str = "all") -> None:
        """``parts`` lead from ``root`` to what is exported; the blocks on the way are there too, as proof.

        Of an entry of a dataset of wherry's own they are not: no other tool finds a way through them. It is the root then.
        """
        self._source = blocks
        self.root = root  # of the CAR
        self._parts = parts
        self._scope = scope
        self._cancelled = False
        self.blocks = 0
        self.bytes = 0  # of the CAR
        self.large = 0  # blocks of more bytes than other tools read

    def cancel(self) -> None:
        """Ends ``run`` soon, with InterruptedError."""
        self._cancelled = True

    def run(self, write: Callable[[bytes | memoryview], object]) -> None:
        """Writes the CAR. Every block is read, and hashed, before it is written.

        Raises CIDError for a block of a hash that nothing is kept by, BlockNotFound for what is not here, NotFound for a path
        that leads nowhere, what reading raises, and what ``write`` raises.
        """
        self.root.block()  # of one that can never be here it is not said that somebody may have it
        found = self._found()
        begin = header([self.root])
        self._source.one(found.cid).confirm()  # what is not here is said before anything is written
        buffer = memoryview(bytearray(LEAF_BYTES_MAX))
        for cid, held, data in Walk(self._source, CarWish(scope=self._scope)).blocks(found):
            if self._cancelled:
                raise InterruptedError
            view: bytes | memoryview = data
            if held is not None:
                if held.size > LEAF_BYTES_MAX:
                    raise LimitExceeded(f"block {cid} has {held.size} bytes, at most {LEAF_BYTES_MAX} are written")
                view = buffer[: held.size]
                held.read_into(view)
                verify(cid.block(), view, origin="this machine")
            self._write(write, begin + section_head(cid, len(view)))
            begin = b""
            self._write(write, view)
            self.blocks += 1
            self.large += len(view) > PB_BYTES_MAX
        if begin:  # the root is in its name: there is no block
            self._write(write, begin)

    def _found(self) -> Found:
        if self._parts and self.root.codec == DAG_CBOR:
            thing = look(self._source, self.root, self._parts)
            if thing.entry is not None and not thing.roots:  # all of the way is wherry's own
                if thing.kind == "link":
                    raise NotFound(f"{'/'.join(self._parts)!r} is a symbolic link, which is no block of its own")
                self.root = thing.cid
                return Found((), thing.cid)
        return resolve(self._source, self.root, self._parts)

    def _write(self, write: Callable[[bytes | memoryview], object], data: bytes | memoryview) -> None:
        write(data)
        self.bytes += len(data)
