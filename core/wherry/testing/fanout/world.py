"""Many nodes, one dataset, and what goes wrong between them (specs/0030). Seeded: the same plan goes the same way.

outcome = live(Plan(nodes=100, size=256 * MiB, seed=7))
"""

from __future__ import annotations

import random
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import PeerDenied, PeerError
from wherry.limits import IDLE_S
from wherry.swarm.swarm import Swarm
from wherry.testing.fanout.clock import Clock
from wherry.testing.fanout.invariants import check, check_emptied
from wherry.testing.fanout.link import End
from wherry.testing.fanout.node import Node
from wherry.testing.fanout.outcome import Outcome, measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.policy import Policy
    from wherry.testing.fanout.getting import Getting
    from wherry.testing.fanout.plan import Kill, Plan
    from wherry.transfer.source import Source

_RESEND_S: Final = 0.2  # the least retransmission timeout of Linux
_HANDSHAKE: Final = 4  # times one way: a connection, and TLS 1.3 over it
_AWAY_S: Final = (5.0, 30.0)  # how long whoever leaves by churn stays away
_HANGS: Final = (50.0, 10.0)  # times the ideal, and times what lost sources are waited for: a run that takes longer hangs
_AFTER_S: Final = 2.0  # what is under way when all is over gets so long to arrive
_TELL_EVENTS: Final = 20_000  # between two times that the caller is told how far it is


