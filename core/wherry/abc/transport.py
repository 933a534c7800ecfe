"""The contract of a transport: how blocks travel between two machines (specs/0006 §3).

Written for implementers. A transport moves bytes and says where they lie; it never decides whether they are right. Core
hashes every block before it counts, checks every name and size, and keeps the limits (D4).

Colour: ``connect``, ``listen`` and ``fetch`` are async and live on one event loop. A transport may move its bulk bytes in
threads of its own (D6). `BlockSource` and `Lender.settle` are synchronous and may be called from any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.buffers import Buffer
    from wherry.cid import CID
    from wherry.errors import WherryError
    from wherry.flow import Flow


class FilePart(NamedTuple):
    """What a wanted block is in a file of UnixFS (specs/0031), for sources that give a stretch of such a file by its CID."""

    file: CID  # its root
    start: int  # the first of its bytes that lie in the block, or under it
    stop: int  # the end of them


class Want(NamedTuple):
    """One block that core asks a source for, and where its bytes lie in the dataset (D5)."""

    cid: CID
    size: int | None = None  # bytes; None: not known, at most LEAF_BYTES_MAX
    path: str = ""  # the file inside the dataset, "/"-separated; "" for a manifest node or a bare file
    offset: int = 0  # of the block in that file
    part: FilePart | None = None  # where the block is a leaf, and not all, of a UnixFS file


class Laid(NamedTuple):
    """Where one wanted block lies in a lent buffer: ``buffer.view[start:stop]``."""

    want: int  # index into the wants of this fetch
    start: int
    stop: int


@dataclass(slots=True)
class Arrival:
    """What came back for some of the wants: blocks laid in one lent buffer, and wants that the source does not have.

    Blocks of one file that follow each other should lie back to back, beginning at ROOM: they are then
    written in one piece.
    """

    buffer: Buffer | None = None
    blocks: Sequence[Laid] = ()
    missing: Sequence[int] = ()
    # Filled by `Lender.settle`:
    settled: bool = False
    rejected: list[tuple[int, WherryError]] = field(default_factory=list)  # blocks that did not verify
    failure: BaseException | None = None  # a fault of this machine, raised again by core


class Lender(ABC):
    """Given by core to `Channel.fetch`: lends buffers, and takes them back filled."""

    @abstractmethod
    async def lend(self) -> Buffer:
        """Waits for a buffer within the process's budget. Take one for each Arrival, before its bytes exist."""

    @abstractmethod
    def settle(self, arrival: Arrival) -> None:
        """Verifies and writes the blocks of ``arrival`` on the calling thread. Never raises; call at most once.

        Optional: a transport that received in a thread of its own calls it there and saves a hop. Core settles what
        arrives unsettled.
        """

    @property
    def awaited(self) -> bool:
        """Whether all buffers are lent and others wait for one. Any thread.

        A transport gives a peer up sooner then (after STARVED_S) that fell silent while it has a buffer: as many silent
        peers as there are buffers would stop all others.
        """
        return False


class Channel(ABC):
    """A way to one source. Safe for concurrent fetches from tasks of one loop."""

    __slots__ = ()  # for those that have thousands of channels

    parallel: ClassVar[int] = 4  # fetches that core keeps under way at a time
    manifests: ClassVar[bool] = True  # False: it holds plain files, and can have no manifest node

    @abstractmethod
    def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """Yields the wanted blocks, in any order, each want at most once; a want that is absent is ``missing``.

        Core asks for at most BATCH_WANTS_MAX wants and BATCH_BYTES_MAX of known sizes at a time, so one buffer can take the
        whole answer. Where sizes are not known, as many as fit into a buffer, and one at least, must be answered; the
        others may be left out, and core asks again. Once yielded, an Arrival's buffer belongs to core; before, to the
        transport, which releases it when it fails. Where an answer ends before its end, what lies whole should be yielded
        before the error is raised: else connections that always end too soon bring nothing, however often they are asked.

        Must not yield a block of another length than its want's size, nor buffer more than that: a peer that sends more
        is a PeerProtocolError. Ends within the transport's time-outs whatever the peer does.

        Raises: PeerError and its kinds, naming the peer. Nothing else leaves it (no OSError, no library error).
        On cancellation it stops, closes what it holds, waits for its threads, and raises CancelledError.
        """


