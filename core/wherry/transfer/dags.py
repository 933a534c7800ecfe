"""What `wherry dag` does with blocks: follows a path through every codec, counts what is below (specs/0038 §5). Synchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry import ipld
from wherry.cid import DAG_PB
from wherry.errors import LimitExceeded, NotFound, UsageError, WherryError
from wherry.gateway.order import Found, Walk, resolve
from wherry.gateway.request import CarWish
from wherry.limits import GATEWAY_PATH_PARTS_MAX
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.dagcbor import Value
    from wherry.gateway.blocks import Blocks

_FORM: Final = ("Data", "Links")  # keys of a dag-pb node's logical form


class Reached(NamedTuple):
    """Where a path ended."""

    cid: PublicCID  # the block
    rest: tuple[str, ...]  # the path inside of that block


def reach(blocks: Blocks, root: PublicCID, parts: Sequence[str]) -> Reached:
    """Follows a path. In dag-pb a part is the name of an entry; where there is none of that name, a key of the logical form.

    Raises NotFound, LimitExceeded for a path of too many parts, and what reading and decoding raise.
    """
    if len(parts) > GATEWAY_PATH_PARTS_MAX:
        raise LimitExceeded(f"a path of {len(parts)} parts, at most {GATEWAY_PATH_PARTS_MAX} are followed")
    cid, left = root, list(parts)
    while left:
        if cid.codec == DAG_PB:
            try:
                cid, left = resolve(blocks, cid, left[:1]).cid, left[1:]
                continue
            except WherryError:
                if left[0] not in _FORM:
                    raise
        elif cid.codec not in ipld.LINKED:
            raise NotFound(f"block {cid} has no path {left[0]!r} in it")
        whole = ipld.read_block(cid, blocks.node(cid))
        try:
            value, used = ipld.within(whole, left, cid)
        except NotFound as problem:
            if not isinstance(whole, dict) or "wherry" not in whole:
                raise
            raise NotFound(problem.message, hint="it is a dataset: `wherry ls`, `cat` and `get` know its paths") from problem
        if not isinstance(value, PublicCID):
            return Reached(cid, tuple(left))
        cid, left = value, left[used:]
    return Reached(cid, ())


def value_at(blocks: Blocks, reached: Reached) -> Value:
    """Reads the value where a path ended. Raises what reading and decoding raise."""
    value, _ = ipld.within(ipld.read_block(reached.cid, blocks.node(reached.cid)), reached.rest, reached.cid)
    return value


def written(blocks: Blocks, reached: Reached, codec: str) -> bytes:
    """Gives what a path led to as a block of ``codec``; raw: the block as it is, or bytes inside of one.

    Raises what reading does, and DataError for a value that has no form in it.
    """
    if codec not in ipld.CODECS or codec == "dag-pb":
        raise UsageError(f"no output codec {codec!r}", hint="dag-json, dag-cbor or raw")
    if codec == "raw" and not reached.rest:
        return blocks.node(reached.cid)
    return ipld.write(ipld.CODECS[codec], value_at(blocks, reached))


class Counting:
    """Counts the blocks of a DAG. ``run`` blocks its thread; ``cancel`` may be called from any other."""

    def __init__(self, blocks: Blocks, root: PublicCID) -> None:
        self._blocks = blocks
        self._root = root
        self._cancelled = False
        self.blocks = 0
        self.bytes = 0

    def cancel(self) -> None:
        """Ends ``run`` soon, with InterruptedError."""
        self._cancelled = True

    def run(self) -> None:
        """Walks over all of it, each block once. Raises BlockNotFound for what is nowhere, and what decoding raises."""
        for sent in Walk(self._blocks, CarWish()).blocks(Found((), self._root)):
            if self._cancelled:
                raise InterruptedError
            self.blocks += 1
            self.bytes += len(sent.data) if sent.held is None else sent.held.size