class World:
    """One run. `make_swarm`, `accepts` and `policy` are core's own; a test may put a broken one in their place."""

    make_swarm: type[Swarm] = Swarm

    def __init__(self, plan: Plan, *, policy: Policy | None = None) -> None:
        self.plan = plan
        self.policy = policy
        self.rng = random.Random(f"{plan.seed} world")
        self.clock = Clock()
        self.root = CID.from_digest(DAG_CBOR, sha256(b"root").digest())
        self.cids = [CID.from_digest(RAW, sha256(b"block %d" % block).digest()) for block in range(plan.blocks)]
        self.block_of = {cid: block for block, cid in enumerate(self.cids)}
        self.idle_s = IDLE_S
        self.origin = Node(self, 0, rate=plan.origin_rate, whole=True)
        freeloading = set(self.rng.sample(range(plan.nodes), plan.freeloaders))
        self.getters = [
            Node(self, 1 + place, rate=plan.rate, whole=False, freeloads=place in freeloading) for place in range(plan.nodes)
        ]
        self.liars = [Node(self, 1 + plan.nodes + place, rate=plan.rate, whole=True, lies=True) for place in range(plan.liars)]
        self.nodes = [self.origin, *self.getters, *self.liars]
        self.at = {node.address: node for node in self.nodes}
        self.unfinished = plan.nodes
        self._split_until = -1.0
        self._there: list[Node] = []  # whom the tracker knows

    # The run

    def run(self, told: Callable[[World], None] = lambda _world: None) -> Outcome:
        """Lives until every node has everything or gave up. Raises Broken where an invariant does not hold."""
        plan, clock = self.plan, self.clock
        for node in (self.origin, *self.liars):
            self._start(node)
        for node in self.getters:
            clock.at(self.rng.uniform(0.0, plan.arrivals_s), self._start, node)
        for kill in plan.kills:
            clock.at(kill.at_s, self._kill, kill)
        if plan.churn:
            clock.after(self._next_leaves(), self._churn)
        if plan.partition_s:
            clock.at(plan.ideal_s / 3, self._split)
        end_s = _HANGS[0] * plan.ideal_s + _HANGS[1] * plan.wait_s + plan.partition_s
        while self.unfinished and clock.now < end_s and clock.step():
            if clock.events % _TELL_EVENTS == 0:
                told(self)
        outcome = measured(self)
        check(self)
        self._empty()
        return outcome

    def _empty(self) -> None:
        """Everybody goes; nothing may be remembered of anybody."""
        until = self.clock.now + _AFTER_S
        for node in self.nodes:
            if node.up:
                node.stop("the end")
        while self.clock.now < until and self.clock.step():
            pass
        for node in self.nodes:
            if node.lives:
                check_emptied(node)

    def _start(self, node: Node) -> None:
        node.start()
        if node not in self._there:
            self._there.append(node)

    def finished(self, node: Node) -> None:
        """A node has everything, or gave up."""
        self.unfinished -= 1
        self.clock.mark(3, node.number, node.left)

    # What goes wrong

    def _kill(self, kill: Kill) -> None:
        node = self.nodes[kill.node]
        if not node.up:
            return
        if node.left and not kill.back_s:
            node.error = "killed"
            self.unfinished -= 1
        node.stop("killed", silent=self.plan.silent)
        if kill.back_s:
            node.away_s += kill.back_s
            self.clock.after(kill.back_s, self._back, node)
        elif node in self._there:
            self._there.remove(node)

    def _back(self, node: Node) -> None:
        if not node.up and not node.error:
            node.start()

    def _next_leaves(self) -> float:
        return self.rng.expovariate(self.plan.churn * self.plan.nodes / 60.0)

    def _churn(self) -> None:
        node = self.rng.choice(self.getters)
        if node.up:
            away = self.rng.uniform(*_AWAY_S)
            node.stop("left", silent=self.plan.silent)
            node.away_s += away
            self.clock.after(away, self._back, node)
        self.clock.after(self._next_leaves(), self._churn)

    def _split(self) -> None:
        self._split_until = self.clock.now + self.plan.partition_s
        if self.plan.partition_s > self.idle_s:
            self.clock.after(self.idle_s, self._sever)

    def _sever(self) -> None:
        for node in self.nodes:
            for end in list(node.ends):
                if self.parted(node, end.other.node):
                    end.end("silent for too long")

    def parted(self, one: Node, other: Node) -> bool:
        """Whether a partition lies between two nodes now: those with even numbers are on the origin's side."""
        return self.clock.now < self._split_until and (one.number ^ other.number) & 1 == 1

    def resent(self, end: End) -> float:
        """Gives the seconds by which what is sent now is late, since it was lost on the way."""
        late = 0.0
        if self.plan.loss:
            wait = max(_RESEND_S, 2 * end.latency_s)
            while self.rng.random() < self.plan.loss:
                late += wait
                wait *= 2
        if self._split_until > self.clock.now and self.parted(end.node, end.other.node):
            late += self._split_until - self.clock.now
        return late

    # Who meets whom

    def trusted(self, node: Node) -> list[Node]:
        """Gives whom a node was told of by name: the origin."""
        return [] if node is self.origin else [self.origin]

    def named(self, address: str) -> bool:
        """Whether an address is dialled again and again."""
        return address == self.origin.address

    def sample(self, node: Node, count: int) -> list[Node]:
        """Gives some of the others, as a tracker does."""
        found = self.rng.sample(self._there, min(len(self._there), count + 1)) if count else []
        return [other for other in found if other is not node][:count]

    def dial(self, node: Node, other: Node, getting: Getting, source: Source, *, named: bool) -> None:
        """Connects two nodes, if it can be."""
        latency = node.half_s + other.half_s
        mine = End(node, other, incoming=False, latency_s=latency)
        mine.other = theirs = End(other, node, incoming=True, latency_s=latency)
        theirs.other = mine
        self.clock.after((_HANDSHAKE - 1) * latency + self.resent(mine), self._accept, theirs, getting, source, named)

    def _accept(self, theirs: End, getting: Getting, source: Source, named: bool) -> None:
        mine, node = theirs.other, theirs.node
        refused: PeerError | None = None
        if not node.up or self.parted(node, mine.node):
            refused = PeerError("cannot be reached")
        elif node.linked(mine.node.address):
            refused = PeerError("has a connection already")
        else:
            theirs.open = True
            # It is open at the other end when the first message is there, so the event stands before those that follow.
            fate: list[PeerError | None] = [None]
            self.clock.after(theirs.latency_s, self._opened, mine, getting, source, named, fate)
            try:
                theirs.peer = node.swarm.meet(theirs)
            except PeerError as problem:
                theirs.open = False
                fate[0] = problem
                return
            node.met(theirs)
            return
        self.clock.after(theirs.latency_s, self._opened, mine, getting, source, named, [refused])

    def _opened(
        self,
        mine: End,
        getting: Getting,
        source: Source,
        named: bool,
        fate: list[PeerError | None],
    ) -> None:
        node, refused = mine.node, fate[0]
        if getting.over or not node.up or node.getting is not getting:
            refused = refused or PeerError("is not wanted any more")
        if refused is None and not mine.other.open:
            refused = PeerError("has ended")
        if refused is None:
            mine.open = True
            try:
                mine.peer = node.swarm.meet(mine)
            except PeerError as problem:
                mine.open, refused = False, problem
        if refused is None:
            self.clock.mark(4, node.number, mine.other.node.number)
            node.met(mine)
            getting.connected(mine, source)
            return
        if mine.other.open:
            self.clock.after(mine.latency_s, mine.other.end, "refused at the other end")
        getting.unreached(source, refused.message, named=named, denied=isinstance(refused, PeerDenied))

    # What is looked at

    def accepts(self, *, right: bool, asked: int, block: int) -> bool:
        """Whether core would take a block: it hashes each, and so takes none that is wrong."""
        return right and asked == block

    def hope_of(self, node: Node) -> str:
        """Says who could give a node what it lacks, at the moment when it gives up; "" if nobody could."""
        for end in node.ends:
            other = end.other.node
            lacks = not node.left or not any(theirs and not mine for theirs, mine in zip(other.has, node.has, strict=True))
            if other.up and not other.lies and not other.freeloads and not lacks and not self.parted(node, other):
                return f"node {other.number} could give it what it lacks"
        return ""


def live(plan: Plan, *, policy: Policy | None = None, told: Callable[[World], None] = lambda _world: None) -> Outcome:
    """Simulates one run; ``told`` is called now and then. Raises Broken where an invariant does not hold."""
    return World(plan, policy=policy).run(told)
