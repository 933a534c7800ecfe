"""What a fetcher says of its sources, and how often."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager

import pytest

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import BufferPool
from wherry.cid import CID, RAW
from wherry.errors import (
    BlockNotFound,
    DialDenied,
    NoSource,
    PeerDenied,
    PeerProtocolError,
    PeerTimeout,
    PeerUnreachable,
    WherryError,
)  # fmt: skip
from wherry.observe import Note
from wherry.session import Session
from wherry.transfer import asking as asking_module
from wherry.transfer import fetch as fetch_module
from wherry.transfer import hope, resting
from wherry.transfer.fetch import Fetcher
from wherry.transfer.running import running


class Gone(Channel):
    """Ends whenever it is asked."""

    async def fetch(self, wants, lender):
        raise PeerUnreachable("it ended the connection", peer="peer")
        yield


async def test_of_a_source_that_comes_and_goes_it_is_said_once_in_a_while(monkeypatch):
    monkeypatch.setattr(resting, "_FIRST_S", 0.01)
    notes, calls = [], []

    @asynccontextmanager
    async def connect(address):
        calls.append(address)
        yield Gone()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=1.0, observe=notes.append)
    with pytest.raises(NoSource):
        async with running(made):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert len(calls) > 2
    assert [note.text for note in notes if "is gone" in note.text] == [
        "peer is gone (it ended the connection); trying again for up to 1 s"
    ]


class Wrong(Channel):
    """Breaks the protocol so many times, then gives what is wanted."""

    def __init__(self, times):
        self.times = times

    async def fetch(self, wants, lender):
        self.times -= 1
        if self.times >= 0:
            raise PeerProtocolError("peer: answers 501", peer="peer")
        buffer = await lender.lend()
        buffer.view[: len(b"leaf")] = b"leaf"
        yield Arrival(buffer, [Laid(0, 0, 4)])


async def test_a_source_that_fails_each_time_is_told_of_once_and_that_it_is_back(monkeypatch):
    monkeypatch.setattr(resting, "_FIRST_S", 0.01)
    notes, channel = [], Wrong(5)

    @asynccontextmanager
    async def connect(address):
        yield channel

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=5.0, observe=notes.append)
    async with running(made), asyncio.timeout(20):
        await made.nodes([CID.of(RAW, b"leaf")])
    assert channel.times < 0
    assert [(note.level, note.text) for note in notes] == [("info", "peer: answers 501"), ("info", "peer is back")]


class Refusing(Channel):
    """Is there, and gives nothing to us."""

    async def fetch(self, wants, lender):
        raise PeerDenied("peer: the service refuses us", peer="peer", hint="check the key")
        yield


async def test_where_all_refuse_the_hint_is_theirs_and_not_of_the_address(monkeypatch):
    monkeypatch.setattr(resting, "_FIRST_S", 0.01)

    @asynccontextmanager
    async def connect(address):
        yield Refusing()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=0.3, observe=lambda _: None)
    with pytest.raises(NoSource, match="refuses us") as caught:
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert caught.value.hint == "check the key; run the same command again to go on"


async def test_of_wrong_bytes_the_file_is_told_where_its_owner_looks(tmp_path):
    """Of a source that is files: whose owner knows no CIDs."""
    tree, notes = tmp_path / "files", []
    tree.mkdir()
    for name in ("a", "b"):
        (tree / name).write_bytes(name.encode() * 3000)
    async with Session.open(home=tmp_path / "home") as session, Session.open(home=tmp_path / "other") as other:
        cid = (await session.add(str(tree))).cid
        async with session.serve(listen=["http://127.0.0.1:0"]) as serving:
            assert [entry.name async for entry in other.ls(cid, sources=serving.listen)] == ["a", "b"]
        (tree / "b").write_bytes(b"x" * 3000)
        with pytest.raises(WherryError):
            await other.get(cid, sources=[tree.as_uri()], output=str(tmp_path / "got"), observe=notes.append, wait_s=0.5)
    (said,) = {note.text for note in notes if isinstance(note, Note) and note.level == "warning"}
    assert said.endswith("do not match their CID (in 'b')")


async def test_an_address_is_named_once_where_a_get_ends(monkeypatch):
    monkeypatch.setattr(resting, "_FIRST_S", 0.01)

    @asynccontextmanager
    async def connect(address):
        yield Wrong(1000)

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=0.2, observe=lambda note: None)
    with pytest.raises(NoSource, match=r"\(peer: answers 501\)"):
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])


class Lacking(Channel):
    """Has nothing."""

    async def fetch(self, wants, lender):
        yield Arrival(missing=range(len(wants)))


class Hanging(Channel):
    """Gives nothing in time."""

    async def fetch(self, wants, lender):
        raise PeerTimeout("peer: is silent")
        yield


async def test_what_is_wanted_of_who_is_of_no_use_is_named():
    @asynccontextmanager
    async def connect(address):
        yield Hanging()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=0.2, observe=lambda note: None)
    with pytest.raises(NoSource, match=r"\(peer: is silent\), and block bafkrei\w+ is not here") as caught:
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert "--from" in caught.value.hint


class Inwards(Channel):
    """Is a web server that redirects to where this node does not go."""

    asked = 0

    async def fetch(self, wants, lender):
        type(self).asked += 1
        raise DialDenied("a redirect leads to 10.0.0.1, nearer", peer="peer", hint="name that yourself")
        yield


async def test_a_redirect_that_must_not_be_followed_is_not_waited_for_and_its_hint_is_told():
    @asynccontextmanager
    async def connect(address):
        yield Inwards()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=60.0, observe=lambda note: None)
    with pytest.raises(BlockNotFound, match=r"\(peer: a redirect leads to 10\.0\.0\.1") as caught:
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert "name that yourself" in caught.value.hint
    assert Inwards.asked == 1


async def test_who_has_nothing_is_not_said_to_have_a_part():
    @asynccontextmanager
    async def connect(address):
        yield Lacking()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=1.0, observe=lambda note: None)
    with pytest.raises(BlockNotFound, match=r"\(peer: does not have it\)") as caught:
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert "--from" in caught.value.hint


class Silent(Channel):
    """Is never asked here."""

    async def fetch(self, wants, lender):
        pytest.fail("it was asked though it chokes")
        yield


async def test_who_is_choked_by_all_it_can_ask_says_that_it_waits_and_for_ever_is_no_turn(monkeypatch):
    monkeypatch.setattr(fetch_module, "_SNUBBED_S", 0.1)
    monkeypatch.setattr(hope, "_STALE_S", 1.0)
    notes = []

    @asynccontextmanager
    async def connect(address):
        yield Silent()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=0.05, observe=notes.append)
    connected = (scheduler := made._scheduler).connected

    def choked(source, now, parallel=4, *, linked=False):
        connected(source, now, parallel, linked=linked)
        scheduler.choked(source, on=True)

    monkeypatch.setattr(scheduler, "connected", choked)
    with pytest.raises(NoSource, match=r"no source was of any use for 1 s \(peer: answers others only\)"):
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    said = [note.text for note in notes if "waiting for a turn" in note.text]
    assert 2 <= len(said) <= 10


async def test_who_is_not_answered_is_told_so_once_and_why(monkeypatch):
    monkeypatch.setattr(fetch_module, "_SILENT_S", 0.1)
    monkeypatch.setattr(hope, "FIRST_SOURCE_S", 1.0)
    notes = []

    @asynccontextmanager
    async def connect(address):
        if address == "peer":
            raise PeerUnreachable("peer refuses connections", peer="peer")
        await asyncio.sleep(60)
        yield Gone()

    made = Fetcher(["peer", "silent"], connect, BufferPool(), wait_s=5.0, observe=notes.append)
    with pytest.raises(NoSource, match=r"no source could be reached \(peer: refuses .*; silent: does not answer\)"):
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert [note.text for note in notes] == [
        "no source has answered yet (peer: refuses connections; silent: does not answer); trying for up to 25 s"
    ]


class Mute(Channel):
    """Is asked and says nothing."""

    async def fetch(self, wants, lender):
        await asyncio.sleep(60)
        yield Arrival()


async def test_of_who_falls_silent_it_is_told_once_in_a_while(monkeypatch):
    monkeypatch.setattr(asking_module, "STILL_S", 0.2)
    notes = []

    @asynccontextmanager
    async def connect(address):
        yield Mute()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=5.0, observe=notes.append)
    with pytest.raises(TimeoutError):
        async with running(made), asyncio.timeout(1.5):
            await made.nodes([CID.of(RAW, b"leaf")])
    (note,) = notes
    assert note.level == "info"
    assert re.fullmatch("nothing complete has come for [0-9]+ s from peer", note.text)


class Slow(Channel):
    """Takes its time with each block."""

    async def fetch(self, wants, lender):
        await asyncio.sleep(0.6)
        buffer = await lender.lend()
        buffer.view[: len(b"leaf")] = b"leaf"
        yield Arrival(buffer, [Laid(0, 0, 4)])


async def test_who_is_slow_is_not_said_to_be_back(monkeypatch):
    monkeypatch.setattr(asking_module, "STILL_S", 0.2)
    notes = []

    @asynccontextmanager
    async def connect(address):
        yield Slow()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=5.0, observe=notes.append)
    async with running(made), asyncio.timeout(20):
        for _ in range(2):
            await made.nodes([CID.of(RAW, b"leaf")])
    (note,) = notes
    assert re.fullmatch("nothing complete has come for [0-9]+ s from peer", note.text)


async def test_who_waits_for_sources_to_be_found_is_told_so(monkeypatch):
    monkeypatch.setattr(fetch_module, "STILL_S", 0.2)
    notes = []

    async def find():
        await asyncio.sleep(1.0)
        if notes is None:
            yield ""

    made = Fetcher([], None, BufferPool(), wait_s=5.0, observe=notes.append, find=find)
    with pytest.raises(NoSource, match="no source is named or found"):
        async with running(made), asyncio.timeout(20):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert [note.text for note in notes] == ["no source is found yet; those who may know one are still asked"]
