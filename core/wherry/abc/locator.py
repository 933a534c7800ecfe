"""The contract of a locator: from a CID to addresses of peers that may have it (specs/0006 §10, specs/0018).

Written for implementers. What a locator gives are hints: core bounds how many it takes, dials them within the address policy
for ``reach``, and verifies whatever comes. A locator that fails or is slow costs time, never the transfer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.cid import CID

Reach: TypeAlias = Literal["named", "lan", "public"]


class Locator(ABC):
    """Finds peers. Its methods run on one event loop and may be called concurrently."""

    # What its addresses may lead to: "named", anything (the user wrote them); "lan", private and link-local networks too;
    # "public", addresses of the public Internet only, because whoever answered must not send us into our own network.
    reach: Reach

    @abstractmethod
    def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """Gives addresses, such as ``http://host:4290``, the best first, as they become known; none is no error.

        Core stops listening after LOCATE_ADDRESSES_MAX of them or LOCATE_S seconds and closes the generator, which then
        frees what it holds. Raises PeerError, or LocalError for a fault of this machine; nothing else leaves it.
        """


@runtime_checkable
class SupportsAnnounce(Protocol):
    """A locator that can also tell others of this node. Optional."""

    def announce(self, addresses: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Tells others that this node serves at ``addresses``, until the context is left. Raises LocalError, PeerError."""
