"""Observers are fenced: they lose nothing that core can keep for them, and delay and end nothing."""

from __future__ import annotations

import threading
import time
from contextlib import aclosing, asynccontextmanager

import pytest

from wherry import observing
from wherry.abc.observer import Observer
from wherry.errors import ConfigError, LocalError, NotFound, PeerError
from wherry.observe import Began, Connected, Dropped, Ended, Fetched, Note, PeerFailed, Progress, Served
from wherry.observing import Observing
from wherry.session import Session

PATIENCE_S = 10.0


class Kept(Observer):
    """Keeps what it is told."""

    def __init__(self):
        self.events, self.lists, self.threads, self.closed = [], [], set(), 0

    def take(self, events):
        self.threads.add(threading.current_thread())
        self.lists.append(len(events))
        self.events += events

    def close(self):
        self.closed += 1


class Raising(Kept):
    def take(self, events):
        super().take(events)
        raise SystemExit("a trick")


class RaisingAtItsEnd(Kept):
    def close(self):
        super().close()
        raise ValueError("secondly")


class Hanging(Kept):
    """Hangs in `take` until the test lets it go on."""

    def __init__(self):
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()

    def take(self, events):
        self.began.set()
        self.go.wait(PATIENCE_S)
        super().take(events)


@pytest.fixture
def said():
    return []


