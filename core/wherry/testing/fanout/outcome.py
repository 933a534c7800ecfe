"""What a run came to: the completion curve, what the origin sent, fairness and waste (specs/0030 §4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.testing.fanout.plan import Plan
    from wherry.testing.fanout.world import World

SCHEMA: Final = "wherry/sim-fanout/1"
SHARES: Final = (1, 10, 25, 50, 75, 90, 95, 99, 100)  # of the nodes, in per cent: points of the completion curve


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one run. Virtual seconds; bytes."""

    plan: Plan
    curve: tuple[tuple[int, float], ...]  # per cent of the nodes, and when so many were complete
    complete: int
    errors: dict[str, int]  # how a get ended that did not complete -> how many
    ideal_s: float
    last_s: float  # when the last node was complete
    origin_bytes: int
    copies: float  # of the dataset, that the origin sent
    jain: float  # of the rates of those that give
    givers_s: float  # that a giver took on average
    freeloaders_s: float  # and a freeloader; 0.0: there is none
    twice_bytes: int  # came though they were there
    cut_bytes: int  # of answers that were cut short, or came to nobody
    wrong_bytes: int
    useful_bytes: int
    message_bytes: int  # of all messages, but for the bytes of blocks
    liars_found: int  # liars that somebody took a wrong block from, and banned
    stall_s: float  # the longest time in which a node got nothing
    events: int
    trace: str

    @property
    def waste(self) -> float:
        """Bytes that came twice or in vain, as a share of those that were of use."""
        return (self.twice_bytes + self.cut_bytes) / max(1, self.useful_bytes)

    def to_json(self) -> dict[str, Any]:
        """Gives the form of ``--json``."""
        found = asdict(self)
        plan = found.pop("plan")
        plan["kills"] = [list(kill) for kill in self.plan.kills]
        found["curve"] = [{"percent": percent, "seconds": round(seconds, 3)} for percent, seconds in self.curve]
        return {"schema": SCHEMA, "plan": plan, **found, "waste": self.waste, "times": self.last_s / self.ideal_s}


def jain(values: Sequence[float]) -> float:
    """Gives Jain's index of fairness: 1.0 where all have the same, 1/n where one has all (Jain, Chiu and Hawe, 1984)."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def measured(world: World) -> Outcome:
    """Takes the figures of a world that has come to its end."""
    plan = world.plan
    done = [(node, node.finished_at) for node in world.getters if node.finished_at is not None]
    times = sorted(at for _, at in done)
    # Time that a node was away is its own; what it took otherwise is what the swarm gave it.
    takes = {node: max(1e-9, at - node.began_at - node.away_s) for node, at in done}
    givers = [seconds for node, seconds in takes.items() if not node.freeloads]
    others = [seconds for node, seconds in takes.items() if node.freeloads]
    errors: dict[str, int] = {}
    for node in world.getters:
        if node.finished_at is None:
            kind = node.error or "hangs"
            errors[kind] = errors.get(kind, 0) + 1
    banned = {peer for node in world.getters for peer in node.banned}
    everybody = world.nodes
    return Outcome(
        plan=plan,
        curve=tuple((share, times[max(0, -(-len(times) * share // 100) - 1)]) for share in SHARES) if times else (),
        complete=len(done),
        errors=errors,
        ideal_s=plan.ideal_s,
        last_s=times[-1] if times else 0.0,
        origin_bytes=world.origin.sent,
        copies=world.origin.sent / plan.length,
        jain=jain([plan.length / seconds for seconds in givers]),
        givers_s=_mean(givers),
        freeloaders_s=_mean(others),
        twice_bytes=sum(node.twice for node in everybody),
        cut_bytes=sum(node.cut for node in everybody),
        wrong_bytes=sum(node.wrong for node in everybody),
        useful_bytes=sum(node.got for node in everybody),
        message_bytes=sum(node.told for node in everybody),
        liars_found=sum(liar.id in banned for liar in world.liars),
        stall_s=max((node.stall_s for node in world.getters), default=0.0),
        events=world.clock.events,
        trace=world.clock.trace,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
