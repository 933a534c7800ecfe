"""The levels of a link: the node, its classes, their transfers, their peers; and whose turn it is (specs/0026 §2, §3).

Who has waited is served by *start-time fair queueing* (Goyal, Vin, Cheng 1997), level by level: each child has a virtual time
that goes on by what it took over its weight, and the one that is furthest behind has its turn. So whoever asks shares by
weight, and what one does not ask for goes to the others. A child that comes back after a pause may be behind, but by no more
than a full bucket: senders pause between two pieces, and must not lose their share for it; nor may they save for years.

A peer, and its transfer, keep their turn until a request is complete, as packets are sent whole: what a thousand that ask for
megabytes are given a little of each in turn would let each of them wait for what all of them want. Classes alternate all the
same.

A child whose own bucket is shut, or all whose children's are, is *parked* until the time when it opens, so that a turn costs
the logarithm of the children and not their number. Pure: times are the caller's, and so is the lock.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from wherry.traffic.bucket import Bucket
from wherry.traffic.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.traffic.ledbat import Ledbat

_STAMPS: Final = count(1)  # of entries in heaps, ever new: what was moved or freed is known by an old one
_SLACK_BYTES: Final = 1 << 20  # how far behind a child may come back where no bucket says it


class Request:
    """Bytes that somebody waits for. ``waiter`` is the caller's own: whom to tell."""

    __slots__ = ("leaf", "left", "size", "waiter")

    def __init__(self, leaf: Leaf, size: int) -> None:
        self.leaf = leaf
        self.size = size
        self.left = size
        self.waiter: object = None


class Level(ABC):
    """What all levels have: a bucket, a meter, and a place among those beside it."""

    __slots__ = ("above", "bucket", "meter", "name", "ready", "stamp", "virtual", "waiting", "weight")

    keeps = True  # its turn, until a request is complete

    def __init__(self, name: str, above: Branch | None, now: float, weight: float = 1.0) -> None:
        self.name = name
        self.above = above
        self.weight = weight
        self.bucket = Bucket(None, now)
        self.meter = Meter(now)
        self.virtual = above.virtual_now if above is not None else 0.0
        self.stamp = 0  # of the one entry in a heap above that counts; 0: there is none
        self.ready = False  # whether that is the heap of those who may have their turn
        self.waiting = 0  # requests

    def path(self) -> Iterator[Level]:
        """Gives this level and those above it."""
        level: Level | None = self
        while level is not None:
            yield level
            level = level.above

    @abstractmethod
    def turn(self, now: float) -> Leaf | None:
        """Finds the leaf whose turn it is; None if none below may have one now."""

    def opens(self, now: float) -> float:
        """Gives the time from which on somebody below may have a turn, as far as it is known."""
        return self.bucket.opens(now)

    def tally(self, now: float) -> None:  # noqa: B027 - most levels have nothing to note
        """Notes the time until which all was as it is. Called before requests come or go."""


class Joint(Bucket):
    """The bucket of a peer, which its leaves in all transfers share: those who wait have equal turns, a quantum each.

    One whose turn it is and that another limit holds lets the others by.
    """

    __slots__ = ("_had", "asking")

    def __init__(self, rate: float | None, now: float) -> None:
        super().__init__(rate, now)
        self._had = 0  # bytes, by whose turn it is: a leaf may be fed less than a quantum at a time
        self.asking: OrderedDict[Leaf, None] = OrderedDict()  # who waits; whose turn it is first

    def is_turn(self, leaf: Leaf, now: float) -> bool:
        """Tells whether a leaf that waits may take something now."""
        if not self.is_open(now):
            return False
        for _ in range(len(self.asking)):
            first = next(iter(self.asking))
            if first is leaf:
                return True
            if all(level.bucket.is_open(now) for level in first.path()):
                return False
            self.asking.move_to_end(first)
            self._had = 0
        return True

    def had(self, leaf: Leaf, count: int) -> None:
        """Counts what a leaf took that waits for more; its turn is over when that was a quantum."""
        self._had += count
        if self._had >= self.quantum:
            self._had = 0
            self.asking.move_to_end(leaf)


