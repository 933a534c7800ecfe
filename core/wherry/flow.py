"""What of a link a transfer may use: asked by who is about to send or receive (specs/0026 §5). This one asks nothing.

A transport that sends takes its leave here before the bytes go out, so that limits of the whole node, of a class, a transfer
and a peer all hold, and change while it runs. What is received is paced by core, before it is asked for.

How a transport sends, once for each peer ``flow = env.flow.of_peer(HOST)``, and for each piece of at most ``flow.up_piece``:

    if not flow.limited:        send all there is; `moved(up=N)` once an answer
    on the event loop:          await flow.up(n), then send n bytes
    in a worker thread:         n = flow.up_now(most); send up to n; 0: leave the thread, `await flow.up(n)` on the loop
    sent less than it took:     flow.unused(rest)
    knows the round trip:       flow.sampled(seconds, lost=retransmitted): background classes back off by it

What belongs to a transfer of this node is charged to that one instead: where `Held.flow` of a block that is sent is not None,
its ``of_peer(HOST)`` takes the place of ``env.flow``'s.

Leave is taken for bytes on the wire, as far as the transport counts them, and never for messages without payload: those few
bytes (wants, haves, chokes) must not wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["up", "down"]
Reason = Literal["limited", "class"]  # a limit of its own way; a link that other classes have a share of

NORMAL: Final = 2  # the place of the class `normal`

_ALL: Final = 1 << 30  # as good a piece as any where nothing is limited


class Flow:
    """One stretch of traffic without limits. Safe for threads; `up` and `down` are for one event loop."""

    __slots__ = ()

    @property
    def limited(self) -> bool:
        """Tells whether leave must be asked for. False, now and for the next moment: nothing need be asked.

        It may change at any time, so it is looked at before each piece.
        """
        return False

    @property
    def urgency(self) -> int:
        """Tells the place of its class among the others: 0 is the most urgent one. It may change at any time."""
        return NORMAL

    @property
    def up_piece(self) -> int:
        """How many bytes are well asked for at once: 25 ms of the narrowest limit, from 2 KiB to 2 MiB."""
        return _ALL

    @property
    def down_piece(self) -> int:
        """How large a request for blocks should be at most, so that what it brings is no burst: 200 ms of the narrowest limit.

        That is shared with what other transfers wait for: a thousand must not hold a buffer each for what comes in a minute.
        It may be less than a leaf; a leaf is asked for whole all the same.
        """
        return _ALL

    async def up(self, count: int) -> None:
        """Waits until ``count`` bytes may be sent. Cancelled, it takes none."""

    async def down(self, count: int) -> None:
        """Waits until ``count`` bytes may be asked for. Cancelled, it takes none."""

    def up_now(self, most: int) -> int:
        """Takes leave to send up to ``most`` bytes at once; gives how many, 0 if none may be sent now. Any thread.

        0 also while others wait for the same link: then `up` is the only way, where each has its turn.
        """
        return most

    def unused(self, count: int) -> None:
        """Gives back leave to send that was taken and not used. Any thread."""

    def moved(self, *, up: int = 0, down: int = 0) -> None:
        """Notes bytes for which no leave was taken since nothing was limited, so that reports are whole. Any thread."""

    def sampled(self, delay_s: float, *, lost: bool = False, way: Direction = "up") -> None:
        """Notes a round trip to the peer, and whether something was lost since the last one. Any thread; a few a second do.

        Where the class is a background one, the rate to this peer follows it (specs/0026 §4); elsewhere it is ignored.
        Samples of one kind only: the kernel's (``TCP_INFO``), or times of answers that are always of one size.
        """

    def waiting(self, way: Direction) -> Reason | None:
        """Tells why this flow, or any peer's within it, waits for leave at the moment; None: it does not."""
        del way
        return None

    def waited(self, way: Direction) -> Mapping[Reason, float]:
        """Tells how many seconds it waited so far, for which reason. Several that wait at a time count once."""
        del way
        return {}

    def of_peer(self, peer: str) -> Flow:
        """Gives the flow to one peer within this one. Ask again for each connection, and keep nothing longer than that.

        ``peer`` is whom a limit for each peer is to hold for: a proven peer id, or else a host without its port, since ports
        are had for nothing.
        """
        del peer
        return self


FREE: Final = Flow()
