"""An event loop in a thread of its own, and what threads of the program wait for there; `wherry.sync` stands on it."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wherry.errors import UsageError
from wherry.offload import settled
from wherry.session.parts import another_process, closed

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Running(Generic[T]):
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


class Loop:
    """An event loop in a thread, and the tasks that threads of the program wait for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._own: set[asyncio.Task[Any]] = set()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wherry-loop", daemon=True)
        self._thread.start()

    @property
    def inherited(self) -> bool:
        """Whether this is a fork of the process that began the loop: its thread, on which all waits, is not here."""
        return os.getpid() != self._pid

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def spawn(self, work: Coroutine[Any, Any, T], *, own: bool = False) -> Running[T]:
        """Begins ``work`` as a task, which `end_all` ends unless it is the session's ``own``. Raises UsageError."""
        if self.inherited:  # before the lock, that another thread of the parent may have held
            work.close()
            raise another_process()
        with self._lock:
            problem = closed() if self._closing else None
            if self.is_here:
                problem = UsageError("an observer called a verb", hint="call it from another thread")
            if problem is not None and not own:
                work.close()
                raise problem
            return Running(self._loop, work, self._own if own else self._tasks)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` as a task and waits for it. Raises what it raises, and UsageError."""
        result: T = self.spawn(work).result()
        return result

    def call(self, what: asyncio.Event) -> None:
        """Sets an event of the loop."""
        self._loop.call_soon_threadsafe(what.set)

    def end_all(self) -> None:
        """Cancels what threads of the program wait for, waits until it has ended, and takes nothing new. Not of a parent."""
        if self.inherited:
            _spare(self)
            return
        with self._lock:
            self._closing = True

        async def end() -> None:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await settled(tasks)

        self.spawn(end(), own=True).result()

    def close(self) -> None:
        """Ends the loop and its threads, unless they are a parent's."""
        if self.inherited:
            return
        self.spawn(self._loop.shutdown_asyncgens(), own=True).result()
        self.spawn(self._loop.shutdown_default_executor(), own=True).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _spare(inherited: Loop) -> None:
    """Keeps what a fork inherited from being freed at its end: the tasks would run their ends there, on the parent's things."""
    import ctypes  # nobody but such a fork needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))  # whatever holds it is freed itself
