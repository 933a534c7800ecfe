"""The limits of a running daemon: scopes of the protocol on one side, the node's `Traffic` on the other (specs/0027 §6.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wherry.daemon.record import CLASSES
from wherry.daemon.reports import LimitReport
from wherry.errors import UsageError
from wherry.traffic import Pair

if TYPE_CHECKING:
    from wherry.daemon.record import Asked
    from wherry.traffic import Traffic


class NodeLimits:
    """The limits of the node, its classes and its peers, and those of transfers that run. For the thread of the loop."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def set(self, scope: str, *, up: int | None = None, down: int | None = None) -> None:
        """Sets the limits of ``node``, ``class:NAME``, ``peer`` (each one) or ``peer:NAME``, in bytes a second, from now on.

        0 takes a limit away, None leaves it. Raises UsageError for another scope, or a rate too low to be one.
        """
        plan = self._traffic.plan
        kind, _, name = scope.partition(":")
        if scope == "node":
            plan = replace(plan, node=_changed(plan.node, up, down))
        elif scope == "peer":
            plan = replace(plan, peer=_changed(plan.peer, up, down))
        elif kind == "peer" and name:
            changed = _changed(plan.peers.get(name, Pair()), up, down)
            others = {other: pair for other, pair in plan.peers.items() if other != name}
            plan = replace(plan, peers={**others, name: changed} if any(changed) else others)
        elif kind == "class" and name in plan.classes:
            of_class = plan.classes[name]
            other = replace(of_class, limit=_changed(of_class.limit, up, down))
            plan = replace(plan, classes={**plan.classes, name: other})
        else:
            raise UsageError(f"{scope} is nothing that can be limited")
        self._traffic.set(plan)

    def show(self) -> list[LimitReport]:
        """Lists the limits in force, the widest scope first, and before it what the timetable puts in the node's place."""
        plan = self._traffic.plan
        found = [("node", plan.node), *((f"class:{name}", plan.classes[name].limit) for name in CLASSES)]
        found += [
            ("transfer", plan.transfer),
            ("peer", plan.peer),
            *((f"peer:{name}", one) for name, one in plan.peers.items()),
        ]
        scheduled = self._traffic.scheduled
        first = [("timetable", scheduled)] if scheduled is not None else []
        listed = [*first, *(one for one in found if any(one[1]))]
        return [LimitReport(scope=scope, up=_whole(pair.up), down=_whole(pair.down)) for scope, pair in listed]

    def off(self) -> None:
        """Takes all limits away, those of the configuration and of its timetable too. Shares stay."""
        plan = self._traffic.plan
        classes = {name: replace(one, limit=Pair()) for name, one in plan.classes.items()}
        self._traffic.set(replace(plan, node=Pair(), classes=classes, transfer=Pair(), peer=Pair(), peers={}, timetable=()))

    def steer(self, name: str, asked: Asked) -> None:
        """Puts the class and the limits of a transfer that runs in force. Raises UsageError."""
        self._traffic.move(name, asked.traffic_class)
        own = asked.limit_up is not None or asked.limit_down is not None
        usual = self._traffic.plan.transfer
        up = usual.up if asked.limit_up is None else asked.limit_up
        down = usual.down if asked.limit_down is None else asked.limit_down
        self._traffic.limit(name, Pair(up, down) if own else None)


def own_limits(name: str, asked: Asked) -> LimitReport | None:
    """Gives the limits that a transfer has of its own; None: none."""
    if asked.limit_up is None and asked.limit_down is None:
        return None
    return LimitReport(scope=f"transfer:{name}", up=asked.limit_up, down=asked.limit_down)


def _changed(pair: Pair, up: int | None, down: int | None) -> Pair:
    return Pair(pair.up if up is None else up or None, pair.down if down is None else down or None)


def _whole(rate: float | None) -> int | None:
    return None if rate is None else round(rate)
