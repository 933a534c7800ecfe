"""Fetches jobs from sources: a few tasks a source, all under one task group (D6). The scheduler decides, this obeys."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from wherry.errors import BlockNotFound, IntegrityError, NoSource, PeerDenied, PeerError, PeerUnreachable, WherryError
from wherry.limits import POLICY_IDLE_S
from wherry.observe import Connected, Fetched, Note, PeerFailed, Rejected, quiet
from wherry.offload import in_thread
from wherry.transfer.choice import Choice
from wherry.transfer.jobs import Job, JobLender, NodeJob
from wherry.transfer.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.policy import Policy
    from wherry.abc.transport import Channel
    from wherry.block import Block
    from wherry.buffers import BufferPool
    from wherry.cid import CID
    from wherry.observe import Emit, Observe
    from wherry.transfer.source import Source, Task

    Connect = Callable[[str], AbstractAsyncContextManager[Channel]]

_VERDICT_S = 0.25
_QUEUE_JOBS = 16  # jobs made ahead of the sources; each is only a list of wants


class _Reconnect(Exception):
    """The source is gone: connect anew."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Fetcher:
    """Runs jobs on sources. Made and used on one loop; `run` is a task of the caller's group."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Connect,
        pool: BufferPool,
        *,
        wait_s: float,
        observe: Observe,
        policy: Policy | None = None,
        find: Callable[[], AsyncGenerator[str, None]] | None = None,
        emit: Emit = quiet,
    ) -> None:
        """``policy`` chooses among several sources; None: whoever is free takes the oldest job.

        ``find`` gives more addresses as they are found; it is called when the first block is wanted, if one ever is.
        """
        self.connect = connect  # opens a channel to an address, in the way in which it may be dialled
        self._pool = pool
        self._observe = observe
        self._emit = emit
        self._wait_s = wait_s
        rng = random.Random()  # noqa: S311  # jitter is no secret
        choice = Choice(policy, rng, time.monotonic, self._warn) if policy is not None else None
        self._scheduler: Scheduler[Job] = Scheduler(
            list(addresses), now=time.monotonic(), rng=rng, wait_s=wait_s, choice=choice
        )
        self._bell = asyncio.Event()
        self._find = find
        self._finding = find is not None  # more sources may come
        self._wanted = asyncio.Event()  # anything at all
        self._open_jobs = 0  # leaf jobs not yet done
        self.wire_bytes = 0  # payload received

    @property
    def sources(self) -> list[Source]:
        """What is known of each source."""
        return self._scheduler.sources

    def _warn(self, text: str) -> None:
        self._observe(Note("warning", text))

    def _ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()

    async def _heard(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        except TimeoutError:
            return

    # What the verbs ask for

    async def nodes(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Fetches the first of ``cids``, and the others as far as they come along. Waits while sources are away."""
        answer: asyncio.Future[dict[CID, Block]] = asyncio.get_running_loop().create_future()
        self._scheduler.put(NodeJob(cids, answer), urgent=True, now=time.monotonic())
        self._wanted.set()
        self._ring()
        return await answer

    async def put(self, job: Job) -> None:
        """Takes a job of leaves to be done; waits while many are ahead of it."""
        while self._scheduler.waiting >= _QUEUE_JOBS:
            await self._heard(1.0)
        self._open_jobs += 1
        self._scheduler.more = True
        self._scheduler.put(job, size=job.size, now=time.monotonic())
        self._wanted.set()
        self._ring()

    async def drained(self) -> None:
        """Waits until every leaf job is done. Say it when there will be no more: a policy may know how to end."""
        self._scheduler.more = False
        while self._open_jobs:
            await self._heard(1.0)

    async def sought(self) -> list[str]:
        """Waits until all sources are known that can be found; gives their addresses."""
        self._wanted.set()
        while self._finding:
            await self._heard(1.0)
        return [source.address for source in self.sources]

    # The sources

    async def run(self) -> None:
        """Works until cancelled. Raises NoSource, BlockNotFound or IntegrityError when there is no way on."""
        async with asyncio.TaskGroup() as group:
            for source in self.sources:
                group.create_task(self._source(source))
            if self._find is not None:
                group.create_task(self._seek(self._find, group))
            while True:
                self._judge()
                await self._heard(_VERDICT_S)

    async def _seek(self, find: Callable[[], AsyncGenerator[str, None]], group: asyncio.TaskGroup) -> None:
        """Asks for sources once anything is wanted, and takes them in as they come."""
        await self._wanted.wait()
        async with aclosing(find()) as addresses:
            async for address in addresses:
                if all(source.address != address for source in self.sources):
                    group.create_task(self._source(self._scheduler.add(address, time.monotonic())))
        self._finding = False
        self._ring()

    def _judge(self) -> None:
        if self._finding:
            return
        verdict = self._scheduler.verdict(time.monotonic())
        if verdict is None:
            return
        what = f"block {verdict.job.wants[0].cid}"
        if not self.sources:
            missing = "no source is named" if self._find is None else "no source is named or found"
            raise NoSource(f"{what} is not here, and {missing}", hint="give --from ADDRESS, or keep one in [peers]")
        reasons = self._scheduler.reasons()
        if verdict.kind == "absent" and isinstance(verdict.job, NodeJob) and all(one.plain for one in self.sources):
            given = ", ".join(source.address for source in self.sources)
            raise BlockNotFound(
                f"the manifest ({what}) is not here, and {given} can't have it: plain files come from there, no manifests",
                hint="name a wherry peer that has the dataset besides, with one more --from; "
                "or, if the files lie on a disk here, make the manifest with `wherry add`",
            )
        if verdict.kind == "absent":
            raise BlockNotFound(f"no source has {what} ({reasons})", hint="ask a node that has the whole dataset")
        if verdict.kind == "corrupt":
            raise IntegrityError(f"{what} comes damaged from every source that has it ({reasons})", hint="name another source")
        if verdict.kind == "denied":
            raise PeerDenied(
                f"every source refuses us ({reasons})", peer=self.sources[0].address,
                hint="give the token of the source: WHERRY_TOKEN or --token-file",
            )  # fmt: skip
        hint = "check that a source serves, and its address; run the same command again to go on"
        if verdict.kind == "unreached":
            raise NoSource(f"no source could be reached ({reasons})", hint=hint)
        raise NoSource(f"no source was of any use for {self._wait_s:.0f} s ({reasons})", hint=hint)

    async def _source(self, source: Source) -> None:
        while not source.denied:
            reason, for_good = "", False
            try:
                async with self.connect(source.address) as channel:
                    self._scheduler.connected(source, time.monotonic(), channel.parallel)
                    source.plain = not channel.manifests
                    self._emit(Connected(_scheme(source)))
                    self._ring()
                    try:
                        async with asyncio.TaskGroup() as group:
                            for _ in range(channel.parallel):
                                group.create_task(self._work(source, channel))
                    except* _Reconnect as problems:
                        raise PeerUnreachable(_first(problems).reason, peer=source.address) from None
            except PeerError as problem:
                reason, for_good = problem.message, isinstance(problem, PeerDenied)
                self._emit(PeerFailed(scheme=_scheme(source), error=type(problem).__name__))
            if source.alive:
                self._observe(
                    Note("warning", f"{source.address} is gone ({reason}); trying again for up to {self._wait_s:.0f} s")
                )
            seconds = self._scheduler.gone(source, time.monotonic(), reason, for_good=for_good)
            self._ring()
            await asyncio.sleep(seconds)

    async def _work(self, source: Source, channel: Channel) -> None:
        while True:
            now = time.monotonic()
            task = self._scheduler.take(source, now)
            if task is None:
                await self._heard(max(0.05, source.rest_until - now) if now < source.rest_until else POLICY_IDLE_S / 2)
                continue
            try:
                await self._do(task, source, channel)
            except PeerUnreachable as problem:
                raise _Reconnect(problem.message) from problem
            except PeerError as problem:
                self._observe(Note("info", problem.message))
                self._emit(PeerFailed(scheme=_scheme(source), error=type(problem).__name__))
            finally:
                self._scheduler.done(source, task, time.monotonic())
                self._ring()

    async def _do(self, task: Task[Job], source: Source, channel: Channel) -> None:
        """Has one job done by one source, and puts back what is left of it. Raises what `fetch_once` does."""
        job = task.job
        before = job.progress
        try:
            missing, rejected = await fetch_once(channel, job, self._pool, source.address, self._count(source, task))
        except BaseException as problem:
            # Some of it may have arrived all the same: a cancelled fetch waits for its threads, which settle what they have.
            _, left = job.rest(set())
            if left is None:
                self._close(task)
                if isinstance(problem, PeerError):
                    return
                raise
            task.job, task.size = left, left.size
            if isinstance(problem, PeerError):
                self._scheduler.failed(task, source, time.monotonic(), problem.message)
            else:
                self._scheduler.again(task, source)
            raise
        if rejected:
            first = type(next(iter(rejected.values()))).__name__
            self._emit(Rejected(scheme=_scheme(source), error=first, blocks=len(rejected)))
        absent, left = job.rest(missing - set(rejected))
        if absent is None and left is None:
            self._close(task)
            return
        if absent is not None:
            part = task if left is None else task.part(absent)
            part.job, part.size = absent, absent.size
            self._open_jobs += part is not task and not isinstance(absent, NodeJob)
            self._scheduler.absent(part, source)
        if left is None:
            return
        task.job, task.size = left, left.size
        if rejected:
            reason = next(iter(rejected.values())).message
        else:
            reason = f"{source.address} answered with nothing that was asked for"
        if job.progress == before:
            self._warn(reason)
            self._scheduler.bad(task, source, time.monotonic(), reason, rejected=len(rejected))
        elif rejected:
            self._warn(reason)
            self._scheduler.failed(task, source, time.monotonic(), reason, rejected=len(rejected))
        else:
            self._scheduler.again(task, source)

    def _close(self, task: Task[Job]) -> None:
        if isinstance(task.job, NodeJob):
            if not task.job.answer.done():
                task.job.answer.set_result(task.job.found)
        else:
            self._open_jobs -= 1

    def _count(self, source: Source, task: Task[Job]) -> Callable[[int, int], None]:
        before = time.monotonic()

        def count(blocks: int, size: int) -> None:
            nonlocal before
            self.wire_bytes += size
            now = time.monotonic()
            if blocks:
                self._scheduler.succeeded(source, now, blocks, size, task)
                seconds, before = now - before, now
                self._emit(Fetched(scheme=_scheme(source), blocks=blocks, bytes=size, wire_bytes=size, seconds=seconds))

        return count