def until(holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def numbered(count):
    return [Note("info", str(number)) for number in range(count)]


def test_events_come_in_order_on_one_thread_that_is_not_ours(said):
    observer = Kept()
    running = Observing([("kept", observer)], say=said.append)
    for event in numbered(3000):
        running.emit(event)
    running.close()
    assert observer.events == numbered(3000)
    assert len(observer.threads) == 1
    assert threading.main_thread() not in observer.threads
    assert (observer.closed, said) == (1, [])


def test_events_are_gathered(said):
    """A thread that woke for every event would take turns with those who move bytes."""
    observer = Kept()
    running = Observing([("kept", observer)], say=said.append)
    for event in numbered(1000):
        running.emit(event)
    running.close()
    assert len(observer.lists) < 20


def test_what_happens_is_told_before_the_end(said):
    observer = Kept()
    running = Observing([("kept", observer)], say=said.append)
    running.emit(Began("get"))
    until(lambda: observer.events == [Began("get")])
    running.close()


@pytest.mark.parametrize("broken", [Raising, RaisingAtItsEnd])
def test_one_that_raises_is_said_once_and_left_out(broken, said):
    bad, good = broken(), Kept()
    running = Observing([("bad", bad), ("good", good)], say=said.append)
    running.emit(Began("get"))
    if broken is Raising:
        until(lambda: said)
    running.emit(Ended(verb="get", seconds=1.0))
    running.close()
    assert good.events == [Began("get"), Ended(verb="get", seconds=1.0)]
    assert len(said) == 1
    assert "the observer 'bad' failed" in said[0]
    assert ("SystemExit: a trick" if broken is Raising else "ValueError: secondly") in said[0]
    assert len(bad.lists) == 1
    assert bad.closed == 1


def test_one_that_hangs_delays_neither_who_emits_nor_another(said):
    bad, good = Hanging(), Kept()
    running = Observing([("bad", bad), ("good", good)], say=said.append, events_max=10)
    running.emit(Began("get"))
    assert bad.began.wait(PATIENCE_S)
    until(lambda: len(good.events) == 1)  # both have taken it out of their queues
    for event in numbered(10):  # fits, whatever the other takes meanwhile
        running.emit(event)
    until(lambda: len(good.events) == 11)
    bad.go.set()
    running.close()
    assert len(bad.events) == 11
    assert said == []


def test_beyond_the_queue_the_oldest_are_dropped_counted_and_said(said):
    observer = Hanging()
    running = Observing([("slow", observer)], say=said.append, events_max=10)
    running.emit(Began("get"))
    assert observer.began.wait(PATIENCE_S)
    for event in numbered(25):
        running.emit(event)
    observer.go.set()
    running.close()
    assert observer.events == [Began("get"), Dropped(15), *numbered(25)[15:]]
    assert said == ["the observer 'slow' was too slow: 15 events are lost"]


def test_closing_does_not_wait_for_one_that_hangs(said):
    hanging = [Hanging(), Hanging()]
    running = Observing([("a", hanging[0]), ("b", hanging[1])], say=said.append)
    running.emit(Began("get"))
    for observer in hanging:
        assert observer.began.wait(PATIENCE_S)
    running.close(0.1)
    try:
        assert [line.partition(";")[0] for line in said] == ["the observer 'a' does not end", "the observer 'b' does not end"]
        running.emit(Began("get"))  # goes nowhere
        assert all(observer.closed == 0 for observer in hanging)
    finally:
        for observer in hanging:
            observer.go.set()
    until(lambda: all(observer.closed for observer in hanging))
    assert len(said) == 2


def test_any_thread_may_emit(said):
    observer = Kept()
    running = Observing([("kept", observer)], say=said.append)
    threads = [threading.Thread(target=lambda: [running.emit(event) for event in numbered(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.close()
    assert len(observer.events) == 2000


# Building them


def test_without_observers_there_is_nothing():
    assert observing.observing([], lambda name: pytest.fail("built")) is None


def test_one_that_this_machine_hinders_is_left_out(caplog):
    kept = Kept()

    def build(name):
        if name == "taken":
            raise LocalError("the port is taken")
        return kept

    running = observing.observing(["taken", "kept"], build)
    running.emit(Began("add"))
    running.close()
    assert kept.events == [Began("add")]
    assert "the observer 'taken' cannot start and is left out: the port is taken" in caplog.text
    assert observing.observing(["taken"], build) is None


def test_what_the_user_has_to_mend_is_raised_and_the_others_are_closed():
    kept = Kept()

    def build(name):
        if name == "wrong":
            raise ConfigError("listen where?")
        return kept

    with pytest.raises(ConfigError):
        observing.observing(["kept", "wrong"], build)
    assert kept.closed == 1


# What a session tells


@asynccontextmanager
async def watched(tmp_path, monkeypatch, name="home"):
    """Yields a session and the observer that watches it, which keeps everything; when it is left, all is there."""
    kept = Kept()

    def observe(wiring):
        running = Observing([("kept", kept)])
        wiring.emit = running.emit
        return running

    monkeypatch.setattr("wherry.wiring.Wiring.observe", observe)
    async with Session.open(home=tmp_path / name, environ={"WHERRY_OBSERVER__USE": "log"}) as session:
        yield session, kept


@pytest.fixture
def small(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_bytes(b"a" * 3_000_000)
    return tmp_path / "tree"


def of(kept, *kinds):
    return [event for event in kept.events if isinstance(event, kinds)]


async def test_verbs_tell_when_they_begin_and_how_they_end(tmp_path, monkeypatch, small):
    async with watched(tmp_path, monkeypatch) as (session, kept):
        added = await session.add(str(small))
        cat = session.cat(f"{added.cid}/a")
        async with aclosing(cat) as pieces:
            async for _ in pieces:
                break
        async with aclosing(session.ls(added.cid)) as entries:
            assert [entry.name async for entry in entries] == ["a"]
        with pytest.raises(NotFound):
            await session.add(str(tmp_path / "nowhere"))
        with pytest.raises(RuntimeError):
            async with session.serve(listen=["http://127.0.0.1:0"]):
                raise RuntimeError("mine")
    verbs = [(event.verb, event.bytes, event.error) for event in of(kept, Ended)]
    assert verbs == [
        ("add", 3_000_000, None), ("cat", 1 << 20, None), ("ls", 0, None), ("add", 0, "NotFound"), ("serve", 0, "RuntimeError"),
    ]  # fmt: skip
    assert [event.verb for event in of(kept, Began)] == [verb for verb, _, _ in verbs]
    assert all(event.seconds > 0 for event in of(kept, Ended))


async def test_a_get_tells_what_came_from_where(tmp_path, monkeypatch, small):
    async with (
        watched(tmp_path, monkeypatch, "there") as (there, served),
        there.serve([str(small)], listen=["http://127.0.0.1:0"]) as serving,
    ):
        async with watched(tmp_path, monkeypatch) as (session, kept):
            cid = (await there.add(str(small))).cid
            shown = []
            got = await session.get(cid, sources=serving.listen, output=str(tmp_path / "got"), observe=shown.append)
    assert {event.scheme for event in of(kept, Connected, Fetched)} == {"http"}
    assert sum(event.bytes for event in of(kept, Fetched)) == got.fetched_bytes
    assert all(event.seconds >= 0 and event.blocks for event in of(kept, Fetched))
    assert sum(event.bytes for event in of(served, Served)) == got.fetched_bytes
    assert sum(event.blocks for event in of(served, Served)) == sum(event.blocks for event in of(kept, Fetched))
    assert all(event.ok and event.wire_bytes > 0 and event.scheme == "http" for event in of(served, Served))
    assert of(kept, Progress) == [event for event in shown if isinstance(event, Progress)] != []


async def test_lost_sources_and_refusals_are_told(tmp_path, monkeypatch, small):
    environ = {"WHERRY_TOKEN": "right"}
    async with Session.open(home=tmp_path / "there", environ=environ) as there:
        cid = (await there.add(str(small))).cid
        async with there.serve(listen=["http://127.0.0.1:0"]) as serving, watched(tmp_path, monkeypatch) as (session, kept):
            with pytest.raises(PeerError):
                await session.get(cid, sources=serving.listen, output=str(tmp_path / "got"), wait_s=1.0)
    assert {(event.scheme, event.error) for event in of(kept, PeerFailed)} == {("http", "PeerDenied")}
    assert [(event.verb, event.error) for event in of(kept, Ended)] == [("get", "PeerDenied")]


async def test_a_session_without_observers_starts_no_thread(tmp_path, monkeypatch, small):
    monkeypatch.setattr(observing, "Observing", lambda *given: pytest.fail("observers were started"))
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        await session.add(str(small))
    assert not [thread for thread in threading.enumerate() if "observer" in thread.name]
