"""Runs the transfers of a daemon: what the pure parts beside it decide, done on one event loop (specs/0027 §4, §5).

A change that a user asked for is in state.db before it is answered. Which transfers run at the moment is not kept: a daemon
that was killed finds them queued, and what they had fetched lies beside their targets with a journal (specs/0010).
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from wherry.daemon import queue, retry
from wherry.daemon.entry import Entry
from wherry.daemon.news import News
from wherry.daemon.record import Failure, Record
from wherry.daemon.requests import overlap, parse_number
from wherry.daemon.states import OVER, UNFINISHED, after
from wherry.errors import LimitExceeded, NotFound, StoreError, TargetBusy, WherryError
from wherry.limits import TRANSFERS_MAX, TRANSFERS_OVER_MAX
from wherry.observe import Progress, TransferChanged, quiet
from wherry.offload import in_thread, settled
from wherry.results import GetResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from random import Random

    from wherry.daemon.record import Asked
    from wherry.daemon.reports import TransferReport, TransferWhy
    from wherry.daemon.requests import Change
    from wherry.daemon.states import Action, State
    from wherry.observe import Emit, Observe, Shown

KEEP_S: Final = 10.0  # between two times that how far transfers are is written: so much a daemon that is killed forgets
PAUSE_S: Final = 5.0  # how long a pause waits until nothing is written any more; it is paused either way
_log = logging.getLogger("wherry.daemon")


class Keeper(Protocol):
    """Where transfers are kept: `wherry.store.state.StateDB`. Called in threads."""

    def add_transfer(self, record: str) -> int:
        """Keeps a new one; gives its number."""

    def put_transfer(self, number: int, record: str) -> None:
        """Keeps what one is now."""

    def put_transfers(self, records: Sequence[tuple[int, str]]) -> None:
        """Keeps what several are now, at once."""

    def drop_transfers(self, numbers: Iterable[int]) -> None:
        """Forgets some."""

    def transfers(self) -> list[tuple[int, str]]:
        """Lists all."""


class Get(Protocol):
    """Fetches one transfer to its end; cancelled, it keeps what it has. Raises WherryError."""

    async def __call__(self, entry: Entry, observe: Observe) -> object:
        """Runs it; gives what `Session.get` does."""


class Runner:
    """All transfers of a daemon. For one event loop; make it with `running`."""

    def __init__(
        self,
        get: Get,
        keeper: Keeper,
        *,
        most: int,
        retries: int,
        rng: Random,
        emit: Emit = quiet,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """At most ``most`` run at a time; each is tried again up to ``retries`` times without a byte."""
        self.news = News()
        self._get = get
        self._keeper = keeper
        self._most = most
        self._retries = retries
        self._rng = rng
        self._emit = emit
        self._clock = clock
        self._now = now
        self._entries: dict[int, Entry] = {}
        self._lock = asyncio.Lock()  # held while a change is written: changes come one after the other
        self._bell = asyncio.Event()
        self._closing = False

    async def load(self) -> None:
        """Reads what an earlier daemon left. What cannot be read is said, left alone and left out."""
        for number, text in await in_thread(self._keeper.transfers):
            try:
                record = Record.of_text(number, text)
            except StoreError as problem:
                _log.warning("%s", problem.message)
                continue
            self._entries[number] = Entry(record, self._clock)

    # What is asked of it

    def listing(self) -> list[TransferReport]:
        """Tells of all transfers: those under way first, in the order of the queue, then the others, the newest first."""
        alive = [entry for entry in self._entries.values() if entry.record.state not in OVER]
        over = [entry for entry in self._entries.values() if entry.record.state in OVER]
        alive.sort(key=lambda entry: (entry.record.state != "running", queue.place(entry.record)))
        over.sort(key=lambda entry: -entry.record.number)
        return [entry.report() for entry in (*alive, *over)]

    def show(self, name: str) -> TransferReport:
        """Tells of one. Raises NotFound, UsageError."""
        return self._find(name).report()

    def record(self, name: str) -> Record:
        """Gives the record of one. Raises NotFound, UsageError."""
        return self._find(name).record

    def records(self) -> list[Record]:
        """Gives all records."""
        return [entry.record for entry in self._entries.values()]

    def shown(self, number: int) -> TransferReport | None:
        """Tells of one by its number; None if it is forgotten."""
        entry = self._entries.get(number)
        return entry.report() if entry is not None else None

    def why(self, name: str) -> TransferWhy:
        """Tells where the time of one went. Raises NotFound, UsageError."""
        return self._find(name).why()

    def count(self) -> dict[str, int]:
        """Counts transfers by state."""
        found: dict[str, int] = {}
        for entry in self._entries.values():
            found[entry.record.state] = found.get(entry.record.state, 0) + 1
        return found

    @property
    def sources_alive(self) -> int:
        """Sources that transfers are connected to now."""
        return sum(entry.sources_alive for entry in self._entries.values() if entry.record.state == "running")

    async def add(self, asked: Asked) -> TransferReport:
        """Takes a new transfer, which is kept when this returns. Raises TargetBusy, LimitExceeded, StoreError."""
        async with self._lock:
            self._check_new(asked)
            at = self._now()
            record = Record(number=0, asked=asked, added=at, changed=at)
            number = await in_thread(partial(self._keeper.add_transfer, record.to_text()))
            entry = self._entries[number] = Entry(replace(record, number=number), self._clock)
            self._emit(self._event(entry.record))
            self._told(entry)
            return entry.report()

    async def change(self, name: str, change: Change) -> TransferReport:
        """Gives a transfer other settings. Raises NotFound, UsageError, StoreError."""
        async with self._lock:
            entry = self._find(name)
            record = replace(entry.record, asked=change.of(entry.record.asked))
            if change.seed is True and record.state == "complete":
                record = replace(record, state=after(record.state, "seed"))
            elif change.seed is False and record.state == "seeding":
                record = replace(record, state=after(record.state, "unseed"))
            await self._keep(entry, record)
            return entry.report()

    async def act(self, name: str, action: Action) -> TransferReport:
        """Pauses, resumes or cancels. It is kept when this returns, and of a paused one nothing is written any more.

        Raises NotFound, UsageError for what its state does not allow, StoreError.
        """
        async with self._lock:
            entry = self._find(name)
            record = entry.record
            at_once = action == "resume" and record.state == "queued" and record.retry_at is not None
            state = record.state if at_once else after(record.state, action, record.id)
            if action == "resume":
                record = replace(record, failures=0, retry_at=None, failure=None)
            await self._keep(entry, replace(record, state=state))
            if at_once and entry.record.state == "queued":
                entry.settle()  # it waits for a place now
            task = entry.task if state != "queued" else None
            if task is not None:
                task.cancel()
        if task is not None:
            await asyncio.wait([task], timeout=PAUSE_S)
        await self._forget_old()
        return entry.report()

    def _find(self, name: str) -> Entry:
        entry = self._entries.get(parse_number(name))
        if entry is None:
            raise NotFound(f"there is no transfer {name}", hint="`wherry transfers` lists them")
        return entry

    def _check_new(self, asked: Asked) -> None:
        mine = [entry.record for entry in self._entries.values() if entry.record.state in UNFINISHED]
        if len(mine) >= TRANSFERS_MAX:
            raise LimitExceeded(f"there are {len(mine)} transfers already", hint="cancel some, or wait until some are done")
        for record in mine:
            if overlap(record.asked.output, asked.output):
                raise TargetBusy(
                    f"transfer {record.id} writes {record.asked.output!r} already", hint=f"`wherry transfers show {record.id}`"
                )

    # The loop

    async def run(self) -> None:
        """Starts what may run, whenever something changes. Runs until cancelled, and ends with what it started."""
        try:
            while True:
                self._bell.clear()
                self._start()
                wait = queue.next_try((entry.record for entry in self._entries.values()), self._now())
                try:
                    # No wait is longer than the longest pause: a clock that was set back must not stop anything for long.
                    async with asyncio.timeout(None if wait is None else min(wait, retry.PAUSE_S_MAX)):
                        await self._bell.wait()
                except TimeoutError:
                    continue
        finally:
            self._closing = True
            tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
            for task in tasks:
                task.cancel()
            await settled(tasks)
            await self._keep_progress()

    async def keep(self) -> None:
        """Writes now and then how far those are that run. Works until cancelled."""
        while True:
            await asyncio.sleep(KEEP_S)
            await self._keep_progress()

    async def _keep_progress(self) -> None:
        """Writes how far those are that moved since it was written. A full disk is told of where states are kept, once each."""
        async with self._lock:
            moved = [entry.record for entry in self._entries.values() if entry.record.fetched_bytes != entry.kept_bytes]
            if not moved:
                return
            records = [(record.number, _kept(record)) for record in moved]
            with suppress(WherryError):
                await in_thread(partial(self._keeper.put_transfers, records))
                for record in moved:
                    if (entry := self._entries.get(record.number)) is not None:
                        entry.kept_bytes = record.fetched_bytes

    def _start(self) -> None:
        records = [entry.record for entry in self._entries.values()]
        busy = {number for number, entry in self._entries.items() if entry.task is not None}
        for record in queue.to_start(records, busy, self._most, self._now()):
            entry = self._entries[record.number]
            self._become(entry, after(record.state, "start"))
            entry.begin()
            entry.task = asyncio.create_task(self._run(entry), name=f"transfer {record.id}")
            entry.task.add_done_callback(partial(self._ended, entry))  # also of one that is cancelled before it begins

    def _ended(self, entry: Entry, task: asyncio.Task[None]) -> None:
        del task
        entry.task = None
        if not self._closing and entry.record.state == "running":
            self._become(entry, "queued")
        self._bell.set()

    async def _run(self, entry: Entry) -> None:
        try:
            result = await self._get(entry, partial(self._observe, entry))
        except WherryError as problem:
            await self._failed(entry, problem)
        except Exception as problem:  # noqa: BLE001 - a fault in one transfer must not end the others
            _log.exception("transfer %s", entry.record.id)
            await self._failed(entry, WherryError(f"unexpected {type(problem).__name__}: {problem}"[:500]))
        else:
            if isinstance(result, GetResult):
                entry.whole(result.bytes)
            await self._finished(entry)

    def _observe(self, entry: Entry, event: Shown) -> None:
        if isinstance(event, Progress):
            if entry.progress(event):
                self.news.tell(entry.record.number)
        elif event.level == "warning":
            _log.info("transfer %s: %s", entry.record.id, event.text)

    async def _finished(self, entry: Entry) -> None:
        async with self._lock:
            if entry.record.state != "running":
                return  # paused in the last moment: resuming it finds that it is whole
            state = after(entry.record.state, "finish")
            if entry.record.asked.seed:
                state = after(state, "seed")
            record = replace(entry.record, state=state, failures=0, retry_at=None, failure=None)
            await self._keep_or_say(entry, record)
        await self._forget_old()

    async def _failed(self, entry: Entry, problem: WherryError) -> None:
        async with self._lock:
            record = entry.record
            if record.state != "running":
                return
            failures = record.failures + 1
            again = retry.may_retry(problem) and not retry.spent(failures, self._retries)
            wait = retry.pause(failures, self._rng.random())
            record = replace(
                record, state=after(record.state, "retry" if again else "fail"), failures=failures,
                retry_at=self._now() + wait if again else None,
                failure=Failure(
                    error=type(problem).__name__, message=problem.message, hint=problem.hint, exit_code=problem.exit_code
                ),
            )  # fmt: skip
            await self._keep_or_say(entry, record)

    # Changes

    async def _keep(self, entry: Entry, record: Record) -> None:
        """Writes what a transfer is to be, and then makes it so. What started while its settings changed goes on."""
        before = entry.record.state
        await in_thread(partial(self._keeper.put_transfer, record.number, _kept(record)))
        entry.kept_bytes = record.fetched_bytes
        self._make(entry, record if record.state != before else replace(record, state=entry.record.state))

    async def _keep_or_say(self, entry: Entry, record: Record) -> None:
        """The same for what nobody asked for. A full disk keeps no transfer from its end: the next daemon finds it queued."""
        try:
            await self._keep(entry, record)
        except WherryError as problem:
            _log.warning("transfer %s is not kept: %s", record.id, problem.message)
            self._make(entry, record)

    def _make(self, entry: Entry, record: Record) -> None:
        now = entry.record  # progress may have come meanwhile
        entry.record = replace(
            record, state=now.state, bytes_done=now.bytes_done, bytes_total=now.bytes_total, fetched_bytes=now.fetched_bytes
        )
        self._become(entry, record.state)

    def _become(self, entry: Entry, state: State) -> None:
        if entry.record.state != state:
            entry.record = replace(entry.record, state=state, changed=self._now())
            entry.settle()
            self._emit(self._event(entry.record))
        self._told(entry)

    def _event(self, record: Record) -> TransferChanged:
        failure = record.failure if record.state in ("queued", "failed") else None  # that one was, is past
        error = failure.error if failure is not None else None
        return TransferChanged(state=record.state, traffic_class=record.asked.traffic_class, error=error)

    def _told(self, entry: Entry) -> None:
        self.news.tell(entry.record.number)
        self._bell.set()

    async def _forget_old(self) -> None:
        """Forgets those that were over first, beyond so many; of one whose run still ends, its place is taken until then."""
        over = [(entry.record.changed, number) for number, entry in self._entries.items() if entry.record.state in OVER]
        ended = [number for _, number in sorted(over) if self._entries[number].task is None]
        old = ended[: max(0, len(over) - TRANSFERS_OVER_MAX)]
        if old:
            for number in old:
                del self._entries[number]
                self.news.tell(number)
            try:
                await in_thread(partial(self._keeper.drop_transfers, old))
            except WherryError as problem:
                _log.warning("old transfers are not forgotten: %s", problem.message)


def _kept(record: Record) -> str:
    """Gives what is written of it: what runs is queued to the daemon that reads it."""
    return (replace(record, state="queued") if record.state == "running" else record).to_text()


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[None]:
    """Loads and runs ``runner`` while the context lasts. Left, all its transfers have ended and kept what they have.

    A fault in the runner itself ends the body and is raised, as what the body raises is: no daemon goes on without it.
    """
    await runner.load()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(runner.keep(), name="progress"), group.create_task(runner.run(), name="transfers")]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from problems
