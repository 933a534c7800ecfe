"""The contract of a locator: from a CID to addresses of peers that may have it (specs/0006 §10, specs/0018).

Written for implementers. What a locator gives are hints: core bounds how many it takes, dials them within the address policy
for ``reach``, and verifies whatever comes. A locator that fails or is slow costs time, never the transfer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from wherry.cid import CID

Reach: TypeAlias = Literal["named", "lan", "public"]


class Found(str):
    """An address with what else its locator was told of the peer. All of it is hearsay; for people and for choices."""

    __slots__ = ("complete", "fault", "peer", "protocols")

    peer: str  # its id; "" if nobody says
    protocols: tuple[str, ...]  # as the locator has them, such as "transport-wherry-tcp"
    complete: bool | None  # whether it has all of what is looked for; None: nobody says
    fault: str  # why it is no address that wherry can dial, and is only shown to people; "": it is one

    def __new__(
        cls, address: str, *, peer: str = "", protocols: Sequence[str] = (), complete: bool | None = None, fault: str = ""
    ) -> Self:
        """Says more of ``address``. With ``fault`` it may be any text, such as a multiaddr of another protocol."""
        made = str.__new__(cls, address)
        made.peer, made.protocols, made.complete, made.fault = peer, tuple(protocols), complete, fault
        return made


class Locator(ABC):
    """Finds peers. Its methods run on one event loop and may be called concurrently."""

    # What its addresses may lead to: "named", anything (the user wrote them); "lan", private and link-local networks too;
    # "public", addresses of the public Internet only, because whoever answered must not send us into our own network.
    reach: Reach
    # Seconds that a search needs, where LOCATE_S are too few; at most LOCATE_LONG_S count. None: they are enough.
    patience_s: float | None = None

    @abstractmethod
    def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """Gives addresses, such as ``http://host:4290``, the best first, as they become known; none is no error.

        Each may be a `Found`, which says more. Core stops listening after LOCATE_ADDRESSES_MAX of them, or after LOCATE_S or
        `patience_s` seconds, and closes the generator, which then frees what it holds. Raises PeerError, or LocalError for a
        fault of this machine; nothing else leaves it.
        """


@runtime_checkable
class SupportsAnnounce(Protocol):
    """A locator that can also tell others of this node. Optional."""

    def announce(self, addresses: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Tells others that this node serves at ``addresses``, until the context is left. Raises LocalError, PeerError."""


class Holding(NamedTuple):
    """A dataset that this node serves."""

    cid: CID  # its root; of an encrypted one, its header
    complete: bool = True  # False: a part of it, as while it is being fetched


Holdings: TypeAlias = Callable[[], Awaitable[Sequence[Holding]]]


@runtime_checkable
class SupportsProvide(Protocol):
    """A locator that can tell others what this node holds. Optional, and for those only whose user asked for it."""

    def provide(
        self, addresses: Sequence[str], holdings: Holdings, tell: Callable[[str], None]
    ) -> AbstractAsyncContextManager[None]:
        """Tells others that this node serves, at ``addresses``, what ``holdings`` gives, until the context is left.

        Entering does not wait for others; ``holdings`` is asked again from time to time, and what changed is told. What fails
        is tried again, and said once with ``tell``, to a person. In the end, what was told is taken back. ``addresses`` are
        as transports gave them; those that others cannot dial are left out. Raises LocalError, PeerError.
        """