class Transport(ABC):
    """Makes channels to addresses of its schemes, and listens on them."""

    schemes: ClassVar[frozenset[str]]  # such as {"http", "https"}
    # Whether it asks ``Env.dial`` at each connect. One that does not is never given an address that a locator found, unless
    # the user wrote it: who answers a question for peers must not choose what of this machine or network is opened.
    obeys_dial: ClassVar[bool] = False

    @abstractmethod
    def connect(self, address: str) -> AbstractAsyncContextManager[Channel]:
        """Opens a channel; entering it proves that a source is there.

        Raises on entry: PeerUnreachable, PeerTimeout, PeerDenied, PeerProtocolError, and UsageError for an address that
        is malformed. What it opens is closed when the context is left.
        """


class Listening(str):
    """An address that is listened on, with what is spoken there besides the transport's own exchange."""

    __slots__ = ("protocols",)

    protocols: tuple[str, ...]  # as Delegated Routing V1 names them, such as "transport-ipfs-gateway-http"

    def __new__(cls, address: str, *, protocols: Sequence[str] = ()) -> Self:
        """Says more of ``address``."""
        made = str.__new__(cls, address)
        made.protocols = tuple(protocols)
        return made


class SupportsListen(Protocol):
    """A transport that can serve. Optional."""

    def listen(self, address: str, source: BlockSource) -> AbstractAsyncContextManager[str]:
        """Serves ``source``; yields an address that others can dial (port 0 replaced by the one found).

        It may be a `Listening`, which says more: locators pass that on to those who look for it.

        Raises on entry: UsageError for a malformed or refused address, LocalError if it cannot be bound.
        Leaving the context stops accepting and ends what is under way within 10 s.
        """


class Span(NamedTuple):
    """A stretch of an open regular file, checked to be unchanged when it was opened; close ``fd`` after use."""

    fd: int
    offset: int


class Held(ABC):
    """A block that this node holds, found and not yet read. Synchronous, for worker threads."""

    size: int  # bytes
    flow: Flow | None = None  # of the transfer that gives it on, to which it is charged; None: what the node gives besides

    @abstractmethod
    def read_into(self, view: memoryview) -> None:
        """Fills ``view`` (``size`` bytes) with the block. Raises SourceChanged or LocalError if it is no longer there."""

    def confirm(self) -> bool:
        """Looks whether the file that it lies in is there and unchanged. Reads no bytes.

        Gives True if so, and False where it lies in none and so is where it was found. Raises SourceChanged or LocalError.
        """
        return False

    def follows(self, other: Held) -> bool:
        """Tells whether this block lies directly behind ``other`` in one file, so that both can be sent as one span."""
        del other
        return False

    def open_span(self) -> Span | None:
        """Opens the file that the block lies in for sendfile; None where it has none, or must be hashed first.

        Raises SourceChanged or LocalError if the file is gone or changed since it was recorded.
        """
        return None


@runtime_checkable
class SupportsCoded(Protocol):
    """A held block that may lie here coded already, so that it can be sent as it lies. Optional."""

    def coded(self, accepted: Collection[str]) -> tuple[str, bytes] | None:
        """Gives the name of its coding, one of ``accepted``, and its coded bytes, fewer than `Held.size`.

        None: it lies here plain, or by another coding, or is not right; `Held.read_into` then says which. Raises nothing else
        than WherryErrors. A transport passes it on only to a peer that said it decodes that coding.
        """


class BlockSource(ABC):
    """Given by core to `SupportsListen.listen`: what this node serves. Synchronous, thread-safe."""

    @abstractmethod
    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """Looks up a batch; None for a block that is not held. Reads indexes only, no file."""
