"""The contract of an exchange: what passes between core and a transport whose connections carry blocks both ways (specs/0025).

Written for implementers. A transport of this kind speaks with a peer: each side may ask the other, tells what it has while it
downloads, and is told whom else to ask. It knows how messages travel. Core knows what they mean: whom to serve next, whom to
choke, what to say that this node has.

    transport              core
    PeerLink      <----    tells the peer: have, peers, choke; says which request is answered now
    Peer          ---->    what the peer said: follows, has, peers, asked, cancelled; what became of answers

Everything here is called on the thread of one event loop, returns at once, and raises nothing but what is written. None of
it is trusted with bytes: blocks travel through `Channel.fetch` and `BlockSource`, and are verified as any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import BlockSource, Channel
    from wherry.cid import CID
    from wherry.stretches import Stretches


class HaveMap(NamedTuple):
    """What a node has of one dataset, whose files, in the order of the walk, are seen as one stretch of bytes."""

    spans: Stretches  # must not be changed by who gets it
    complete: bool = False  # it has everything, manifest included; then ``spans`` says nothing, unless it is choosy
    choosy: bool = False  # it has everything, and wants to be asked only for what begins within ``spans`` (super-seeding)


class PeerInfo(NamedTuple):
    """Who is at the other end of a connection."""

    scheme: str  # of the transport
    id: str  # of its key, proven in the handshake (specs/0004 §6); "" where nothing is proven
    address: str  # where it can be dialled, as it says or as it was dialled; "": nowhere that it says
    ip: str  # at the other end of the connection, as text; "" for a Unix socket
    incoming: bool  # it dialled us


class PeerLink(ABC):
    """The transport's side of one connection: core's way to the peer."""

    info: PeerInfo
    channel: Channel  # asks the peer; it is open as long as the connection

    @abstractmethod
    def follow(self, root: CID) -> None:
        """Asks the peer to tell what it has of the dataset ``root``, now and as it changes. Its answers go to `Peer.has`."""

    @abstractmethod
    def unfollow(self, root: CID) -> None:
        """Takes `follow` back."""

    @abstractmethod
    def tell_have(self, root: CID, have: HaveMap | None, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """Tells what this node has of ``root``: all of ``have``, or, where ``gained`` is given, only what is new in it.

        None: that this node does not say what it has of it. It may be asked all the same (`Peer.has_nothing`).
        """

    @abstractmethod
    def tell_peers(self, addresses: Sequence[str]) -> None:
        """Tells of other peers of the datasets that this one follows (peer exchange)."""

    @abstractmethod
    def answer(self, request: int) -> None:
        """Has the request that `Peer.asked` brought answered now. `Peer.answered` follows, whatever comes of it."""

    @abstractmethod
    def choke(self, *, on: bool) -> None:
        """Tells the peer that its requests are not answered until further notice, or that they are again.

        Those that wait are dropped on both sides when it is choked: the peer asks again, or elsewhere.
        """

    @abstractmethod
    def close(self, reason: str) -> None:
        """Ends the connection; the peer is told ``reason``. `Peer.closed` follows."""


class Peer(ABC):
    """Core's side of one connection: the transport says here what the peer said."""

    @abstractmethod
    def follows(self, root: CID) -> None:
        """The peer wants to be told what this node has of ``root``."""

    @abstractmethod
    def unfollows(self, root: CID) -> None:
        """It does not any more."""

    @abstractmethod
    def has(self, root: CID, have: HaveMap, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """The peer says what it has of ``root``: all of it; in ``gained`` what is new, where it told that alone."""

    def size(self, root: CID) -> int:
        """Gives the bytes of ``root``; 0: not known. What the peer claims beyond them need not be kept."""
        del root
        return 0

    @abstractmethod
    def has_nothing(self, root: CID) -> None:
        """The peer does not know ``root``, or tells nobody what it has of it. It may be asked for blocks all the same."""

    @abstractmethod
    def peers(self, addresses: Sequence[str]) -> None:
        """The peer names others. Hints of a stranger: core bounds them and dials them within the address policy."""

    @abstractmethod
    def asked(self, request: int, cids: Sequence[CID]) -> None:
        """The peer asks for blocks; ``request`` is a number that is not in use. Core says when, by `PeerLink.answer`."""

    @abstractmethod
    def cancelled(self, request: int) -> None:
        """The peer does not want the answer any more. One that is being sent is cut short, or finished: `answered` follows."""

    @abstractmethod
    def answered(self, request: int, sent: int) -> None:
        """The answer to a request is on its way, or was given up; ``sent`` bytes of blocks went to the peer."""

    @abstractmethod
    def choked(self, *, on: bool) -> None:
        """The peer answers this node's requests no more until further notice, or does again."""

    @abstractmethod
    def closed(self, reason: str) -> None:
        """The connection is gone. Nothing else follows."""


class Exchange(ABC):
    """Given by core to a transport that can exchange: this node, as peers see it."""

    source: BlockSource  # what is answered from

    @abstractmethod
    def meet(self, link: PeerLink) -> Peer:
        """Takes a peer, after the handshake, whoever dialled. Raises PeerDenied or PeerBusy if it is not wanted."""

    @abstractmethod
    def addresses(self) -> Sequence[str]:
        """Where this node can be dialled, to be told in the handshake."""


@runtime_checkable
class SupportsLink(Protocol):
    """A channel that a transport with an exchange opened: it tells which connection it is. Optional."""

    @property
    def link(self) -> PeerLink | None:
        """The link that `Exchange.meet` was given; None while there is none."""


@runtime_checkable
class SupportsInfo(Protocol):
    """A channel without a link that tells who is at its other end. Optional; what is remembered of a peer is by that."""

    info: PeerInfo


@runtime_checkable
class SupportsExchange(Protocol):
    """A transport whose connections carry blocks both ways. Optional."""

    def exchange(self, exchange: Exchange) -> None:
        """Says for which node it dials and listens. Called once, before anything else, or never: then it only fetches,
        or only serves the source that `listen` is given, and nobody is choked.
        """
