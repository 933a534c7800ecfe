"""The plain face of the public API: the same session and verbs, blocking (specs/0011 §3).

    with Session.open() as session:
        print(session.add("dataset").cid)

One event loop runs in a thread of its own for the session's life; every call waits for its verb there. A session may be
used by several threads. KeyboardInterrupt cancels the verb and waits until it has ended cleanly. Leaving the session ends
what other threads still do in it, with UsageError. An observer is called on the loop's thread, so it calls no verb.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wherry.errors import UsageError
from wherry.offload import settled
from wherry.session import Session as AsyncSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.car_results import ExportResult, ImportResult
    from wherry.cid import CID
    from wherry.peer_results import PeerReport, RuleReport
    from wherry.results import (
        AddResult,
        CacheCleared,
        CacheStat,
        CacheWarmed,
        Check,
        EqualFiles,
        FindResult,
        GetPlan,
        GetResult,
        GrantResult,
        KeyReport,
        LsEntry,
        RepairResult,
        RewrapResult,
        SharedBytes,
        Stat,
        StoreStat,
        VerifyResult,
    )
    from wherry.store.state import RootRow

T = TypeVar("T")


class _Running(Generic[T]):
    """A task of the loop, seen from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]) -> None:
        """``tasks`` holds the task until it is done."""
        self.done: Future[T] = Future()
        self._loop = loop
        self._tasks = tasks
        loop.call_soon_threadsafe(self._start, work)

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._tasks.add(self._task)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self.done.cancel()
            return
        problem = task.exception()
        if problem is None:
            self.done.set_result(task.result())
        else:
            self.done.set_exception(problem)

    def cancel(self) -> None:
        """Cancels the task, if it still runs; does not wait."""
        if not self.done.done():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._task.cancel()  # `_start` was called before this

    def result(self, awaited: Future[Any] | None = None) -> Any:
        """Waits for ``awaited``, by default the task's own result. KeyboardInterrupt cancels the task and waits for its end."""
        try:
            return (awaited or self.done).result()
        except KeyboardInterrupt:
            self.cancel()
            self.settle()
            raise
        except CancelledError:
            raise UsageError("the session was closed while this verb ran") from None

    def settle(self) -> None:
        """Waits until the task is done, however it ends."""
        try:
            self.done.exception()
        except CancelledError:
            return