class Leaf(Level):
    """A peer of a transfer, or the transfer's own traffic: here requests wait, the oldest first.

    Its own bucket is for the delay of the way; the limit of the peer is that of all its leaves together (``peer``).
    """

    __slots__ = ("follow", "followed", "peer", "queue", "used")

    def __init__(self, name: str, above: Branch, now: float) -> None:
        super().__init__(name, above, now)
        self.queue: list[Request] = []  # a few; an empty deque takes 600 bytes more, for each peer of each transfer
        self.used = now
        self.peer: Joint | None = None  # of the peer, in whatever transfer; None: it has no limit
        self.follow: Ledbat | None = None  # what the delay of the way to this peer allows
        self.followed = 0  # bytes that had gone when it was told last

    def turn(self, now: float) -> Leaf | None:
        """See `Level.turn`."""
        if not self.queue or not self.bucket.is_open(now) or (self.peer is not None and not self.peer.is_turn(self, now)):
            return None
        return self

    def join(self, peer: Joint | None) -> None:
        """Shares another bucket of its peer from now on; None: none."""
        if peer is not self.peer:
            if self.peer is not None:
                self.peer.asking.pop(self, None)
            self.peer = peer
            self.seen()

    def seen(self) -> None:
        """Lets its peer's bucket know whether anything waits here. Called when that may have changed."""
        if self.peer is None:
            return
        if self.queue:
            self.peer.asking.setdefault(self)
        else:
            self.peer.asking.pop(self, None)

    def opens(self, now: float) -> float:
        """See `Level.opens`."""
        at = self.bucket.opens(now)
        return at if self.peer is None else max(at, self.peer.opens(now))

    def buckets(self) -> list[Bucket]:
        """Gives all buckets on its way."""
        found = [level.bucket for level in self.path()]
        return found if self.peer is None else [*found, self.peer]

    @property
    def limit(self) -> float | None:
        """The rate that holds for it besides those above it."""
        rates = [one.rate for one in (self.bucket, self.peer) if one is not None and one.rate is not None]
        return min(rates, default=None)

    def quantum(self) -> int:
        """Gives how much one turn takes at most."""
        return min([bucket.quantum for bucket in self.buckets()])

    def feed(self, now: float, done: list[Request]) -> None:
        """Has its turn: gives the oldest requests up to a quantum, and appends those that are complete to ``done``."""
        left = quantum = self.quantum()
        whole = 0
        while left and self.queue:
            request = self.queue[0]
            part = min(left, request.left)
            left -= part
            request.left -= part
            if not request.left:
                whole += request.size
                del self.queue[0]
                done.append(request)
                self.waits(-1, now)
        self.charge(quantum - left, now, whole)
        self.seen()
        if self.peer is not None and self.queue:
            self.peer.had(self, quantum - left)

    def charge(self, size: int, now: float, whole: int | None = None) -> None:
        """Takes bytes from every bucket on the way, and moves the virtual times on.

        ``whole``: bytes of the requests that this completed; the peer and its transfer go on by these, and so keep their turn
        until a request is complete.
        """
        if self.peer is not None:
            self.peer.take(size)
        for level in self.path():
            level.bucket.take(size)
            level.meter.add(size, now)
            above = level.above
            if above is None:
                continue
            above.virtual_now = max(above.virtual_now, level.virtual)
            step = size if whole is None or not level.keeps else whole
            level.virtual += step / level.weight
            if level.ready and step:
                above.enter(level)

    def refund(self, size: int, now: float, *, begun: bool = False) -> None:
        """Takes a charge back; ``begun``: that of a request which is not complete."""
        if self.peer is not None:
            self.peer.give(size)
        for level in self.path():
            level.bucket.give(size)
            level.meter.add(-size, now)
            if level.above is not None and not (begun and level.keeps):
                level.virtual -= size / level.weight

    def waits(self, change: int, now: float) -> None:
        """Counts requests that come and go, up to the node."""
        for level in self.path():
            level.tally(now)
            level.waiting += change


