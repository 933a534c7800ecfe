"""The bandwidth of one node: hands out flows, and changes what they may while they run (specs/0026 §5)."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from wherry.errors import UsageError
from wherry.flow import Flow
from wherry.limits import FLOW_TRANSFERS_MAX
from wherry.traffic.ledbat import Ledbat
from wherry.traffic.level import Leaf
from wherry.traffic.plan import CLASSES, UNLIMITED, Pair, Plan, check_rate
from wherry.traffic.report import LevelReport, Motion, TrafficReport, TransferReport
from wherry.traffic.way import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextlib import AbstractContextManager

    from wherry.flow import Direction, Reason
    from wherry.traffic.level import Level, Transfer
    from wherry.traffic.plan import ClassName

SERVING: Final = "serve"  # the transfer under which everything goes that is sent to others for no transfer of this node
_LOOK_S: Final = 1.0  # the timetable is looked at so often
_LEAST_BYTES: Final = 1024


def local_time() -> datetime:
    """Gives the time on the wall here: a timetable is written by it."""
    return datetime.now().astimezone()


class _Entry:
    """One transfer: its branch in each tree, its class, and limits of its own."""

    __slots__ = ("branches", "klass", "limit", "name", "own")

    def __init__(self, name: str, klass: ClassName, branches: dict[Direction, Transfer]) -> None:
        self.name = name
        self.klass: ClassName = klass
        self.branches = branches
        self.own = False  # whether the limit is its own, and not the plan's for each transfer
        self.limit = UNLIMITED


class Traffic:
    """The link of a node. Safe for threads; one a node."""

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = local_time,
    ) -> None:
        """``clock`` gives seconds, ``wall`` the local time, by which the timetable goes."""
        self.plan = plan or Plan()
        self._wall = wall
        self._looked: dict[Way, float] = {}
        shares = {name: float(one.share) for name, one in self.plan.classes.items()}
        self._ways: dict[Direction, Way] = {"up": Way(shares, clock, self._look), "down": Way(shares, clock, self._look)}
        self._entries: dict[str, _Entry] = {}
        self.set(self.plan)

    @property
    def scheduled(self) -> Pair | None:
        """The limits of the node that hold by the timetable now, in the place of the plan's; None: no line of it holds."""
        now = self._wall()
        return self.plan.at(now) if any(row.holds(now) for row in self.plan.timetable) else None

    # What may be changed while it runs

    def set(self, plan: Plan) -> None:
        """Puts another plan in force, now. Transfers keep limits of their own."""
        self.plan = plan
        for direction, way in self._ways.items():
            with way.lock:
                now = way.clock()
                way.tree.share({name: float(one.share) for name, one in plan.classes.items()})
                for name, one in plan.classes.items():
                    way.tree.change(way.tree.classes[name], _of(one.limit, direction), now)
                single = {name: rate for name, one in plan.peers.items() if (rate := _of(one, direction)) is not None}
                way.tree.change_peers(_of(plan.peer, direction), now, single)
                self._looked.pop(way, None)
        for entry in list(self._entries.values()):
            self._steer(entry)
        for way in self._ways.values():
            way.serve()

    def limit(self, transfer: str, limit: Pair | None) -> None:
        """Sets the limits of one transfer; None: those that the plan has for each. Raises UsageError for a rate too low."""
        entry = self._entry(transfer)
        for rate in limit or ():
            check_rate(rate)
        entry.own, entry.limit = limit is not None, limit or UNLIMITED
        self._steer(entry)
        for way in self._ways.values():
            way.serve()

    def move(self, transfer: str, klass: ClassName) -> None:
        """Puts a transfer into another class, with all who wait in it."""
        entry = self._entry(transfer)
        _check_class(klass)
        entry.klass = klass
        for direction, way in self._ways.items():
            with way.lock:
                now = way.clock()
                way.tree.move(entry.branches[direction], klass, now)
                if not self.plan.classes[klass].background:
                    for leaf in entry.branches[direction].leaves():
                        leaf.follow = None
                        way.tree.steer(leaf, now)
                    way.tree.node.wake()
            way.serve()

    def _steer(self, entry: _Entry) -> None:
        """Puts the limits of a transfer in force."""
        limit = entry.limit if entry.own else self.plan.transfer
        for direction, way in self._ways.items():
            with way.lock:
                way.tree.change(entry.branches[direction], _of(limit, direction), way.clock())

    def _look(self, way: Way, now: float) -> None:
        """Puts the node's limit in force that the timetable says. Under the way's lock."""
        if now < self._looked.get(way, now):
            return
        self._looked[way] = now + _LOOK_S if self.plan.timetable else float("inf")
        limit = self.plan.at(self._wall()) if self.plan.timetable else self.plan.node
        way.tree.change(way.tree.node, limit.up if way is self._ways["up"] else limit.down, now)

    # Transfers

    def flow(self, transfer: str = SERVING, klass: ClassName = "normal") -> Flow:
        """Gives the flow of a transfer, which is made if it is not there; then it is of the class ``klass``.

        `end` it when it is over. Raises UsageError for a class that there is not, or too many transfers.
        """
        entry = self._entries.get(transfer)
        if entry is None:
            _check_class(klass)
            if len(self._entries) >= FLOW_TRANSFERS_MAX:
                raise UsageError(f"more than {FLOW_TRANSFERS_MAX} transfers at a time", hint="wait until some are complete")
            branches: dict[Direction, Transfer] = {}
            for direction, way in self._ways.items():
                with way.lock:
                    branches[direction] = way.tree.add(transfer, klass, way.clock())
            entry = self._entries[transfer] = _Entry(transfer, klass, branches)
            self._steer(entry)
        return TransferFlow(self, entry, "")

    def using(self, transfer: str, klass: ClassName = "normal", limit: Pair = UNLIMITED) -> AbstractContextManager[Flow]:
        """Gives the flow of a transfer as long as the context lasts. ``limit``: its own, where the plan has another or none.

        Raises UsageError, also if there is such a transfer already.
        """
        return _Using(self, transfer, klass, limit)

    def end(self, transfer: str) -> None:
        """Forgets a transfer. Whoever still waits in it waits no longer, and later bytes of it count for the node only."""
        entry = self._entries.pop(transfer, None)
        if entry is None:
            return
        for direction, way in self._ways.items():
            with way.lock:
                done = way.tree.remove(entry.branches[direction], way.clock())
            way.tell(done)

    def _entry(self, transfer: str) -> _Entry:
        try:
            return self._entries[transfer]
        except KeyError:
            raise UsageError(f"no transfer {transfer!r} uses the link") from None

    def report(self) -> TrafficReport:
        """Tells what every level does now."""
        up, down = self._ways["up"], self._ways["down"]
        with up.lock, down.lock:
            now = up.now()
            down.now()
            node = _level("", up.tree.node, down.tree.node, now)
            classes = tuple(_level(name, up.tree.classes[name], down.tree.classes[name], now) for name in CLASSES)
            transfers = tuple(self._told(entry, now) for entry in list(self._entries.values()))
        return TrafficReport(node=node, classes=classes, transfers=transfers)

    def _told(self, entry: _Entry, now: float) -> TransferReport:
        up, down = entry.branches["up"], entry.branches["down"]
        whole = _level(entry.name, up, down, now)
        peers = tuple(
            _level(name, up.children.get(name), down.children.get(name), now)
            for name in dict.fromkeys([*up.children, *down.children])
            if name
        )
        return TransferReport(
            name=entry.name, up=whole.up, down=whole.down, klass=entry.klass,
            waited_up=_waited(up, now), waited_down=_waited(down, now), peers=peers,
        )  # fmt: skip


