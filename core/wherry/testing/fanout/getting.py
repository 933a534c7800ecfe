"""A simulated get: drives the scheduler as `wherry.transfer.asking` and `wherry.transfer.member` do (specs/0030 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.limits import SWARM_PEERS_MAX
from wherry.transfer.choice import Choice
from wherry.transfer.scheduler import Scheduler

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from wherry.abc.exchange import HaveMap, PeerInfo, PeerLink
    from wherry.testing.fanout.link import End
    from wherry.testing.fanout.node import Node
    from wherry.transfer.source import Source, Task

PARALLEL: Final = 16  # requests to one peer, as of the ``tcp`` transport
_SEEK_S: Final = 10.0  # between two questions to the tracker while there are few sources


class Getting:
    """See `wherry.swarm.dataset.Listener`."""

    def __init__(self, node: Node, rng: random.Random) -> None:
        world = node.world
        self.node = node
        self.clock = node.clock
        self.over = False
        self.complaints: list[str] = []
        choice = None
        if world.policy is not None:
            choice = Choice(world.policy, rng, lambda: world.clock.now, self.complaints.append)
        self.scheduler: Scheduler[int] = Scheduler(
            [], now=self.clock.now, rng=rng, wait_s=world.plan.wait_s, choice=choice, order=world.plan.order
        )
        self._rng = rng
        self._known: dict[PeerLink, _Known] = {}
        self._todo = iter([block for block, mark in enumerate(node.has) if not mark])
        self._ends: dict[Source, End] = {}
        self._dialled: dict[str, Source] = {}  # address -> whoever is there, or is being dialled
        self._sought_at = self._judged_at = self.clock.now

    def begin(self) -> None:
        """Makes jobs, and looks for sources."""
        self._refill()
        world = self.node.world
        for other in (*world.trusted(self.node), *world.sample(self.node, max(1, world.plan.degree // 2))):
            self.dial(other, named=other.number == 0)
        self.clock.after(self._rng.uniform(0.0, world.plan.look_s), self._look)

    def _refill(self) -> None:
        scheduler, plan = self.scheduler, self.node.world.plan
        while scheduler.more and scheduler.waiting < plan.jobs_ahead:
            block = next(self._todo, None)
            if block is None:
                scheduler.more = False
                return
            start, end = plan.span(block)
            scheduler.put(block, size=end - start, now=self.clock.now, spans=((start, end),))

    # Sources

    def dial(self, other: Node, *, named: bool = False) -> None:
        """Takes a node as a source, to be dialled; a named one again and again."""
        if other is self.node or other.address in self._dialled or self.node.linked(other.address):
            return
        source = self._dialled[other.address] = self.scheduler.add(other.address, self.clock.now)
        self.node.world.dial(self.node, other, self, source, named=named)

    def connected(self, end: End, source: Source) -> None:
        """A connection that this node dialled was made, or one that dialled it is taken as a source."""
        end.source, end.getting = source, self
        self._ends[source] = end
        self.scheduler.connected(source, self.clock.now, PARALLEL, linked=True)
        known = self._known.setdefault(end, _Known())
        known.source = source
        if known.choked:
            self.scheduler.choked(source, on=True)
        if known.have is not None:
            self.scheduler.have(source, self.clock.now, known.have, None)
        self.ask(end)

    def unreached(self, source: Source, reason: str, *, named: bool, denied: bool) -> None:
        """A connection could not be made, or was lost."""
        if self.over:
            return
        for_good = denied or not named
        seconds = self.scheduler.gone(source, self.clock.now, reason, for_good=for_good)
        if not for_good:
            self.clock.after(seconds, self._again, source)
            return
        if self._dialled.get(source.address) is source:
            del self._dialled[source.address]
        self.scheduler.drop(source)

    def _again(self, source: Source) -> None:
        if not self.over:
            world = self.node.world
            world.dial(self.node, world.at[source.address], self, source, named=True)

    def ended(self, end: End, reason: str) -> None:
        """The connection of a source is gone: what it was asked for goes back."""
        self._known.pop(end, None)
        source = end.source
        if self.over or source is None:
            return
        for task, _ in end.asked.values():
            self.scheduler.failed(task, source, self.clock.now, reason)
            self.scheduler.done(source, task, self.clock.now)
        end.asked.clear()
        del self._ends[source]
        self.unreached(source, reason, named=self.node.world.named(source.address), denied=False)
        self.ask_all()

    # Asking

    def ask(self, end: End) -> None:
        """Asks a source for as much as the scheduler says."""
        source, now = end.source, self.clock.now
        if source is None:
            return
        while source.working < PARALLEL and not self.over:
            task = self.scheduler.take(source, now)
            if task is None and self.scheduler.swarming:
                task = self.scheduler.hedge(source, now, _any_job)
            if task is None:
                return
            end.ask(task)

    def ask_all(self) -> None:
        """Asks all that may be asked."""
        for end in list(self._ends.values()):
            source = end.source
            if source is not None and not source.choked and source.working < PARALLEL and self.clock.now >= source.rest_until:
                self.ask(end)

    def _look(self) -> None:
        """Looks at everything, now and then: somebody has rested, is late, or is not there any more."""
        if self.over:
            return
        now, node, world = self.clock.now, self.node, self.node.world
        self.ask_all()
        if now - max(node.moved_at, self._judged_at) > world.plan.quiet_s:
            self._judged_at = now
            verdict = self.scheduler.verdict(now)
            if verdict is not None:
                self.over = True
                node.gave_up(verdict.kind)
                return
        if now - self._sought_at > _SEEK_S:
            self._sought_at = now
            for other in world.sample(node, max(0, world.plan.degree // 2 - len(self._ends))):
                self.dial(other)
        self.clock.after(world.plan.look_s, self._look)

    # What sources gave

    def came(self, end: End, task: Task[int], block: int, size: int, *, right: bool) -> None:
        """A block came that was asked for."""
        source, now, node = end.source, self.clock.now, self.node
        if source is None or self.over:
            return
        if not node.world.accepts(right=right, asked=task.job, block=block):
            node.wrong += size
            self.scheduler.bad(task, source, now, "wrong bytes", rejected=1)
            self.scheduler.done(source, task, now)
            node.banned.add(end.info.id)
            end.close("sent wrong bytes")
            return
        self.scheduler.succeeded(source, now, 1, size, task)
        if node.entry is not None:
            node.entry.credit(end, size)
        task.over = True
        for other in self.scheduler.others(task, source):
            self._ends[other].unask(task)
            self.scheduler.beaten(task, other, now)
            self.scheduler.done(other, task, now)
        self.scheduler.done(source, task, now)
        self._took(task.job, size, right=right)
        node.clock.mark(1, node.number << 16 | end.other.node.number & 0xFFFF, block)
        self._refill()
        if node.left:
            self.ask(end)
        else:
            self.over = True
            node.finished()

    def _took(self, block: int, size: int, *, right: bool) -> None:
        node, now = self.node, self.clock.now
        if not node.has[block]:
            node.left -= 1
            node.got += size
        node.has[block] = 1 if right else 2
        node.stall_s = max(node.stall_s, now - node.moved_at)
        node.moved_at = now
        if node.entry is not None:
            node.entry.gained(*node.world.plan.span(block))

    def refused(self, end: End, task: Task[int]) -> None:
        """A request was dropped, because the peer chokes us."""
        if end.source is not None and not self.over:
            self.scheduler.failed(task, end.source, self.clock.now, "does not answer us now")
            self.scheduler.done(end.source, task, self.clock.now)
            self.ask_all()

    def lacked(self, end: End, task: Task[int]) -> None:
        """A peer does not have a block."""
        if end.source is not None and not self.over:
            self.scheduler.absent(task, end.source)
            self.scheduler.done(end.source, task, self.clock.now)
            self.ask_all()

    # What the swarm tells (`Listener`)

    def met(self, link: PeerLink, peer_info: PeerInfo) -> None:
        """See `Listener.met`."""
        known = self._known.setdefault(link, _Known())
        if self.over or known.source is not None or not peer_info.incoming or len(self._ends) >= SWARM_PEERS_MAX:
            return
        end = self.node.end_of(link)
        if peer_info.address not in self._dialled and end is not None:
            self.connected(end, self.scheduler.add(peer_info.address, self.clock.now))

    def has(self, link: PeerLink, have: HaveMap, gained: Sequence[tuple[int, int]] | None) -> None:
        """See `Listener.has`."""
        known = self._known.setdefault(link, _Known())
        known.have = have
        if known.source is not None and not self.over:
            self.scheduler.have(known.source, self.clock.now, have, gained)
            self.ask(self._ends[known.source])

    def choked(self, link: PeerLink, on: bool) -> None:
        """See `Listener.choked`."""
        known = self._known.setdefault(link, _Known())
        known.choked = on
        if known.source is not None and not self.over:
            self.scheduler.choked(known.source, on=on)
            if not on:
                self.ask(self._ends[known.source])

    def lost(self, link: PeerLink, reason: str) -> None:
        """See `Listener.lost`. `ended` follows."""
        del reason
        self._known.pop(link, None)

    def hints(self, addresses: Sequence[str], by: PeerInfo) -> None:
        """See `Listener.hints`."""
        del by
        world = self.node.world
        for address in addresses:
            if self.over or len(self._ends) >= world.plan.degree:
                return
            other = world.at.get(address)
            if other is not None:
                self.dial(other)


class _Known:
    """A peer, and what it said before it was a source."""

    __slots__ = ("choked", "have", "source")

    def __init__(self) -> None:
        self.source: Source | None = None
        self.have: HaveMap | None = None
        self.choked = False


def _any_job(job: int) -> bool:
    del job
    return True