class _Loop:
    """An event loop in a thread, and the tasks that threads of the program wait for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wherry-loop", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def spawn(self, work: Coroutine[Any, Any, T], *, own: bool = False) -> _Running[T]:
        """Begins ``work`` as a task, which `end_all` ends unless it is the session's ``own``. Raises UsageError."""
        with self._lock:
            problem = "an observer called a verb" if self.is_here else "the session is closed" if self._closing else ""
            if problem and not own:
                work.close()
                raise UsageError(problem, hint="call it from another thread, while the session is open")
            return _Running(self._loop, work, set() if own else self._tasks)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` as a task and waits for it. Raises what it raises, and UsageError."""
        result: T = self.spawn(work).result()
        return result

    def call(self, what: asyncio.Event) -> None:
        """Sets an event of the loop."""
        self._loop.call_soon_threadsafe(what.set)

    def end_all(self) -> None:
        """Cancels what threads of the program wait for, waits until it has ended, and takes nothing new."""
        with self._lock:
            self._closing = True

        async def end() -> None:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await settled(tasks)

        self.spawn(end(), own=True).result()

    def close(self) -> None:
        """Ends the loop and its threads."""
        self.spawn(self._loop.shutdown_asyncgens(), own=True).result()
        self.spawn(self._loop.shutdown_default_executor(), own=True).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Session:
    """An open home, for plain code. Make one with `Session.open`; the verbs are those of `wherry.session.Session`."""

    def __init__(self, loop: _Loop, session: AsyncSession) -> None:
        self._loop = loop
        self._session = session

    @classmethod
    @contextmanager
    def open(
        cls,
        *,
        home: Path | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
        verb: str = "python",
        overrides: Mapping[str, str] | None = None,
        profile: str | None = None,
    ) -> Iterator[Session]:
        """See `wherry.session.Session.open`."""
        loop = _Loop()
        try:
            opening = AsyncSession.open(
                home=home, config=config, environ=environ, verb=verb, overrides=overrides, profile=profile
            )
            with _entered(loop, opening, own=True) as session:
                try:
                    yield cls(loop, session)
                finally:
                    loop.end_all()
        finally:
            loop.close()

    def add(self, path: str, **options: Any) -> AddResult:  # handed on: the async method says what they are
        """See `wherry.session.Session.add`."""
        return self._loop.wait(self._session.add(path, **options))

    def grant(self, what: str, to: Sequence[str], **options: Any) -> GrantResult:  # as above
        """See `wherry.session.Session.grant`."""
        return self._loop.wait(self._session.grant(what, to, **options))

    def rewrap(self, name: str) -> RewrapResult:
        """See `wherry.session.Session.rewrap`."""
        return self._loop.wait(self._session.rewrap(name))

    def get(self, what: str, **options: Any) -> GetResult | GetPlan:  # as above
        """See `wherry.session.Session.get`."""
        return self._loop.wait(self._session.get(what, **options))

    @contextmanager
    def serve(self, *args: Any, **options: Any) -> Iterator[list[str]]:  # as above
        """Serves while the context lasts; gives the addresses. See `wherry.session.Session.serve`."""
        with _entered(self._loop, self._session.serve(*args, **options)) as serving:
            yield serving.listen

    def cat(self, what: str, **options: Any) -> Iterator[bytes]:  # as above
        """See `wherry.session.Session.cat`."""
        return self._each(self._session.cat(what, **options))

    def ls(self, what: str, **options: Any) -> Iterator[LsEntry]:  # as above
        """See `wherry.session.Session.ls`."""
        return self._each(self._session.ls(what, **options))

    def find(self, what: str, **options: Any) -> FindResult:  # as above
        """See `wherry.session.Session.find`."""
        return self._loop.wait(self._session.find(what, **options))

    def stat(self, what: str, **options: Any) -> Stat:  # as above
        """See `wherry.session.Session.stat`."""
        return self._loop.wait(self._session.stat(what, **options))

    def verify(self, what: str, path: str, **options: Any) -> VerifyResult:  # as above
        """See `wherry.session.Session.verify`."""
        return self._loop.wait(self._session.verify(what, path, **options))

    def roots(self, cid: CID | None = None) -> list[RootRow]:
        """See `wherry.session.Session.roots`."""
        return self._loop.wait(self._session.roots(cid))

    def doctor(self) -> list[Check]:
        """See `wherry.session.Session.doctor`."""
        return self._loop.wait(self._session.doctor())

    def repair(self, **options: Any) -> RepairResult:  # as above
        """See `wherry.session.Session.repair`."""
        return self._loop.wait(self._session.repair(**options))

    def import_car(self, path: str, **options: Any) -> ImportResult:  # as above
        """See `wherry.session.Session.import_car`."""
        return self._loop.wait(self._session.import_car(path, **options))

    def export_car(self, what: str, path: str, **options: Any) -> ExportResult:  # as above
        """See `wherry.session.Session.export_car`."""
        return self._loop.wait(self._session.export_car(what, path, **options))

    def cache_stat(self) -> CacheStat:
        """See `wherry.session.Session.cache_stat`."""
        return self._loop.wait(self._session.cache_stat())

    def cache_warm(self, what: str, **options: Any) -> CacheWarmed:  # as above
        """See `wherry.session.Session.cache_warm`."""
        return self._loop.wait(self._session.cache_warm(what, **options))

    def cache_clear(self) -> CacheCleared:
        """See `wherry.session.Session.cache_clear`."""
        return self._loop.wait(self._session.cache_clear())

    def store_stat(self) -> StoreStat:
        """See `wherry.session.Session.store_stat`."""
        return self._loop.wait(self._session.store_stat())

    def duplicates(self, *, min_bytes: int = 1) -> Iterator[EqualFiles | SharedBytes]:
        """See `wherry.session.Session.duplicates`."""
        return self._each(self._session.duplicates(min_bytes=min_bytes))

    def keys(self) -> list[KeyReport]:
        """See `wherry.session.Session.keys`."""
        return self._loop.wait(self._session.keys())

    def key(self, name: str) -> KeyReport:
        """See `wherry.session.Session.key`."""
        return self._loop.wait(self._session.key(name))

    def new_key(self, name: str, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.new_key`."""
        return self._loop.wait(self._session.new_key(name, **options))

    def export_key(self, name: str, **options: Any) -> bytes:  # as above
        """See `wherry.session.Session.export_key`."""
        return self._loop.wait(self._session.export_key(name, **options))

    def import_key(self, name: str, data: bytes, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.import_key`."""
        return self._loop.wait(self._session.import_key(name, data, **options))

    def rotate_key(self, name: str, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.rotate_key`."""
        return self._loop.wait(self._session.rotate_key(name, **options))

    def delete_key(self, name: str) -> None:
        """See `wherry.session.Session.delete_key`."""
        self._loop.wait(self._session.delete_key(name))

    def peers(self) -> list[PeerReport]:
        """See `wherry.session.Session.peers`."""
        return self._loop.wait(self._session.peers())

    def peer(self, name: str) -> PeerReport:
        """See `wherry.session.Session.peer`."""
        return self._loop.wait(self._session.peer(name))

    def rules(self) -> list[RuleReport]:
        """See `wherry.session.Session.rules`."""
        return self._loop.wait(self._session.rules())

    def ban(self, what: str, **options: Any) -> None:  # as above
        """See `wherry.session.Session.ban`."""
        self._loop.wait(self._session.ban(what, **options))

    def allow(self, what: str, **options: Any) -> None:  # as above
        """See `wherry.session.Session.allow`."""
        self._loop.wait(self._session.allow(what, **options))

    def unban(self, what: str) -> None:
        """See `wherry.session.Session.unban`."""
        self._loop.wait(self._session.unban(what))

    def forget_peers(self, names: list[str] | None = None) -> int:
        """See `wherry.session.Session.forget_peers`."""
        return self._loop.wait(self._session.forget_peers(names))

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """Iterates on the loop. The whole iteration is one task there, for what it opens must be closed where it was opened."""
        queue: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue(1)

        async def run() -> None:
            try:
                async with aclosing(items):
                    async for item in items:
                        await queue.put((True, item))
            except Exception as problem:  # noqa: BLE001  # raised again in the caller's thread
                await queue.put((False, problem))
            else:
                await queue.put((False, None))

        running = self._loop.spawn(run())
        try:
            while True:
                more, item = self._loop.wait(queue.get())
                if more:
                    yield item
                elif item is None:
                    return
                else:
                    raise item
        finally:
            running.cancel()
            if not self._loop.is_here:  # the garbage collector may close an iterator on any thread
                running.settle()


@contextmanager
def _entered(loop: _Loop, context: AbstractAsyncContextManager[T], *, own: bool = False) -> Iterator[T]:
    """Enters and leaves an async context in one task of the loop: task groups and time-outs in it need that."""
    entered: Future[T] = Future()
    leave = asyncio.Event()

    async def live() -> None:
        try:
            async with context as value:
                entered.set_result(value)
                await leave.wait()
        except Exception as problem:
            if entered.done():
                raise
            entered.set_exception(problem)

    running = loop.spawn(live(), own=own)
    running.done.add_done_callback(lambda _: entered.cancel())  # no-op once entered; else the task was cancelled
    value = running.result(entered)
    try:
        yield value
    finally:
        if not running.done.done():
            loop.call(leave)
        running.result()
