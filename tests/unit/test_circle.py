"""Whom a session knows: its thread, its breakers around real calls, and that closing writes all."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, closing

import pytest

from wherry.abc.exchange import PeerInfo
from wherry.access import subject_of
from wherry.errors import PeerDenied, PeerUnreachable
from wherry.store.state import StateDB
from wherry.transfer import circle as circle_module
from wherry.transfer.breaker import FAILURES
from wherry.transfer.circle import Circle

KEY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
PEER = "http://10.0.0.7:1"


@pytest.fixture
def state(tmp_path):
    with closing(StateDB(tmp_path)) as opened:
        yield opened


@pytest.fixture
def circle(tmp_path, state):
    with closing(Circle(tmp_path, state, ban_s=3600.0)) as made:
        yield made


class Calls:
    """Counts calls, and fails as it is told."""

    def __init__(self):
        self.count = 0
        self.fails: Exception | None = None

    @asynccontextmanager
    async def connect(self, address):
        self.count += 1
        if self.fails is not None:
            raise self.fails
        yield address


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "wherry-circle"]


def test_who_meets_nobody_has_no_thread_and_reads_nothing(circle, tmp_path):
    assert not threads()
    assert not (tmp_path / "peers.db").exists()
    assert circle.gate("10.0.0.7", "") == ""
    assert len(threads()) == 1
    circle.close()
    assert not threads()
    circle.gate("10.0.0.7", "")
    assert not threads(), "nothing begins behind the end"


def test_closing_writes_bans_and_what_was_seen(circle, tmp_path, state):
    info = PeerInfo("tcps", KEY, "tcps://10.0.0.7:1", "10.0.0.7", incoming=False)
    standing = circle.met("tcps://10.0.0.7:1", info)
    standing.answered(0.0, 1000, 0.1, 0.1)
    circle.keep("tcps://10.0.0.7:1", standing, info)
    circle.gave(info, 77)
    assert circle.caught(info, "sent a wrong block")
    assert circle.judge(info)
    assert not circle.caught(None, "nobody")
    assert not circle.caught(info._replace(id=""), "nobody can tell")
    circle.close()
    with closing(Circle(tmp_path, state, ban_s=0.0)) as other:
        assert other.judge(info)
        [(peer, _)] = other.book.peers()
        assert (peer.key, peer.down, peer.up, peer.network) == (KEY, 1000, 77, "10.0.0.0/24")


def test_its_thread_sees_what_another_process_says_and_writes_what_is_new(circle, tmp_path, state, monkeypatch):
    monkeypatch.setattr(circle_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(circle_module, "FLUSH_S", 0.02)
    changed = threading.Event()
    circle.door.changed = changed.set
    circle.gate("10.0.0.7", "")
    circle.gave(PeerInfo("tcp", "", "", "10.0.0.9", incoming=True), 5)
    with closing(StateDB(tmp_path)) as elsewhere, closing(Circle(tmp_path, elsewhere, ban_s=1.0)) as other:
        other.door.put(subject_of("10.0.0.7"))
        assert changed.wait(30)
        assert circle.gate("10.0.0.7", "")
    for _ in range(3000):
        with closing(StateDB(tmp_path)) as elsewhere, closing(Circle(tmp_path, elsewhere, ban_s=1.0)) as other:
            if other.book.peers():
                break
        changed.clear()
        changed.wait(0.01)
    assert [peer.key for peer, _ in other.book.peers()] == ["tcp://10.0.0.9"]


def test_a_disk_that_fails_ends_no_thread(circle, state, monkeypatch, caplog):
    monkeypatch.setattr(circle_module, "REFRESH_S", 0.02)
    with state._db.reading() as run:
        run.execute("PRAGMA query_only=ON")
    circle.caught(PeerInfo("tcps", KEY, "", "10.0.0.7", incoming=True), "lies")
    for _ in range(3000):
        if caplog.records:
            break
        threading.Event().wait(0.01)
    with state._db.reading() as run:
        run.execute("PRAGMA query_only=OFF")
    circle.close()
    assert len(circle.door.rules()) == 1


def failing(circle, calls, times, address=PEER):
    async def run():
        for _ in range(times):
            with pytest.raises(PeerUnreachable):
                async with circle.connecting(calls.connect)(address):
                    pass

    asyncio.run(run())


def test_a_peer_that_fails_again_and_again_is_left_alone_by_all(circle):
    calls = Calls()
    calls.fails = PeerUnreachable("nobody there")
    failing(circle, calls, FAILURES)
    breaker = circle.breakers.of(PEER)
    assert breaker._state == "open"

    async def run():
        async def call():
            async with circle.connecting(calls.connect)(PEER):
                return True

        breaker._until += 1e6
        tasks = [asyncio.ensure_future(call()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert calls.count == FAILURES, "nobody calls"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with circle.connecting(calls.connect)("file:///somewhere"):  # a folder does not tire
            pass

    calls.fails = None
    asyncio.run(run())
    assert calls.count == FAILURES + 1


def test_connections_that_break_soon_and_bring_something_leave_nobody_alone(circle):
    async def use():
        async with circle.connecting(Calls().connect)(PEER):
            circle.useful(PEER)
            raise PeerUnreachable("cut")

    async def run():
        for _ in range(3 * FAILURES):
            with pytest.raises(PeerUnreachable):
                await use()
            assert circle.breakers.state(PEER, 0.0) == "closed"
        circle.useful("file:///somewhere")  # a folder has none

    asyncio.run(run())


def test_a_connection_that_breaks_soon_is_a_failure_and_one_that_is_left_is_not(circle):
    calls = Calls()

    async def use(problem):
        async with circle.connecting(calls.connect)(PEER):
            if problem is not None:
                raise problem

    async def run():
        for _ in range(3 * FAILURES):
            await use(None)
        assert circle.breakers.of(PEER).is_blank
        for _ in range(FAILURES):
            with pytest.raises(PeerUnreachable):
                await use(PeerUnreachable("cut"))
        assert circle.breakers.state(PEER, 0.0) == "open"

    asyncio.run(run())


def test_a_refusal_is_an_answer_and_a_call_that_is_cancelled_leaves_the_probe_to_others(circle):
    calls = Calls()
    calls.fails = PeerUnreachable("nobody there")
    failing(circle, calls, FAILURES)
    breaker = circle.breakers.of(PEER)
    breaker._until = 0.0

    async def run():
        @asynccontextmanager
        async def hangs(address):
            await asyncio.Event().wait()
            yield address

        async def call():
            async with circle.connecting(hangs)(PEER):
                pass

        task = asyncio.ensure_future(call())
        while breaker._state != "half-open":
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert breaker._state == "open"
        breaker._until = 0.0
        calls.fails = PeerDenied("go away")
        with pytest.raises(PeerDenied):
            async with circle.connecting(calls.connect)(PEER):
                pass
        assert breaker._state == "closed"

    asyncio.run(run())


def test_who_is_banned_is_not_called(circle):
    calls = Calls()
    circle.door.put(subject_of("10.0.0.0/8"), why="a test")

    async def run():
        with pytest.raises(PeerDenied, match="a test") as caught:
            async with circle.connecting(calls.connect)(PEER):
                pass
        assert "unban" in caught.value.hint

    asyncio.run(run())
    assert calls.count == 0
