"""Asks sources for jobs: as many at a time as each takes, all under the task group of its connection (D6).

The scheduler decides, this obeys. A job that two sources are asked for is a flight with each; the first to bring it ends the
other.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from wherry.abc.exchange import SupportsInfo
from wherry.errors import DialDenied, PeerBusy, PeerDenied, PeerError, PeerUnreachable, UnaskedBlocks, WherryError, WrongLength
from wherry.limits import POLICY_IDLE_S
from wherry.names import shown
from wherry.observe import Connected, Fetched, Note, PeerFailed, Rejected
from wherry.redaction import masked
from wherry.traffic.peers import host_of
from wherry.transfer.complaints import bare, recovers, tells
from wherry.transfer.guard import GuardedChannel
from wherry.transfer.jobs import Job, LeafJob, NodeJob
from wherry.transfer.request import fetch_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.exchange import PeerInfo
    from wherry.abc.transport import Channel
    from wherry.buffers import BufferPool
    from wherry.flow import Flow
    from wherry.observe import Emit, Observe
    from wherry.transfer.bell import Bell
    from wherry.transfer.circle import Circle
    from wherry.transfer.member import Membership
    from wherry.transfer.scheduler import Scheduler
    from wherry.transfer.source import Source, Task

STILL_S: Final = 10.0  # nothing comes for so long: it is said
_KEEP_S: Final = 15.0  # a kill loses what a peer did since it was told of last
_LOOK_S: Final = 0.1  # between two looks at what others are late with
_WRITING_S: Final = 0.01  # the same at what a thread writes

_NOBODY: Final[frozenset[asyncio.Task[None]]] = frozenset()  # shared: each empty one takes 216 bytes


class _Reconnect(Exception):
    """The source is gone: connect anew."""

    def __init__(self, reason: str, *, denied: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.denied = denied


class Asking:
    """The flights of one get. For one loop."""

    __slots__ = (
        "_asked_at", "_beaten", "_bell", "_emit", "_flow", "_flying", "_observe", "_pool", "_scheduler", "came_at", "circle",
        "done_jobs", "member", "open_jobs", "open_wants", "wire_bytes",
    )  # fmt: skip

    def __init__(
        self, scheduler: Scheduler[Job], pool: BufferPool, bell: Bell, *, observe: Observe, emit: Emit, flow: Flow
    ) -> None:
        self._scheduler = scheduler
        self._pool = pool
        self._bell = bell
        self._observe = observe
        self._emit = emit
        self._flying: dict[tuple[Task[Job], Source], asyncio.Task[None]] = {}
        self._beaten = _NOBODY  # whose job another source has brought: few, if any
        self.member: Membership | None = None  # in the swarm
        self.circle: Circle | None = None  # who remembers peers
        self.open_jobs = 0  # leaf jobs not yet done
        self.done_jobs = 0
        self.open_wants = 0  # of them
        self.wire_bytes = 0  # payload received
        self.came_at = 0.0  # when the last of it came
        self._asked_at = 0.0  # when somebody was asked after nobody was, or after a wait for leave
        self._flow = flow

    async def speak(self, source: Source, channel: Channel) -> None:
        """Asks a source for jobs over an open channel. Raises PeerUnreachable when it is gone, PeerDenied if it refuses us."""
        link = self.member.link_of(channel) if self.member is not None else None
        self._scheduler.connected(source, time.monotonic(), channel.parallel, linked=link is not None)
        source.plain = not channel.manifests
        self._emit(Connected(scheme_of(source)))
        info = link.info if link is not None else _info_of(channel)
        source.whom = (info.id or info.ip) if info is not None else ""
        if self.circle is not None and not source.met:
            source.met, source.standing = True, self.circle.met(source.address, info)
        if self.member is not None and link is not None:
            self.member.bind(link, source)
        self._bell.ring()
        kept, before = time.monotonic(), source.blocks
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    if self.circle is not None and time.monotonic() - kept > _KEEP_S:
                        kept = time.monotonic()
                        self.circle.keep(source.address, source.standing, info)
                    flight = self._next(source, channel)
                    if flight is None:
                        await self._bell.heard(self._patience(source))
                        continue
                    task, job = flight
                    if self._flow.limited:  # a second one would wait behind it: 2.5 KB, in each of a thousand transfers
                        source.leaving = True
                    if not self._scheduler.waiting:
                        self._bell.ring()  # for whoever makes more
                    if not self._flying:
                        self._asked_at = time.monotonic()
                    flying = self._flying[task, source] = group.create_task(self._fly(task, job, source, channel))
                    flying.add_done_callback(partial(self._landed, task, source))
        except* _Reconnect as problems:
            first = _first(problems)
            raise (PeerDenied if first.denied else PeerUnreachable)(first.reason, peer=source.address) from None
        finally:
            if self.circle is not None:
                self.circle.keep(source.address, source.standing, info)
                if source.blocks > before:
                    self.circle.useful(source.address)
            if self.member is not None and link is not None:
                self.member.unbind(link)

    def still_s(self, now: float) -> float:
        """Gives the seconds for which those who are asked have given nothing; 0.0 while they are not what is waited for."""
        still = now - max(self.came_at, self._asked_at)
        if not self._flying or still < STILL_S or (self._flow.limited and self._flow.waiting("down") is not None):
            return 0.0
        return 0.0 if any(task.job.settling for task, _ in self._flying) else still  # a disk may be slow, too

    def _next(self, source: Source, channel: Channel) -> tuple[Task[Job], Job] | None:
        """Gives what a source is to be asked for now."""
        if source.working >= channel.parallel or source.leaving:
            return None
        now = time.monotonic()
        task = self._scheduler.take(source, now)
        if task is not None:
            return task, task.job
        if not self._scheduler.hedging:
            return None
        task = self._scheduler.hedge(source, now, lambda job: isinstance(job, LeafJob | NodeJob))
        twin = task.job.twin() if task is not None else None
        return (task, twin) if task is not None and twin is not None else None

    def _patience(self, source: Source) -> float:
        now = time.monotonic()
        if now < source.rest_until:
            return max(0.05, source.rest_until - now)
        return _LOOK_S if self._scheduler.hedging and self._scheduler.under_way else POLICY_IDLE_S / 2

    async def _fly(self, task: Task[Job], job: Job, source: Source, channel: Channel) -> None:
        """Has one job done by one source."""
        try:
            await self._do(task, job, source, channel)
        except PeerUnreachable as problem:
            raise _Reconnect(problem.message) from problem
        except PeerError as problem:
            if source.linked and isinstance(problem, PeerDenied):  # not us; a server of files may mean one file
                raise _Reconnect(problem.message, denied=True) from problem
            source.hint = (problem.hint or "") if isinstance(problem, PeerDenied) else ""
            if tells(source, problem.message, time.monotonic()):
                level: Literal["info", "warning"] = "warning" if isinstance(problem, UnaskedBlocks) else "info"
                self._observe(Note(level, f"{masked(source.address)}: {bare(problem.message, source.address)}"))
            self._emit(PeerFailed(scheme=scheme_of(source), error=type(problem).__name__))
        except asyncio.CancelledError:
            if asyncio.current_task() not in self._beaten:
                raise
        finally:
            self._forgive(self._flying.pop((task, source)))
            self._scheduler.twice(job.repeated)
            self._scheduler.done(source, task, time.monotonic())
            self._bell.ring()

    def _landed(self, task: Task[Job], source: Source, flight: asyncio.Task[None]) -> None:
        """Puts back a job whose flight was ended before it began: nothing of `_fly` has run then."""
        if self._flying.get((task, source)) is flight:
            del self._flying[task, source]
            self._left(source)
            self._forgive(flight)
            if not task.over:
                self._scheduler.again(task, source)
            self._scheduler.done(source, task, time.monotonic())
            self._bell.ring()

    def _forgive(self, flight: asyncio.Task[None]) -> None:
        """It is over: it does not count as beaten any more."""
        if flight in self._beaten:
            self._beaten -= {flight}

    async def _do(self, task: Task[Job], job: Job, source: Source, channel: Channel) -> None:
        """Has a job done, and puts back what is left of it. Raises what `fetch_once` does."""
        before = job.progress
        try:
            await self._leave(task, job, source)
            missing, rejected = await self._asked(task, job, source, channel)
            while job.settling:  # another source brought the same a moment sooner: what came is no fault, and not to come again
                await self._bell.heard(_WRITING_S)
        except BaseException as problem:
            # Some of it may have arrived all the same: a cancelled fetch waits for its threads, which settle what they have.
            _, left = job.rest(set())
            if left is None:
                self._close(task, source, job)
                if isinstance(problem, PeerError):
                    return
                raise
            self._put_back(task, source, left)
            if isinstance(problem, PeerBusy) and source.choked:
                self._scheduler.refused(task, source, time.monotonic())
            elif isinstance(problem, DialDenied) and not source.linked and job.progress == before:
                source.reason, source.hint = problem.message, problem.hint or ""  # it leads elsewhere at each try
                self._scheduler.absent(task, source)
            elif isinstance(problem, PeerError):
                if wrong := isinstance(problem, UnaskedBlocks):
                    self._caught(channel, problem.message)
                vain = job.progress == before
                self._scheduler.failed(task, source, time.monotonic(), problem.message, rejected=int(wrong), vain=vain)
            elif not task.over:
                self._scheduler.again(task, source)
            raise
        if rejected:
            number, first = next(iter(rejected.items()))
            self._caught(channel, first.message)
            self._emit(Rejected(scheme=scheme_of(source), error=type(first).__name__, blocks=len(rejected)))
            path = job.wants[number].path  # who has the files looks there
            self._observe(Note("warning", f"{first.message} (in {shown(path)})" if path else first.message))
        absent, left = job.rest(missing - set(rejected))
        shared = absent is not None and bool(self._scheduler.others(task, source))
        if rejected and (left is None or shared):  # nothing goes back for what was wrong; else `bad` or `failed` tells of it
            source.standing.wrong(time.monotonic(), len(rejected))
        if absent is None and left is None:
            self._close(task, source, job)
            return
        if shared:
            self._scheduler.absent(task, source)  # the other source may have it: nothing is torn in two meanwhile
            return
        if absent is not None:
            part = task if left is None else task.part(absent, absent.spans)
            part.job, part.size, part.spans = absent, absent.size, absent.spans
            self.open_jobs += part is not task and not isinstance(absent, NodeJob)
            self._scheduler.absent(part, source)
        if left is None:
            return
        self._put_back(task, source, left)
        if rejected:
            reason = next(iter(rejected.values())).message
        else:
            reason = f"{masked(source.address)} answered with nothing that was asked for{_owed(channel)}"
        if job.progress == before:
            if not rejected:
                self._observe(Note("warning", reason))
            self._scheduler.bad(task, source, time.monotonic(), reason, rejected=len(rejected))
        elif rejected:
            self._scheduler.failed(task, source, time.monotonic(), reason, rejected=len(rejected))
        else:
            self._scheduler.again(task, source)

    async def _asked(
        self, task: Task[Job], job: Job, source: Source, channel: Channel
    ) -> tuple[set[int], dict[int, WherryError]]:
        """Asks for a job; raises and gives what `fetch_once` does.

        A block in another length than was asked for is asked for once more, of whatever length: right bytes show that its
        parent lies, which is an IntegrityError and nobody's fault, and wrong ones are a wrong block of the source.
        """
        try:
            return await fetch_once(channel, job, self._pool, source.address, self._count(source, task, job))
        except WrongLength as problem:
            number = next((number for number, want in enumerate(job.wants) if want.cid == problem.block), None)
            if number is None:  # of another job, whose connection was ended for it
                raise
            again = NodeJob([job.wants[number].cid])
            _, rejected = await fetch_once(channel, again, self._pool, source.address)
            job.compare(again.found)
            if not rejected:
                raise
            return set(), {number: rejected[0]}

    def _caught(self, channel: Channel, why: str) -> None:
        """A source sent a wrong block: one that proved who it is, is left, and kept out for a while."""
        link = self.member.link_of(channel) if self.member is not None else None
        info = link.info if link is not None else _info_of(channel)
        if self.circle is not None and self.circle.caught(info, why) and link is not None:
            link.close("it sent a wrong block")

    async def _leave(self, task: Task[Job], job: Job, source: Source) -> None:
        """Waits until what a job brings may come (specs/0026 §5). Who waits here is not asked yet, and so not late."""
        flow = self._flow.of_peer(source.whom or host_of(source.address))
        try:
            if not flow.limited:
                flow.moved(down=job.size)
                return
            await flow.down(job.size)
            self._asked_at = time.monotonic()
        finally:
            self._left(source)
        self._scheduler.waited(task, source, time.monotonic())

    def _left(self, source: Source) -> None:
        """Its job waits for leave no more: it may be given another one."""
        if source.leaving:
            source.leaving = False
            self._bell.ring()

    def _put_back(self, task: Task[Job], source: Source, left: Job) -> None:
        """Says what of a job is still to be done, unless another source is asked for all of it."""
        if not self._scheduler.others(task, source):
            self.open_wants -= len(task.job.wants) - len(left.wants) if not isinstance(left, NodeJob) else 0
            task.job, task.size, task.spans = left, left.size, left.spans

    def _close(self, task: Task[Job], source: Source, job: Job) -> None:
        """A job is done; whoever else is asked for it is told to leave it.

        Where some of what ``source`` brought had come already, another one is not late: a thread writes what that one brought.
        """
        if task.over:
            return
        task.over = True
        if isinstance(task.job, NodeJob):
            if task.job.answer is not None and not task.job.answer.done():
                task.job.answer.set_result(task.job.found)
        else:
            self.open_jobs -= 1
            self.done_jobs += 1
            self.open_wants -= len(task.job.wants)
        for other in self._scheduler.others(task, source):
            flight = self._flying[task, other]
            self._beaten |= {flight}
            self._scheduler.beaten(task, other, time.monotonic(), brought=job.repeated > 0)
            flight.cancel()

    def _count(self, source: Source, task: Task[Job], job: Job) -> Callable[[int, int, int], None]:
        before, used = time.monotonic(), job.progress + job.repeated

        def count(blocks: int, size: int, wire_bytes: int) -> None:
            nonlocal before, used
            self.wire_bytes += wire_bytes
            now = self.came_at = time.monotonic()
            last, used = used, job.progress + job.repeated
            if blocks and used != last:  # a part of a small file is of no use, so whoever sends nothing more fails
                self._scheduler.succeeded(source, now, blocks, size, task)
                if recovers(source):
                    self._observe(Note("info", f"{masked(source.address)} is back"))
                if self.member is not None:
                    self.member.credit(source, size)
                seconds, before = now - before, now
                self._emit(Fetched(scheme=scheme_of(source), blocks=blocks, bytes=size, wire_bytes=wire_bytes, seconds=seconds))

        return count


def scheme_of(source: Source) -> str:
    """Gives the scheme of a source's address, for events."""
    return source.address.partition(":")[0].lower()  # of a transport in use, or nobody would speak to it


def _info_of(channel: Channel) -> PeerInfo | None:
    """Tells who is at the other end of a channel without a link, where its transport knows."""
    inner = channel.inner if isinstance(channel, GuardedChannel) else channel
    return inner.info if isinstance(inner, SupportsInfo) else None


def _owed(channel: Channel) -> str:
    """Says what an empty answer lacks, and whose code gave it: the peer is at fault, or its transport."""
    code = f" ({channel.code})" if isinstance(channel, GuardedChannel) else ""
    return f", and did not say that it is missing: the peer, or its transport{code}, breaks its contract"


def _first(problems: BaseExceptionGroup[_Reconnect]) -> _Reconnect:
    problem: BaseException = problems
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem if isinstance(problem, _Reconnect) else _Reconnect(str(problem))