class Branch(Level):
    """The node, a class or a transfer: its children wait for their turn."""

    __slots__ = ("children", "parked", "queue", "virtual_now")

    keeps = False

    def __init__(self, name: str, above: Branch | None, now: float, weight: float = 1.0) -> None:
        super().__init__(name, above, now, weight)
        self.children: dict[str, Level] = {}  # the one that was used last at the end; in no OrderedDict, which takes 200 bytes
        self.queue: list[tuple[float, int, Level]] = []  # by virtual time
        self.parked: list[tuple[float, int, Level]] = []  # by the time when they open
        self.virtual_now = 0.0  # of the child that had its turn last

    def slack(self) -> float:
        """Gives how far behind the others a child may come back: the narrowest bucket's depth."""
        depth = min([level.bucket.depth for level in self.path()])
        return depth if depth < math.inf else _SLACK_BYTES

    def enter(self, child: Level) -> None:
        """Puts a child among those who may have their turn, wherever it was."""
        if not child.ready:
            child.virtual = max(child.virtual, self.virtual_now - self.slack())
        child.stamp, child.ready = next(_STAMPS), True
        heappush(self.queue, (child.virtual, child.stamp, child))

    def leave(self, child: Level) -> None:
        """Takes a child out of both heaps."""
        child.stamp, child.ready = 0, False

    def turn(self, now: float) -> Leaf | None:
        """See `Level.turn`."""
        if not self.bucket.is_open(now):
            return None
        while self.parked and self.parked[0][0] <= now:
            _, stamp, child = heappop(self.parked)
            if stamp == child.stamp:
                self.enter(child)
        while self.queue:
            _, stamp, child = self.queue[0]
            if stamp != child.stamp:
                heappop(self.queue)
                continue
            leaf = child.turn(now)
            if leaf is not None:
                return leaf
            heappop(self.queue)
            self.leave(child)
            if child.waiting:
                child.stamp = next(_STAMPS)
                heappush(self.parked, (child.opens(now), child.stamp, child))
        return None

    def opens(self, now: float) -> float:
        """See `Level.opens`."""
        at = self.bucket.opens(now)
        while self.parked and self.parked[0][1] != self.parked[0][2].stamp:
            heappop(self.parked)
        if self.queue or not self.parked:
            return at
        return max(at, self.parked[0][0])

    def wake(self) -> None:
        """Lets all who wait below look at their buckets anew, which have changed."""
        for child in self.children.values():
            if isinstance(child, Branch):
                child.wake()
            if child.waiting and not child.ready:
                self.enter(child)


class Transfer(Branch):
    """A transfer: it also counts the time that it waits, and for what."""

    __slots__ = ("_since", "class_s", "gone", "limited_s")

    keeps = True

    def __init__(self, name: str, above: Branch, now: float) -> None:
        super().__init__(name, above, now)
        self.limited_s = 0.0
        self.class_s = 0.0
        self.gone = False  # forgotten; who still moves something on its behalf is counted above it only
        self._since = now

    def tally(self, now: float) -> None:
        """See `Level.tally`: adds the time since the last call to what is waited for."""
        if self.waiting:
            if self.is_crowded(now):
                self.class_s += now - self._since
            else:
                self.limited_s += now - self._since
        self._since = now

    def leaves(self) -> list[Leaf]:
        """Gives its peers, the one that was used longest ago first."""
        return [leaf for leaf in self.children.values() if isinstance(leaf, Leaf)]

    def is_crowded(self, now: float) -> bool:
        """Tells whether it is other classes that it waits for, and no limit of its own."""
        klass = self.above
        node = klass.above if klass is not None else None
        if klass is None or node is None or node.bucket.rate is None:
            return False
        others = node.waiting > klass.waiting
        return others and klass.bucket.is_open(now) and self.bucket.is_open(now)
