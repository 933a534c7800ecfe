"""The contract of an observer as tests (specs/0019 §5). Subclass, say how to make one, and let pytest run it::

    class TestAcmeObserver(ObserverContract):
        def make_observer(self):
            return AcmeObserver(self.file)

        def shown(self):  # what others can read of it: for the check that no secret gets there
            return self.file.read_text()

Core fences observers: what one raises costs only itself. But it is then left out, and the figures of a night are missing
because of one event; most tests here are about what an observer must bear.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wherry.limits import OBSERVER_EVENTS_MAX
from wherry.observe import (
    Began,
    CacheUsed,
    Connected,
    Dropped,
    Ended,
    Fetched,
    Note,
    PeerFailed,
    Progress,
    Refused,
    Rejected,
    Served,
)
from wherry.testing.expect import ContractBroken, expect
from wherry.testing.outcome import leftovers, skip_unless

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.observer import Observer
    from wherry.observe import Event

SERIES_MAX: Final = 200  # that an observer of metrics makes of whatever comes
HIDDEN: Final = "eyJhbGciOi.wherry-hunter2"  # stands for a token in what strangers say
_SETTLE_S: Final = 2.0
_NAMES: Final = 1000

EVENTS: Final[tuple[Event, ...]] = (
    Began("get"),
    Note("info", "http://10.0.0.7:4290 answered with nothing that was asked for"),
    Progress(verb="get", phase="fetch", bytes_done=1 << 20, bytes_total=None, files_done=3, sources_alive=2),
    Progress(verb="add", phase="hash", bytes_done=1 << 62, bytes_total=1 << 62, files_done=3, files_total=9),
    Connected("http"),
    Fetched(scheme="http", blocks=4, bytes=4 << 20, wire_bytes=3 << 20, seconds=0.02),
    Rejected(scheme="https", error="IntegrityError", blocks=1),
    PeerFailed(scheme="http", error="PeerTimeout"),
    Served(scheme="http", blocks=512, bytes=9000, wire_bytes=12_000, seconds=0.0, ok=False),
    Refused("http", "denied"),
    CacheUsed(hits=3, misses=0),
    Dropped(7),
    Note("warning", "http://10.0.0.7:4290 is gone"),
    Ended(verb="get", seconds=1.5, bytes=1 << 40),
    Ended(verb="serve", seconds=0.0, error="CancelledError"),
)
_TELLING: Final = (
    f"the answer had the header Authorization: Bearer {HIDDEN}",
    f"http://host/x?token={HIDDEN}&y=1 answers 403",
    f'{{"password": "{HIDDEN}"}} is no answer',
    f"http://user:{HIDDEN}@host:4290 is no address",
)


@dataclass(frozen=True, slots=True)
class Unheard:
    """An event of a wherry that is newer than the observer."""

    shape: str = "round"


class ObserverContract(ABC):
    """What every observer must do."""

    @abstractmethod
    def make_observer(self) -> Observer:
        """Makes an observer; called again only after the one before was closed."""

    def shown(self) -> str | None:
        """Gives all that the last observer has shown, once it is closed; None if that cannot be told."""
        return None

    def series(self) -> int | None:
        """Gives the number of different series, or of files or rows or names, that the last observer made; None if none."""
        return None

    def test_it_takes_every_event(self) -> None:
        """Each kind, alone and among others."""
        with closing(self.make_observer()) as observer:
            for event in EVENTS:
                _given(observer, [event], f"on {event!r}")
            _given(observer, list(EVENTS), "on a list of every kind of event")

    def test_it_takes_a_full_queue(self) -> None:
        """After a pause, as many as ever wait come at once."""
        with closing(self.make_observer()) as observer:
            _given(observer, [Connected("http")] * OBSERVER_EVENTS_MAX, f"on {OBSERVER_EVENTS_MAX} events at once")

    def test_it_takes_nothing(self) -> None:
        """An empty list is no event."""
        with closing(self.make_observer()) as observer:
            _given(observer, [], "on no event")

    def test_it_passes_over_what_it_does_not_know(self) -> None:
        """A later wherry has more kinds of events; that must not cost the figures of those that are known."""
        with closing(self.make_observer()) as observer:
            unheard: list[Event] = [Unheard()]  # type: ignore[list-item]  # that is the point: it is no Event yet
            _given(observer, unheard, "on an event of a newer wherry")

    def test_it_bears_any_words(self) -> None:
        """Notes repeat what strangers say: control characters, half characters, a megabyte."""
        words = ["", "\0\x1b[2J\r\n\u202e\u2028", "\ud800 \udcff", "é" * (1 << 20), "%s {0} ${HOME}", '"\\']
        with closing(self.make_observer()) as observer:
            for word in words:
                _given(observer, [Note("warning", word)], f"on a note that says {word[:20]!a}")
                _given(observer, [Ended(verb="get", seconds=1.0, error=word)], f"on an error called {word[:20]!a}")

    def test_it_leaves_the_events_alone(self) -> None:
        """The list is core's."""
        events = list(EVENTS[:2])
        with closing(self.make_observer()) as observer:
            _given(observer, events, "on two events")
        expect(events == list(EVENTS[:2]), "it changed the list of events")

    def test_threads_may_change(self) -> None:
        """It is made in one thread, takes in another, and is closed there; only never in two at once."""
        observer = self.make_observer()

        def work() -> None:
            _given(observer, [EVENTS[0]], "in another thread than it was made in")
            observer.close()

        _in_thread(work)

    def test_closing_again_is_no_error(self) -> None:
        """The second time there is nothing to do."""
        observer = self.make_observer()
        _given(observer, [EVENTS[0]], "on an event")
        observer.close()
        _calmly(observer.close, "closing it twice")

    def test_it_may_be_closed_unused(self) -> None:
        """A session may end before anything happens."""
        _calmly(self.make_observer().close, "closing it before it took anything")

    def test_it_leaves_nothing_behind(self) -> None:
        """When `close` is over, no thread and no descriptor of it is left."""
        before = leftovers()
        with closing(self.make_observer()) as observer:
            _given(observer, [EVENTS[0]], "on an event")
        end = time.monotonic() + _SETTLE_S
        while True:
            threads, files = leftovers()
            threads, files = threads - before[0], files - before[1]
            if not threads and not files:
                return
            expect(time.monotonic() < end, f"left behind: threads {threads}, descriptors {files}")
            time.sleep(0.02)

    def test_it_shows_no_secret(self) -> None:
        """Where a note has a secret that is marked as one, it is left out of what others can read."""
        with closing(self.make_observer()) as observer:
            _given(observer, [Note("warning", text) for text in _TELLING], "on notes")
        shown = self.shown()
        skip_unless(shown is not None, "it does not tell what it shows")
        expect(HIDDEN not in str(shown), "what it shows has a secret in it, taken from a note")

    def test_what_it_makes_of_names_is_bounded(self) -> None:
        """A thousand names of verbs, errors and schemes make no thousand series: whoever stores them pays for each."""
        with closing(self.make_observer()) as observer:
            for number in range(_NAMES):
                name = f"name{number}"
                events: list[Event] = [
                    Began(name), Ended(verb=name, seconds=1.0, error=name), Connected(name), Note("info", name),
                    PeerFailed(scheme=name, error=name), Rejected(scheme=name, error=name, blocks=1),
                    Fetched(scheme=name, blocks=1, bytes=1, wire_bytes=1, seconds=1.0),
                    Served(scheme=name, blocks=1, bytes=1, wire_bytes=1, seconds=1.0),
                ]  # fmt: skip
                _given(observer, events, f"on a verb called {name!r}")
        series = self.series()
        skip_unless(series is not None, "it does not tell of any series")
        expect(series is None or series <= SERIES_MAX, f"it made {series} series, at most {SERIES_MAX} are borne")


def _given(observer: Observer, events: list[Event], when: str) -> None:
    _calmly(lambda: observer.take(events), f"taking, {when},")


def _calmly(call: Callable[[], None], what: str) -> None:
    """Complains if it raises."""
    try:
        call()
    except Exception as problem:
        raise ContractBroken(f"{what} raises {problem!r}") from problem


def _in_thread(work: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as problem:  # noqa: BLE001 - raised again below
            raised.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
