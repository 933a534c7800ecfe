"""What a thread opens while who waits for it is cancelled: descriptors, locks and threads are freed, and it works at once."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from contextlib import suppress

import pytest
from faketorrent import DATA, RULES, Fake
from getting import A, beside
from tracker_runs import OPTIONS

from wherry.session import Session
from wherry.store.newindex import NewIndex, left_behind
from wherry.transfer.target import Target
from wherry.transfer.torrent_in import TorrentGet, given
from wherry.transfer.torrent_place import TorrentPlace
from wherry_cli.demo import compare
from wherry_locate.server.book import Book
from wherry_locate.server.serving import tracking


@pytest.fixture
def cut(monkeypatch):
    """Runs a coroutine, and cancels it while ``owner.method`` is done and has not come back yet."""

    async def run(owner, method, work):
        loop, opened, let_go, real = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), getattr(owner, method)

        def held(*arguments, **options):
            answer = real(*arguments, **options)
            loop.call_soon_threadsafe(opened.set)
            let_go.wait(10)
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(owner, method, held)
            task = asyncio.create_task(work)
            await opened.wait()
            task.cancel()
            loop.call_later(0.05, let_go.set)
            with pytest.raises(asyncio.CancelledError):
                await task

    return run


def held_below(folder):
    """The files and folders below ``folder`` that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(path for path in found if path.startswith(f"{folder}/"))


async def test_a_get_whose_target_is_being_opened(world, tree, tmp_path, cut):
    target = tmp_path / "there" / "copy"
    target.parent.mkdir()
    async with world.shared(tree) as cid, world.node() as session:
        await cut(Target, "__init__", session.get(cid, sources=[A], output=str(target)))
        assert held_below(target.parent) == []
        assert beside(target) == []
        await session.get(cid, sources=[A], output=str(target))
    assert list(compare(tree, target)) == []


async def test_gets_that_are_cancelled_wherever_they_are(world, tree, tmp_path):
    """In the style of a program that gives each get a short time, and another one when it has run out."""
    places, rng = tmp_path / "places", random.Random(7)
    places.mkdir()
    async with world.shared(tree) as cid, world.node() as session:
        for number in range(60):
            target = str(places / str(number))
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0.001, 0.05)):
                    await session.get(cid, sources=[A], output=target)
            assert held_below(places) == []
            if number % 10 == 0:
                await session.get(cid, sources=[A], output=target)


async def test_a_torrents_get_whose_folder_is_being_opened(tmp_path, cut):
    torrent, place = tmp_path / "x.torrent", tmp_path / "there"
    torrent.write_bytes(DATA)
    place.mkdir()

    async def get():
        await TorrentGet(given(str(torrent)), str(place / "got"), Fake(), RULES, lambda event: None).run([], [], None, None)

    await cut(TorrentPlace, "__init__", get())
    assert (held_below(place), os.listdir(place)) == ([], [])
    await get()
    assert os.listdir(place) == ["got"]


async def test_a_session_whose_observers_are_being_started(home, cut):
    from wherry.wiring import Wiring

    async def opened():
        async with Session.open(home=home, environ={}, overrides={"observer.use": "log"}):
            pass

    before = set(threading.enumerate())
    await cut(Wiring, "observe", opened())
    assert [thread.name for thread in set(threading.enumerate()) - before if "observer" in thread.name] == []
    await opened()


async def test_a_repair_whose_index_is_being_made(home, tree, cut):
    async with Session.open(home=home) as session:
        await session.add(str(tree))
    async with Session.open(home=home, verb="repair") as session:
        before = held_below(home)
        await cut(NewIndex, "__init__", session.repair())
        assert (held_below(home), left_behind(home)) == (before, 0)
        assert (await session.repair()).kept == 1


async def test_a_tracker_whose_book_is_being_opened(tmp_path, cut):
    async def opened():
        async with tracking("http://127.0.0.1:0", tmp_path / "book.db", OPTIONS):
            pass

    await cut(Book, "__init__", opened())
    assert held_below(tmp_path) == []
    await opened()
