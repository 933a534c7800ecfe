"""What is simulated: how many nodes, which links, and what goes wrong (specs/0030 §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import UsageError
from wherry.limits import WAIT_S
from wherry.units import MiB

if TYPE_CHECKING:
    from wherry.transfer.waiting import Order

BLOCK_BYTES: Final = 1 * MiB  # a leaf, and a job of a swarm
NODES_MAX: Final = 10_000  # each takes about a megabyte, and its events
BLOCKS_MAX: Final = 65_536
_LARGE: Final = 100  # nodes from which the clock is coarser
_JOBS_AHEAD: Final = 1024  # as `wherry.transfer.fetch` makes them


class Kill(NamedTuple):
    """A node that ends at a moment, as if its process were killed."""

    at_s: float
    node: int  # 0 is the origin
    back_s: float = 0.0  # after so long it is there again, with what it had; 0.0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. Rates in bytes a second, times in seconds, shares from 0.0 to 1.0."""

    nodes: int = 10  # that download
    size: int = 64 * MiB  # of the dataset
    rate: float = 12.5e6  # of each node's link, each way
    origin_rate: float = 12.5e6
    latency_s: float = 0.02  # one way between two nodes, on average
    loss: float = 0.0  # share of messages that have to be sent again
    churn: float = 0.0  # share of the nodes that leaves in each minute, and comes back
    liars: int = 0  # besides the nodes: they say that they have everything, and send wrong bytes
    freeloaders: int = 0  # of the nodes: they give nothing
    partition_s: float = 0.0  # for so long, a third into the ideal time, half of the nodes cannot reach the other half
    silent: bool = False  # whoever leaves or is cut off says nothing: its peers find out by the idle time-out
    kills: tuple[Kill, ...] = ()
    degree: int = 14  # peers that a node looks for
    followers: int = 32  # that the origin takes at a time (`SwarmOptions.followers`)
    order: Order = "rarest"
    arrivals_s: float = 1.0  # within which all nodes begin
    wait_s: float = WAIT_S  # for which a node waits for sources that are lost
    jobs_ahead: int = _JOBS_AHEAD
    shorten: int = 1  # only one part in so many of the dataset is there: a large run in little time
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises UsageError for what cannot be simulated."""
        if not 1 <= self.nodes <= NODES_MAX or not 0 <= self.liars <= NODES_MAX or not 0 <= self.freeloaders <= self.nodes:
            raise UsageError(f"a simulation has 1 to {NODES_MAX} nodes, of which the freeloaders are some")
        if not 1 <= self.blocks <= BLOCKS_MAX:
            raise UsageError(f"a simulated dataset has 1 to {BLOCKS_MAX} blocks of 1 MiB")
        if min(self.rate, self.origin_rate) < 1 or min(self.degree, self.jobs_ahead, self.shorten) < 1:
            raise UsageError("rates, and the peers that a node looks for, are at least 1")
        if not 0.0 <= self.loss < 1.0 or not 0.0 <= self.churn <= 1.0 or min(self.latency_s, self.partition_s) < 0.0:
            raise UsageError("loss and churn are shares from 0 to 1, and times are not negative")

    @property
    def blocks(self) -> int:
        """Of the dataset."""
        return -(-self.length // BLOCK_BYTES)

    @property
    def length(self) -> int:
        """Bytes of the dataset that are there."""
        return -(-self.size // self.shorten)

    @property
    def ideal_s(self) -> float:
        """What one transfer from the origin to one node takes, with nothing in its way."""
        return self.length / min(self.rate, self.origin_rate)

    @property
    def large(self) -> bool:
        """Whether the clock is coarser, so that a run ends."""
        return self.nodes > _LARGE

    @property
    def tick_s(self) -> float:
        """Between two calls of `Swarm.tick`."""
        return 0.5 if self.large else 0.1

    @property
    def look_s(self) -> float:
        """Between two looks of a node at all of its sources."""
        return 1.0 if self.large else 0.1

    @property
    def quiet_s(self) -> float:
        """After so long without a block a node asks whether there is hope."""
        return 5.0 if self.large else 1.0

    def span(self, block: int) -> tuple[int, int]:
        """Gives where a block lies in the dataset."""
        return block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, self.length)