class _Using:
    """A transfer that lasts as long as a context. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_klass", "_limit", "_traffic", "_transfer")

    def __init__(self, traffic: Traffic, transfer: str, klass: ClassName, limit: Pair) -> None:
        self._traffic, self._transfer = traffic, transfer
        self._klass: ClassName = klass
        self._limit = limit

    def __enter__(self) -> Flow:
        traffic, transfer, limit = self._traffic, self._transfer, self._limit
        if transfer in traffic._entries:
            raise UsageError(f"the transfer {transfer!r} runs already")
        flow = traffic.flow(transfer, self._klass)
        if limit != UNLIMITED:
            try:
                usual = traffic.plan.transfer
                up = usual.up if limit.up is None else limit.up
                traffic.limit(transfer, Pair(up, usual.down if limit.down is None else limit.down))
            except BaseException:
                traffic.end(transfer)
                raise
        return flow

    def __exit__(self, *_problem: object) -> None:
        self._traffic.end(self._transfer)


class TransferFlow(Flow):
    """The flow of a transfer, or to one peer of it. See `Flow`."""

    __slots__ = ("_entry", "_peer", "_traffic")

    def __init__(self, traffic: Traffic, entry: _Entry, peer: str) -> None:
        self._traffic = traffic
        self._entry = entry
        self._peer = peer

    @property
    def limited(self) -> bool:
        """See `Flow.limited`. Where there is a timetable, or the class gives way to others, it always is."""
        plan = self._traffic.plan
        own = self._entry.limit if self._entry.own else plan.transfer
        klass = plan.classes[self._entry.klass]
        single = self._peer in plan.peers if self._peer else bool(plan.peers)
        return bool(plan.timetable) or klass.background or single or any((*plan.node, *klass.limit, *own, *plan.peer))

    @property
    def urgency(self) -> int:
        """See `Flow.urgency`."""
        return CLASSES.index(self._entry.klass)

    def _narrowest(self, direction: Direction) -> tuple[float, int]:
        """Gives the depth and the quantum of the narrowest bucket on the way; the depth is shared with all who wait for it."""
        way, branch = self._traffic._ways[direction], self._entry.branches[direction]
        with way.lock:
            way.now()
            leaf = way.leaf(branch, self._peer) if self._peer else None  # none is made for a transfer that only asks this
            own = [one for one in (leaf.bucket, leaf.peer) if one is not None] if leaf is not None else []
            depths = [bucket.depth for bucket in own]
            depths += [level.bucket.depth / (1 + level.waiting - branch.waiting) for level in branch.path()]
            return min(depths), min([bucket.quantum for bucket in own] + [level.bucket.quantum for level in branch.path()])

    @property
    def up_piece(self) -> int:
        """See `Flow.up_piece`."""
        depth, quantum = self._narrowest("up")
        return 2 * quantum if depth < float("inf") else super().up_piece

    @property
    def down_piece(self) -> int:
        """See `Flow.down_piece`."""
        depth, _ = self._narrowest("down")
        return max(int(depth), _LEAST_BYTES) if depth < float("inf") else super().down_piece

    def up(self, count: int) -> Coroutine[Any, Any, None]:
        """See `Flow.up`."""
        return self._traffic._ways["up"].wait(self._entry.branches["up"], self._peer, count)

    def down(self, count: int) -> Coroutine[Any, Any, None]:
        """See `Flow.down`."""
        return self._traffic._ways["down"].wait(self._entry.branches["down"], self._peer, count)

    def up_now(self, most: int) -> int:
        """See `Flow.up_now`."""
        return self._traffic._ways["up"].take(self._entry.branches["up"], self._peer, most)

    def unused(self, count: int) -> None:
        """See `Flow.unused`."""
        if count > 0:
            self._traffic._ways["up"].give(self._entry.branches["up"], self._peer, count)

    def moved(self, *, up: int = 0, down: int = 0) -> None:
        """See `Flow.moved`."""
        if up > 0:
            self._traffic._ways["up"].moved(self._entry.branches["up"], self._peer, up)
        if down > 0:
            self._traffic._ways["down"].moved(self._entry.branches["down"], self._peer, down)

    def sampled(self, delay_s: float, *, lost: bool = False, way: Direction = "up") -> None:
        """See `Flow.sampled`."""
        if not self._traffic.plan.classes[self._entry.klass].background:
            return
        direction = self._traffic._ways[way]
        with direction.lock:
            now = direction.now()
            leaf = direction.leaf(self._entry.branches[way], self._peer)
            if leaf.follow is None:
                leaf.follow = Ledbat(now)
                leaf.followed = leaf.meter.total
            leaf.follow.sampled(delay_s, max(0, leaf.meter.total - leaf.followed), now, lost=lost)
            leaf.followed = leaf.meter.total
            direction.tree.steer(leaf, now)

    def waiting(self, way: Direction) -> Reason | None:
        """See `Flow.waiting`."""
        direction = self._traffic._ways[way]
        branch = self._entry.branches[way]
        with direction.lock:
            now = direction.clock()
            return None if not branch.waiting else "class" if branch.is_crowded(now) else "limited"

    def waited(self, way: Direction) -> Mapping[Reason, float]:
        """See `Flow.waited`."""
        direction = self._traffic._ways[way]
        with direction.lock:
            return _waited(self._entry.branches[way], direction.clock())

    def of_peer(self, peer: str) -> Flow:
        """See `Flow.of_peer`."""
        return TransferFlow(self._traffic, self._entry, peer)


def _of(pair: Pair, direction: Direction) -> float | None:
    return pair.up if direction == "up" else pair.down


def _check_class(klass: str) -> None:
    if klass not in CLASSES:
        raise UsageError(f"there is no class {klass!r}", hint=f"one of {', '.join(CLASSES)}")


def _waited(branch: Transfer, now: float) -> Mapping[Reason, float]:
    branch.tally(now)
    return {"limited": branch.limited_s, "class": branch.class_s}


def _level(name: str, up: Level | None, down: Level | None, now: float) -> LevelReport:
    return LevelReport(name=name, up=_motion(up, now), down=_motion(down, now))


def _motion(level: Level | None, now: float) -> Motion:
    if level is None:
        return Motion(limit=None, rate=0.0, bytes=0, waiting=0)
    limit = level.limit if isinstance(level, Leaf) else level.bucket.rate
    return Motion(limit=limit, rate=level.meter.rate(now), bytes=level.meter.total, waiting=level.waiting)
