"""What of a link a transfer may use: asked by who is about to send or receive (specs/0026). This one asks nothing.

A transport that sends takes its leave here before the bytes go out, so that limits of the whole node, of a class, a transfer
and a peer all hold, and change while it runs. What is received is paced by core, before it is asked for.
"""

from __future__ import annotations

from typing import Final


class Flow:
    """One stretch of traffic without limits. Safe for threads; `up` and `down` are for one event loop."""

    limited: bool = False  # False, now and for the next moment: nothing need be asked. It may change at any time

    async def up(self, count: int) -> None:
        """Waits until ``count`` bytes may be sent. Cancelled, it takes none."""

    async def down(self, count: int) -> None:
        """Waits until ``count`` bytes may be asked for. Cancelled, it takes none."""

    def up_now(self, most: int) -> int:
        """Takes leave to send up to ``most`` bytes at once; gives how many, 0 if none may be sent now. Any thread."""
        return most

    def unused(self, count: int) -> None:
        """Gives back leave to send that was taken and not used. Any thread."""

    def of_peer(self, peer: str) -> Flow:
        """Gives the flow to one peer (an address or a peer id) within this one."""
        del peer
        return self


FREE: Final = Flow()
