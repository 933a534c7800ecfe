"""The contract of observers catches what it is there to catch: for each check there is an observer that fails it alone."""

from __future__ import annotations

import threading

import pytest

from wherry.abc.observer import Observer
from wherry.observe import Event, Note, Refused
from wherry.testing.checks import checks, failing
from wherry.testing.observer import EVENTS, ObserverContract


class Sound(Observer):
    """Counts kinds of events, and shows the lengths of notes."""

    def __init__(self):
        self.counts, self.lengths, self.taken, self.closed = {}, [], 0, 0

    def take(self, events):
        for event in list(events):
            name = type(event).__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            if isinstance(event, Note):
                self.lengths.append(self.of_note(event))
        self.taken += 1

    def of_note(self, note):
        return len(note.text)

    def close(self):
        self.closed += 1

    def shown(self):
        return f"{self.counts} {self.lengths}"

    def series(self):
        return len(self.counts)


class KnowsNotEveryEvent(Sound):
    def take(self, events):
        if any(isinstance(event, Refused) for event in events):
            raise KeyError("Refused")
        super().take(events)


class HasASmallQueue(Sound):
    def take(self, events):
        if len(events) > 9000:
            raise OverflowError("too many")
        super().take(events)


class WantsAnEvent(Sound):
    def take(self, events):
        super().take([events[0], *events[1:]])


class KnowsWhatThereIs(Sound):
    def take(self, events):
        if not all(isinstance(event, Event) for event in events):
            raise TypeError("no event")
        super().take(events)


class WritesUtf8(Sound):
    def of_note(self, note):
        return len(note.text.encode())


class TakesTheList(Sound):
    def take(self, events):
        super().take(events)
        events.clear()


class StaysInItsThread(Sound):
    def __init__(self):
        super().__init__()
        self.thread = threading.current_thread()

    def take(self, events):
        if threading.current_thread() is not self.thread:
            raise RuntimeError("made in another thread")
        super().take(events)


class ClosesOnce(Sound):
    def close(self):
        super().close()
        if self.closed > 1:
            raise ValueError("closed file")


class ClosesAfterUse(Sound):
    def close(self):
        super().close()
        if not self.taken:
            raise ValueError("nothing to write")


class LeavesAThread(Sound):
    end = threading.Event()

    def take(self, events):
        super().take(events)
        if len(events) == 1 and events[0] == EVENTS[0] and self.taken == 1:
            self.thread = threading.Thread(target=self.end.wait, args=(20,))
            self.thread.start()


class RepeatsNotes(Sound):
    def of_note(self, note):
        return note.text[:1000]


class MakesNamesOfWhatComes(Sound):
    def take(self, events):
        super().take(events)
        for event in events:
            name = getattr(event, "verb", "")
            self.counts[name] = self.counts.get(name, 0) + 1


BROKEN = {
    "test_it_takes_every_event": KnowsNotEveryEvent,
    "test_it_takes_a_full_queue": HasASmallQueue,
    "test_it_takes_nothing": WantsAnEvent,
    "test_it_passes_over_what_it_does_not_know": KnowsWhatThereIs,
    "test_it_bears_any_words": WritesUtf8,
    "test_it_leaves_the_events_alone": TakesTheList,
    "test_threads_may_change": StaysInItsThread,
    "test_closing_again_is_no_error": ClosesOnce,
    "test_it_may_be_closed_unused": ClosesAfterUse,
    "test_it_leaves_nothing_behind": LeavesAThread,
    "test_it_shows_no_secret": RepeatsNotes,
    "test_what_it_makes_of_names_is_bounded": MakesNamesOfWhatComes,
}


def suite_of(cls):
    class Suite(ObserverContract):
        def make_observer(self):
            self.observer = cls()
            return self.observer

        def shown(self):
            return self.observer.shown()

        def series(self):
            return self.observer.series()

    return Suite()


def test_every_check_is_proven():
    assert set(BROKEN) == checks(ObserverContract)


def test_a_sound_observer_keeps_the_contract(tmp_path):
    assert failing(suite_of(Sound), tmp_path) == set()


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_observer_fails_its_check_and_no_other(check, tmp_path):
    LeavesAThread.end.clear()
    try:
        assert failing(suite_of(BROKEN[check]), tmp_path) == {check}
    finally:
        LeavesAThread.end.set()


def test_what_cannot_be_told_is_skipped(tmp_path):
    class Suite(ObserverContract):
        def make_observer(self):
            return RepeatsNotes()

    assert failing(Suite(), tmp_path) == set()
