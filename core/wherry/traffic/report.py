"""What the link does at a moment, for `wherry status`, `limit` and `transfers`. Plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.flow import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """One direction of one level. Rates in bytes a second."""

    limit: float | None  # its own; None: none. Those above it hold as well
    rate: float  # over the last two seconds or so
    bytes: int  # since it was made
    waiting: int  # requests that wait for leave now


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReport:
    """A level with both directions: the node (its name is empty), a class, or a peer."""

    name: str
    up: Motion
    down: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport(LevelReport):
    """A transfer: its class, how long it waited so far in seconds, for which reason, each direction apart; its peers."""

    klass: str
    waited_up: Mapping[Reason, float]
    waited_down: Mapping[Reason, float]
    peers: tuple[LevelReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """The whole link."""

    node: LevelReport
    classes: tuple[LevelReport, ...]  # the most urgent first
    transfers: tuple[TransferReport, ...]  # as they were made

    def to_json(self) -> dict[str, object]:
        """Gives the report as JSON."""
        return asdict(self)