def _scheme(source: Source) -> str:
    return source.address.partition(":")[0].lower()  # of a transport in use, or nobody would speak to it


def _first(problems: BaseExceptionGroup[_Reconnect]) -> _Reconnect:
    problem: BaseException = problems
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem if isinstance(problem, _Reconnect) else _Reconnect(str(problem))


async def fetch_once(
    channel: Channel, job: Job, pool: BufferPool, peer: str, count: Callable[[int, int], None] | None = None
) -> tuple[set[int], dict[int, WherryError]]:
    """Asks a channel for a job, settles what arrives; gives the wants that are missing and those that were rejected.

    Raises PeerError from the channel, and what writing raises (LocalError).
    """
    missing: set[int] = set()
    rejected: dict[int, WherryError] = {}
    async with aclosing(channel.fetch(job.wants, JobLender(pool, job, peer))) as arrivals:
        async for arrival in arrivals:
            try:
                if not arrival.settled:
                    await in_thread(partial(job.settle, arrival, peer))
            finally:
                if arrival.buffer is not None:
                    arrival.buffer.release()
            if arrival.failure is not None:
                raise arrival.failure
            missing.update(arrival.missing)
            rejected.update(arrival.rejected)
            if count is not None:
                count(len(arrival.blocks) - len(arrival.rejected), sum(laid.stop - laid.start for laid in arrival.blocks))
    return missing, rejected
