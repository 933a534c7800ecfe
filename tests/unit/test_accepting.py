"""Taking connections where files run short, over real sockets; the limit of open files is as the test says."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest

from wherry import accepting
from wherry.accepting import Reception, Shortage, bound, crowded

ROOM = 10


class Echo(asyncio.Protocol):
    """Sends back what comes; a request of b"?" is under way until the test ends."""

    reception = None

    def __init__(self):
        self.held = AsyncExitStack()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data == b"?":
            self.held.enter_context(self.reception.hearing(self.transport))
            return
        with self.reception.hearing(self.transport):
            self.transport.write(data)


@pytest.fixture(autouse=True)
def files(monkeypatch):
    monkeypatch.setattr(accepting, "open_files_max", lambda: 3 * ROOM + 3000)  # more than this process has open
    monkeypatch.setattr(accepting, "crowded", lambda _, others: others >= ROOM)


@asynccontextmanager
async def received(**options):
    refused = []
    reception = Reception(Echo, None, 1.0, refused=lambda: refused.append(1), **options)
    Echo.reception = reception
    port = await reception.start("127.0.0.1", 0)
    try:
        yield reception, port, refused
    finally:
        await reception.stop()
        for guest in list(reception._guests.values()):
            guest.shutdown(socket.SHUT_RDWR)
        while reception._guests:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def clients(port, count):
    """Connections, each taken before the next one is made."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            sock = stack.enter_context(closing(socket.socket()))
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            found.append(sock)
            await asyncio.sleep(0.02)
        yield found


async def asked(sock, data=b"x"):
    """What comes back: b"" if the connection has ended."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, data)
        async with asyncio.timeout(5):
            return await loop.sock_recv(sock, 10)
    except ConnectionError:
        return b""


def test_who_has_been_silent_longest_makes_room():
    async def run():
        async with received() as (reception, port, refused), clients(port, ROOM) as first:
            assert await asked(first[0]) == b"x"  # so it is the last to go
            async with clients(port, 3) as late:
                assert [await asked(sock) for sock in (*first, *late)] == [b"x", b"", b"", b"", *[b"x"] * (ROOM - 1)]
            assert not refused
            assert len(reception._guests) <= ROOM

    asyncio.run(run())


def test_who_is_being_answered_stays_and_who_comes_is_turned_away(caplog):
    async def run():
        async with received() as (reception, port, refused), clients(port, ROOM) as first:
            for sock in first:
                await asyncio.get_running_loop().sock_sendall(sock, b"?")
            await asyncio.sleep(0.1)
            async with clients(port, 2) as late:
                assert [await asked(sock) for sock in late] == [b"", b""]
            assert len(refused) == 2
            assert len(reception._guests) == ROOM

    asyncio.run(run())
    assert len(caplog.records) == 1
    assert "ulimit -n" in caplog.text


def test_where_they_leave_there_is_room_again():
    async def run():
        async with received() as (reception, port, _):
            async with clients(port, ROOM + 2):
                pass
            await asyncio.sleep(0.1)
            assert not reception._guests
            assert not reception._silent
            async with clients(port, 1) as (sock,):
                assert await asked(sock) == b"x"

    asyncio.run(run())


def test_who_is_not_wanted_is_cut():
    async def run():
        async with received(wanted=lambda ip, others: others.count(ip) < 2) as (_, port, refused), clients(port, 3) as found:
            assert [await asked(sock) for sock in found] == [b"x", b"x", b""]
            assert not refused

    asyncio.run(run())


def test_a_shortage_is_said_once_a_minute(monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(accepting.time, "monotonic", lambda: now[0])
    shortage = Shortage()
    for _ in range(100):
        shortage.say(OSError(errno.EMFILE, "Too many open files"))
        now[0] += 0.7
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "oo many" in caplog.text


def test_no_file_to_spare_is_waited_for(monkeypatch, caplog):
    """`accept` fails: asyncio would print a traceback each time."""
    taken, failures = [], [OSError(errno.EMFILE, "Too many open files")] * 3

    class Listening(socket.socket):
        def accept(self):
            if failures:
                raise failures.pop()
            return super().accept()

    async def run():
        (plain,) = await bound("127.0.0.1", 0)
        with closing(Listening(fileno=plain.detach())) as sock, closing(socket.socket()) as client:
            task = asyncio.create_task(accepting.accepting(sock, lambda *found: taken.append(found), Shortage()))
            client.connect(sock.getsockname())
            while not taken:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            taken[0][0].close()

    asyncio.run(run())
    assert not failures
    assert len(caplog.records) == 1


def test_a_crowd_is_a_third_of_the_files_or_what_leaves_less_than_a_quarter():
    class Taken:
        def __init__(self, number):
            self.number = number

        def fileno(self):
            return self.number

    most = accepting.open_files_max()
    assert not crowded(Taken(most * 3 // 4 - 1), most // 3 - 1)
    assert crowded(Taken(5), most // 3)
    assert crowded(Taken(most * 3 // 4), 0)


def test_both_families_of_a_name_have_one_port():
    async def run():
        sockets = await bound("localhost", 0)
        ports = {sock.getsockname()[1] for sock in sockets}
        for sock in sockets:
            sock.close()
        assert len(ports) == 1

    asyncio.run(run())
