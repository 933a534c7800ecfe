"""Runs the configured observers beside everything else: they see what happens, and can delay or end none of it.

Each has a thread and a bounded queue of its own, so that one that hangs takes nothing from another. An event costs whoever
emits it an append; what happens within `_GATHER_S` is handed over in one list. Without observers there is no thread, and
no `Observing`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from wherry.errors import ConfigError, PluginError, WherryError
from wherry.limits import OBSERVER_CLOSE_S, OBSERVER_EVENTS_MAX
from wherry.observe import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.observer import Observer
    from wherry.observe import Event

    Say = Callable[[str], None]

_GATHER_S: Final = 0.05  # a thread that woke for each event would take the interpreter from those who move bytes
_WHY_CHARS_MAX: Final = 300  # of what an observer raised, as it is said


class Observing:
    """The observers of one session. `emit` is for any thread; open and close it once."""

    def __init__(
        self, observers: Sequence[tuple[str, Observer]], *, say: Say | None = None, events_max: int = OBSERVER_EVENTS_MAX
    ) -> None:
        """Starts a thread for each observer, given with its name. ``say`` takes what a person should know; None: the log."""
        self._lanes = [
            _Lane(name, observer, say or logging.getLogger(__name__).warning, events_max) for name, observer in observers
        ]

    def emit(self, event: Event) -> None:
        """Tells every observer, soon. Never blocks, never raises."""
        for lane in self._lanes:
            lane.put(event)

    def close(self, timeout_s: float = OBSERVER_CLOSE_S) -> None:
        """Lets the observers take what is left and close. Blocks for at most ``timeout_s``; who hangs is left behind."""
        end = time.monotonic() + timeout_s
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.join(max(0.0, end - time.monotonic()))


class _Lane:
    """One observer, its queue and its thread."""

    def __init__(self, name: str, observer: Observer, say: Say, events_max: int) -> None:
        self._name = name
        self._observer = observer
        self._say = say
        self._events_max = events_max
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._dropped = 0  # since the observer was told last
        self._lost = 0  # in all
        self._out = False  # it raised: nothing more is for it
        self._bell = threading.Event()
        self._ending = threading.Event()
        # A daemon, for a process must end although an observer hangs.
        self._thread = threading.Thread(target=self._run, name=f"wherry-observer-{name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        with self._lock:
            if self._out:
                return
            if len(self._events) >= self._events_max:
                self._events.popleft()
                self._dropped += 1
                self._lost += 1
            self._events.append(event)
        if not self._bell.is_set():
            self._bell.set()

    def end(self) -> None:
        self._ending.set()
        self._bell.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            with self._lock:
                self._out = True
            self._say(f"the observer {self._name!r} does not end; it is left behind, and what it has not taken is lost")
        elif self._lost:
            self._say(f"the observer {self._name!r} was too slow: {self._lost} events are lost")

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._bell.wait()
                self._ending.wait(_GATHER_S)
                self._bell.clear()
                self._hand_over()
            self._hand_over()  # what came between the last look and the end
        except BaseException as problem:  # noqa: BLE001 - whatever an observer raises, SystemExit too, stays its own
            self._leave_out("failed", problem)
        try:
            self._observer.close()
        except BaseException as problem:  # noqa: BLE001 - as above
            self._leave_out("failed at its end", problem)

    def _hand_over(self) -> None:
        with self._lock:
            events, self._events = list(self._events), deque()
            dropped, self._dropped = self._dropped, 0
        if dropped:
            events.insert(0, Dropped(dropped))
        if events:
            self._observer.take(events)

    def _leave_out(self, how: str, problem: BaseException) -> None:
        """Says it, once, and forgets what waits."""
        with self._lock:
            said, self._out = self._out, True
            self._events.clear()
        if not said:
            what = f"{type(problem).__name__}: {problem}"[:_WHY_CHARS_MAX]
            self._say(f"the observer {self._name!r} {how} and is left out: {what}")


def observing(names: Sequence[str], build: Callable[[str], Observer]) -> Observing | None:
    """Builds the observers of these names and starts them; None for no names, or if none of them can start.

    One that this machine's files or ports hinder is said and left out: another process may hold its port, and data is not to
    wait for that. Raises ConfigError and PluginError, for what the user has to mend.
    """
    built: list[tuple[str, Observer]] = []
    try:
        for name in names:
            try:
                built.append((name, build(name)))
            except (ConfigError, PluginError):
                raise
            except WherryError as problem:
                logging.getLogger(__name__).warning("the observer %r cannot start and is left out: %s", name, problem.message)
    except BaseException:
        Observing(built).close()
        raise
    return Observing(built) if built else None
