"""The way to one libp2p peer (specs/0035 §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM
from wherry.errors import PeerError, PeerUnreachable, WrongLength
from wherry_libp2p.frames import BLOCK_BYTES_MAX, WANTS_MAX, Kind, pack_wants
from wherry_libp2p.process import Request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.abc.exchange import PeerInfo
    from wherry.abc.transport import Lender, Want
    from wherry.access import Gate
    from wherry.cid import CID
    from wherry_libp2p.process import Process

_UNSIZED: Final = 16  # wants of unknown size at a time: what does not fit into a buffer would come in vain


class Libp2pChannel(Channel):
    """A way to one peer, through the process. Made by the transport."""

    def __init__(self, process: Process, number: int, peer: str, info: PeerInfo, gate: Gate) -> None:
        """``peer`` names it for people; ``gate`` is asked before each fetch, so that who is banned is left at once."""
        self._process, self._number, self._peer, self._gate = process, number, peer, gate
        self.info = info  # see `SupportsInfo`

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`. A block of more than 2 MiB travels by no Bitswap, and is missing."""
        if why := self._gate(self.info.ip, self.info.id):
            raise PeerUnreachable(f"{self._peer} {why}", peer=self._peer)
        large = [index for index, want in enumerate(wants) if want.size is not None and want.size > BLOCK_BYTES_MAX]
        unsized = [index for index, want in enumerate(wants) if want.size is None]
        left_out = {*large, *unsized[_UNSIZED:]}  # core asks again for those of unknown size
        asked = [index for index in range(len(wants)) if index not in left_out][:WANTS_MAX]
        if not asked:
            yield Arrival(missing=large)
            return
        buffer = await lender.lend()
        answer = _Answer(wants, asked, buffer.view)
        failure: PeerError | None = None
        try:
            body = pack_wants((wants[index].cid, wants[index].size) for index in asked)
            await self._process.ask(Kind.WANT, body, self._peer, index=self._number, request=Request(answer.place))
        except PeerError as problem:
            if not answer.blocks:
                buffer.release()
                raise
            failure = problem  # what came before it counts
        except BaseException:
            buffer.release()
            raise
        if answer.wrong is not None:
            buffer.release()
            raise WrongLength(f"{self._peer}: {answer.wrong}", block=answer.wrong.cid, peer=self._peer)
        yield Arrival(buffer, answer.blocks, large if failure is not None else [*large, *answer.missing()])
        if failure is not None:
            raise failure


class _Wrong(NamedTuple):
    """A block that came in another length than was asked for."""

    cid: CID
    length: int
    size: int

    def __str__(self) -> str:
        return f"block {self.cid} has {self.length} bytes, where {self.size} were asked for"


class _Answer:
    """Where the blocks of one fetch lie."""

    def __init__(self, wants: Sequence[Want], asked: list[int], view: memoryview) -> None:
        self._wants, self._asked, self._view = wants, asked, view
        self._open = set(range(len(asked)))
        self._left_out: set[int] = set()
        self._free = ROOM  # where what has no place of its own goes
        # Blocks of one file are laid where they follow each other, in whatever order they come.
        self._places: dict[int, int] = {}
        for at, index in enumerate(asked):
            if (size := wants[index].size) is not None:
                self._places[at] = self._free
                self._free += size
        self.blocks: list[Laid] = []
        self.wrong: _Wrong | None = None

    def place(self, at: int, length: int) -> memoryview | None:
        """Gives where the block of a want goes; None if it is of no use."""
        if at not in self._open or self.wrong is not None:
            return None
        self._open.discard(at)
        cid, size, *_ = self._wants[self._asked[at]]
        if size is not None and size != length:
            self.wrong = _Wrong(cid, length, size)
            return None
        start = self._places.get(at, self._free)
        if start + length > len(self._view):
            self._left_out.add(at)
            return None
        if size is None:
            self._free += length
        self.blocks.append(Laid(self._asked[at], start, start + length))
        return self._view[start : start + length]

    def missing(self) -> list[int]:
        """Gives the wants that the peer does not have, once it has answered."""
        return [self._asked[at] for at in sorted(self._open)]
