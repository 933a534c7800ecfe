"""``static``: the addresses that the user wrote down, whatever is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.locator import Locator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.cid import CID


class Static(Locator):
    """Gives the same addresses for every CID."""

    reach = "named"

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(dict.fromkeys(addresses))

    async def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """See `Locator.locate`."""
        del cid
        for address in self._addresses:
            yield address

    def peers(self) -> Sequence[str]:
        """See `SupportsPeers.peers`."""
        return self._addresses
