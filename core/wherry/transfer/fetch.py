"""Fetches jobs from sources, those that are named, found or met; all of it under one task group (D6).

`wherry.transfer.scheduler` decides who is asked for what, and `wherry.transfer.asking` asks.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Literal

from wherry.errors import PeerBusy, PeerDenied, PeerError, UsageError
from wherry.flow import FREE
from wherry.limits import FIRST_SOURCE_S
from wherry.observe import Note, PeerFailed, quiet
from wherry.redaction import masked
from wherry.transfer.asking import STILL_S, Asking, scheme_of
from wherry.transfer.bell import Bell
from wherry.transfer.choice import Choice
from wherry.transfer.complaints import bare, tells
from wherry.transfer.doubt import Doubt
from wherry.transfer.ending import end_of, reasons_of
from wherry.transfer.guard import adopted
from wherry.transfer.idle import named, reason_of
from wherry.transfer.jobs import Job, LeafJob, NodeJob
from wherry.transfer.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.exchange import HaveMap
    from wherry.abc.policy import Policy
    from wherry.abc.transport import Channel
    from wherry.block import Block
    from wherry.buffers import BufferPool
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.observe import Emit, Observe
    from wherry.transfer.circle import Circle
    from wherry.transfer.member import Membership
    from wherry.transfer.source import Source
    from wherry.transfer.waiting import Order
    from wherry.transfer.why import Ledger

    Connect = Callable[[str], AbstractAsyncContextManager[Channel]]

_LOOK_AGAIN_S: Final = 1.0  # whether those are still there for whose sake a busy source is spared
_SNUBBED_S: Final = 30.0  # choked by all for so long, a get asks for further sources, and again after as long
_VERDICT_S: Final = 0.25
_SILENT_S: Final = 5.0  # nobody answers for so long: it is said, for there is nothing else to see
_STILL: Final = "nothing complete comes"
_QUEUE_JOBS: Final = 16  # jobs made ahead of the sources; each is only a list of wants, of 1.4 KB at the least
_FIRST_JOBS: Final = 1  # the same on a limited link, as long as no more are done: of a thousand transfers most wait for it
_DONE_A_JOB: Final = 4  # then one more for each so many done: a job is a fifth of a second of the limit, and soon made
_SWARM_JOBS: Final = 1024  # the same in a swarm, where there must be something to choose from: a GiB of leaves ...
_SWARM_WANTS: Final = 16_384  # ... but of small files no more than so many: some 10 MB of memory
_RNG: Final = random.Random()  # noqa: S311  # jitter is no secret; 2.5 KB, of which a thousand transfers need but one
_SWARM_JOB_BYTES: Final = 1 << 20  # a job in a swarm: what one has, another can soon ask for


class Fetcher:
    """Runs jobs on sources. Made and used on one loop; `run` is a task of the caller's group."""

    __slots__ = (
        "_asking", "_bell", "_cut", "_doubt", "_emit", "_find", "_finding", "_group", "_ledger", "_lost", "_observe", "_pool",
        "_scheduler", "_snubbed_at", "_told", "_wait_s", "_wanted_at", "connect", "flow",
    )  # fmt: skip

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Connect,
        pool: BufferPool,
        *,
        wait_s: float,
        observe: Observe,
        policy: tuple[str, Policy] | None = None,
        find: Callable[[], AsyncGenerator[str, None]] | None = None,
        emit: Emit = quiet,
        order: Order = "rarest",
        flow: Flow = FREE,
        ledger: Ledger | None = None,
        circle: Circle | None = None,
        lost: Callable[[CID], str] = lambda _cid: "",
    ) -> None:
        """``policy`` chooses among several sources, and is what it is called; None: whoever is free takes the oldest job.

        ``find`` gives more addresses as they are found; it is called when the first block is wanted, if one ever is.
        ``lost`` says why a block that was on this machine is not any more; it is asked where there is no source.
        """
        self.connect = connect  # opens a channel to an address, in the way in which it may be dialled
        self._pool = pool
        self._observe = observe
        self._emit = emit
        self._wait_s = wait_s
        choice = Choice(policy[1], _RNG, time.monotonic, self._warn, policy[0]) if policy is not None else None
        self._scheduler: Scheduler[Job] = Scheduler(
            list(addresses), now=time.monotonic(), rng=_RNG, wait_s=wait_s, choice=choice, order=order
        )
        self._bell = Bell()
        self._asking = Asking(self._scheduler, pool, self._bell, observe=observe, emit=emit, flow=flow)
        self.flow = flow  # what of the link it may use
        self._ledger = ledger
        self._asking.circle = circle
        self._find = find
        self._lost = lost
        self._finding = find is not None  # more sources may come
        self._wanted_at: float | None = None  # when anything at all was wanted
        self._group: asyncio.TaskGroup | None = None
        self._snubbed_at: float | None = None  # since when all sources choke us, or when others were asked for since
        self._cut = False  # whether jobs are small, as in a swarm
        self._told: Literal["", "found", "answered"] = ""  # what, as long as no source was reached, was said not to be yet
        self._doubt: Doubt | None = None  # of a job that nobody seems to have

    @property
    def sources(self) -> list[Source]:
        """What is known of each source."""
        return self._scheduler.sources

    @property
    def wire_bytes(self) -> int:
        """Payload received."""
        return self._asking.wire_bytes

    def _warn(self, text: str) -> None:
        self._observe(Note("warning", text))

    # What the verbs ask for

    async def nodes(self, cids: Sequence[CID], *, deadline: float = math.inf) -> dict[CID, Block]:
        """Fetches the first of ``cids``, and the others as far as they come along. Waits while sources are away.

        ``deadline``: who reads along needs it at that time (of `time.monotonic`); of several the nearest comes first.
        """
        answer: asyncio.Future[dict[CID, Block]] = asyncio.get_running_loop().create_future()
        self._scheduler.put(NodeJob(cids, answer), urgent=True, now=time.monotonic(), deadline=deadline)
        self._wanted_at = self._wanted_at or time.monotonic()
        self._bell.ring()
        return await answer

    async def put(self, job: Job) -> None:
        """Takes a job of leaves to be done; waits while many are ahead of it."""
        self._want()
        while self._scheduler.waiting >= self._most_ahead():
            await self._bell.heard(1.0)
        self._scheduler.more = True
        now = time.monotonic()
        for part in _parts(job) if self._cut else [(job, job.size, job.spans)]:
            self._asking.open_jobs += 1
            self._asking.open_wants += len(part[0].wants)
            self._scheduler.put(part[0], size=part[1], now=now, spans=part[2])
        self._bell.ring()

    def _want(self) -> None:
        if self._wanted_at is None:
            self._wanted_at = time.monotonic()
            self._bell.ring()  # whoever waits to seek sources

    def _most_ahead(self) -> int:
        if not self._scheduler.swarming:
            done = self._asking.done_jobs // _DONE_A_JOB
            return min(max(_FIRST_JOBS, done), _QUEUE_JOBS) if self.flow.limited else _QUEUE_JOBS
        if not self._cut:
            self._cut = True
            self._asking.open_jobs += self._scheduler.recut(_SWARM_JOB_BYTES, _parts)
        return _SWARM_JOBS if self._asking.open_wants < _SWARM_WANTS else _QUEUE_JOBS

    async def drained(self) -> None:
        """Waits until every leaf job is done. Say it when there will be no more: a policy may know how to end."""
        self._scheduler.more = False
        while self._asking.open_jobs:
            await self._bell.heard(1.0)

    async def sought(self) -> list[str]:
        """Waits until all sources are known that can be found; gives their addresses."""
        self._want()
        while self._finding:
            await self._bell.heard(1.0)
        return [source.address for source in self.sources]

    # The sources

    async def run(self) -> None:
        """Works until cancelled. Raises NoSource, BlockNotFound or IntegrityError when there is no way on."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for source in self.sources:
                group.create_task(self._source(source))
            if self._find is not None:
                group.create_task(self._seek(self._find, group))
            while True:
                self._judge()
                self._tell()
                self._account()
                self._ask_again(group)
                await self._bell.heard(_VERDICT_S)

    async def _seek(self, find: Callable[[], AsyncGenerator[str, None]], group: asyncio.TaskGroup) -> None:
        """Asks for sources once anything is wanted, and takes them in as they come."""
        while self._wanted_at is None:
            await self._bell.heard(1.0)
        async with aclosing(find()) as addresses:
            async for address in addresses:
                if all(source.address != address for source in self.sources):
                    group.create_task(self._source(self._scheduler.add(address, time.monotonic())))
        self._finding = False
        self._bell.ring()

    def _ask_again(self, group: asyncio.TaskGroup) -> None:
        """Asks for further sources, or says that there are none, if all that there are serve others for a while."""
        now = time.monotonic()
        if not self._scheduler.snubbed:
            self._snubbed_at = None
        elif self._snubbed_at is None:
            self._snubbed_at = now
        elif not self._finding and now - self._snubbed_at >= _SNUBBED_S:
            self._snubbed_at, self._finding = now, self._find is not None
            if self._find is None:
                self._observe(Note("warning", "all peers serve others for now; waiting for a turn"))
                return
            self._observe(Note("info", "all peers serve others for now; asking for further ones"))
            group.create_task(self._seek(self._find, group))

    def _judge(self) -> None:
        verdict = self._scheduler.verdict(time.monotonic()) if not self._finding else None
        if verdict is None:
            return
        end = end_of(verdict, self.sources, wait_s=self._wait_s, sought=self._find is not None, lost=self._lost)
        if self._doubt is None and verdict.kind == "absent" and any(want.size is not None for want in verdict.job.wants):
            self._doubt = Doubt(verdict.job, end)
            self._scheduler.put(self._doubt.again, urgent=True, now=time.monotonic())
            self._bell.ring()
        elif self._doubt is None or not self._doubt.concerns(verdict.job):
            raise end
        elif self._doubt.over(verdict.job):
            raise self._doubt.end

    def _tell(self) -> None:
        """Says that nothing comes, if that takes a while: nobody is found, or has answered yet, or who is asked is silent."""
        now, sources = time.monotonic(), self.sources
        if any(source.reached for source in sources):
            if still := self._asking.still_s(now):
                silent = [one for one in sources if one.working and not one.choked and tells(one, _STILL, now, fault=False)]
                if silent:
                    self._observe(Note("info", f"nothing complete has come for {still:.0f} s from {named(silent)}"))
        elif not sources:
            if self._finding and self._wanted_at is not None and now - self._wanted_at >= STILL_S and not self._told:
                self._told = "found"
                self._observe(Note("info", "no source is found yet; those who may know one are still asked"))
        elif self._told != "answered" and now - min(source.since for source in sources) >= _SILENT_S:
            self._told = "answered"
            most = min(FIRST_SOURCE_S, self._wait_s) if all(source.failures for source in sources) else FIRST_SOURCE_S
            self._observe(Note("info", f"no source has answered yet ({reasons_of(sources)}); trying for up to {most:.0f} s"))

    def _account(self) -> None:
        if self._ledger is not None:
            now = time.monotonic()
            self._ledger.now(*reason_of(self._scheduler, self.flow, now, self._asking.came_at, seeking=self._finding))

    async def _source(self, source: Source) -> None:
        while not source.denied:
            reason, for_good, source.busy = "", False, False
            try:
                async with self.connect(source.address) as channel:
                    await self._asking.speak(source, channel)
            except PeerError as problem:
                reason, for_good = problem.message, isinstance(problem, PeerDenied)
                source.hint = (problem.hint or "") if for_good else ""
                source.busy = source.busy or isinstance(problem, PeerBusy)
                self._emit(PeerFailed(scheme=scheme_of(source), error=type(problem).__name__))
            _obey_cancellation()
            now = time.monotonic()
            if source.reached and not for_good and not source.busy and tells(source, reason, now):
                why = bare(reason, source.address) or "it ended the connection"
                left = max(0.0, self._wait_s - (now - source.since if source.failures else 0.0))
                self._observe(Note("warning", f"{masked(source.address)} is gone ({why}); trying again for up to {left:.0f} s"))
            seconds = self._scheduler.gone(source, now, reason, for_good=for_good, busy=source.busy)
            self._bell.ring()
            await self._stand_back(source, seconds)

    async def _stand_back(self, source: Source, seconds: float) -> None:
        """Waits before a source is called again: for one that is busy only while others are there."""
        left = seconds
        while left > 0:
            step = min(left, _LOOK_AGAIN_S)
            await asyncio.sleep(step)
            left -= step
            if source.busy_until and not self._scheduler.stands_by(source):
                break
        source.busy_until, source.rest_until = 0.0, min(source.rest_until, time.monotonic())

    # Peers of the swarm, which `Membership` tells of

    def join(self, member: Membership) -> None:
        """Hears of the peers of a swarm from now on."""
        self._asking.member = member

    def adopt(self, address: str, channel: Channel) -> asyncio.Task[None] | None:
        """Takes a peer that dialled this node as a source, until its connection is gone. None: nothing is fetched any more."""
        if self._group is None:
            return None
        source = self._scheduler.add(address, time.monotonic())
        return self._group.create_task(self._adopted(source, channel))

    async def _adopted(self, source: Source, channel: Channel) -> None:
        reason = ""
        try:
            await self._asking.speak(source, adopted(channel, source.address))
        except PeerError as problem:
            reason = problem.message
        finally:
            self._scheduler.gone(source, time.monotonic(), reason, for_good=True)
            if not source.working:
                self._scheduler.drop(source)
            self._bell.ring()

    def dial(self, address: str, connect: Connect) -> None:
        """Takes an address that a peer named as a source, to be reached by ``connect``."""
        if self._group is None or any(source.address == address for source in self.sources):
            return
        source = self._scheduler.add(address, time.monotonic())
        self._group.create_task(self._hearsay(source, connect))

    async def _hearsay(self, source: Source, connect: Connect) -> None:
        """Speaks with a peer that another one named. One that cannot be reached is let go: if it wants to, it will call.

        One that was of use is called again: it may only have ended what it had called us for itself.
        """
        lost = True
        while lost:
            reason, lost, before = "", False, source.blocks
            try:
                async with connect(source.address) as channel:
                    await self._asking.speak(source, channel)
            except PeerError as problem:
                reason = problem.message
                lost = source.blocks > before and not isinstance(problem, PeerDenied)
            except UsageError as problem:
                reason = f"cannot be dialled: {problem.message}"
            _obey_cancellation()
            seconds = self._scheduler.gone(source, time.monotonic(), reason, for_good=not lost)
            self._bell.ring()
            if lost:
                await asyncio.sleep(seconds)
        self._scheduler.drop(source)

    def learned(self, source: Source, have: HaveMap | None, gained: Sequence[tuple[int, int]] | None) -> None:
        """A source says what it has."""
        self._scheduler.have(source, time.monotonic(), have, gained)
        if self._scheduler.swarming:
            self._most_ahead()
        self._bell.ring()

    def choked(self, source: Source, *, on: bool) -> None:
        """A source answers nothing until further notice, or does again."""
        self._scheduler.choked(source, on=on)
        self._bell.ring()


def _parts(job: Job) -> list[tuple[Job, int, Sequence[tuple[int, int]]]]:
    """Gives the smaller jobs that one consists of."""
    parts: Sequence[Job] = job.split(_SWARM_JOB_BYTES) if isinstance(job, LeafJob) else [job]
    return [(part, part.size, part.spans) for part in parts]


def _obey_cancellation() -> None:
    """Raises CancelledError if this task was cancelled: a task group drops that if one of its tasks fails meanwhile.

    Until Python 3.13 (https://github.com/python/cpython/issues/116720). Whoever called would wait for this task for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
