"""The plain face of the public API: the same session and verbs, blocking (specs/0011 §3).

    with Session.open() as session:
        print(session.add("dataset").cid)

One event loop runs in a thread of its own for the session's life; every call waits for its verb there. A session may be
used by several threads. KeyboardInterrupt cancels the verb and waits until it has ended cleanly.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from wherry.session import Session as AsyncSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.results import AddResult, Check, GetPlan, GetResult, LsEntry, RepairResult, Stat, VerifyResult

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wherry-loop", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` on the loop and waits for it."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except KeyboardInterrupt:
            running.cancel()
            raise

    def close(self) -> None:
        """Ends the loop and its threads."""
        self.wait(self._loop.shutdown_default_executor())
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
    ) -> Iterator[Session]:
        """See `wherry.session.Session.open`."""
        loop = _Loop()
        try:
            with _entered(
                loop, AsyncSession.open(home=home, config=config, environ=environ, verb=verb, overrides=overrides)
            ) as session:
                yield cls(loop, session)
        finally:
            loop.close()

    def add(self, path: str, **options: Any) -> AddResult:  # handed on: the async method says what they are
        """See `wherry.session.Session.add`."""
        return self._loop.wait(self._session.add(path, **options))

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

    def stat(self, what: str, **options: Any) -> Stat:  # as above
        """See `wherry.session.Session.stat`."""
        return self._loop.wait(self._session.stat(what, **options))

    def verify(self, what: str, path: str, **options: Any) -> VerifyResult:  # as above
        """See `wherry.session.Session.verify`."""
        return self._loop.wait(self._session.verify(what, path, **options))

    def doctor(self) -> list[Check]:
        """See `wherry.session.Session.doctor`."""
        return self._loop.wait(self._session.doctor())

    def repair(self) -> RepairResult:
        """See `wherry.session.Session.repair`."""
        return self._loop.wait(self._session.repair())

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Iterates on the loop. The whole iteration is one task there, for what it opens must be closed where it was opened."""
        queue: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue(1)

        async def run() -> None:
            try:
                async for item in items:
                    await queue.put((True, item))
            except asyncio.CancelledError:
                raise
            except BaseException as problem:  # noqa: BLE001  # raised again in the caller's thread
                await queue.put((False, problem))
            else:
                await queue.put((False, None))

        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(run())

        async def stop(task: asyncio.Task[None]) -> None:
            task.cancel()
            await asyncio.wait([task])

        task = self._loop.wait(start())
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
            self._loop.wait(stop(task))


@contextmanager
def _entered(loop: _Loop, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enters and leaves an async context in one task of the loop: task groups and time-outs in it need that."""
    entered: asyncio.Future[T] | None = None
    leave = asyncio.Event()

    async def start() -> tuple[asyncio.Task[None], asyncio.Future[T]]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            try:
                async with context as value:
                    future.set_result(value)
                    await leave.wait()
            except BaseException as problem:
                if not future.done():
                    future.set_exception(problem)
                    return
                raise

        return asyncio.create_task(live()), future

    async def result(future: asyncio.Future[T]) -> T:
        return await future

    async def end(task: asyncio.Task[None]) -> None:
        leave.set()
        await task

    task, entered = loop.wait(start())
    value = loop.wait(result(entered))
    try:
        yield value
    finally:
        loop.wait(end(task))
