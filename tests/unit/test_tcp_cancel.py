"""Whenever a dial or a connection is cancelled, no socket of it stays open (specs/0004 §5)."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
from types import SimpleNamespace

import pytest

from wherry.env import Env
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry.wire.connection import Connection, Misuse
from wherry.wire.states import Stage
from wherry_tcp import dialling, line, listening, sender, tls
from wherry_tcp.options import TcpOptions
from wherry_tcp.places import parse_place
from wherry_tcp.stream import Stream
from wherry_tcp.transport import TcpTransport

FILE = file_of("file", 1000, 2000)
SCHEMES = ["tcp", "tcps", "unix"]


@pytest.fixture
def sockets(monkeypatch):
    """All sockets and streams that are made, by either end."""
    made = []
    init, wrapped = Stream.__init__, ssl.SSLContext.wrap_socket

    def note(self, sock):
        made.append(self)
        init(self, sock)

    def wrap(self, *given, **more):
        made.append(wrapped(self, *given, **more))
        return made[-1]

    class Socket(socket.socket):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            made.append(self)

    monkeypatch.setattr(Stream, "__init__", note)
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap)
    monkeypatch.setattr(dialling.socket, "socket", Socket)
    yield made
    assert made
    assert [one for one in made if one.fileno() >= 0] == []


@pytest.fixture
def unraised(monkeypatch):
    """What the interpreter complains of where nobody can hear it: sockets that were left to the garbage collector."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    yield found
    gc.collect()
    assert [repr(one.exc_value) for one in found] == []


def transport(home):
    return TcpTransport(TcpOptions(connect_timeout=5.0, idle_timeout=5.0), Env(home, {}))


def place(scheme, home):
    return f"unix://{home}/u" if scheme == "unix" else f"{scheme}://127.0.0.1:0"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_a_dial_may_be_cancelled_at_any_step(scheme, tmp_path, unraised, sockets):
    async with transport(tmp_path).listen(place(scheme, tmp_path), source_of(FILE)) as address:

        async def work(client):
            async with client.connect(address) as channel:
                right(await harvest(channel, [leaf.want for leaf in FILE], CountedPool()), FILE)

        steps, whole = 0, False
        while not whole:
            task = asyncio.create_task(work(transport(tmp_path)))
            for _ in range(steps):
                await asyncio.sleep(0)
                if steps > 12:  # from here on it waits for the other end, which takes more than a turn of the loop
                    await asyncio.sleep(0.0005)
            whole = task.done()
            task.cancel()
            await asyncio.wait([task])
            steps += 1 if steps < 12 else 3


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_one_that_is_cancelled_once_more_while_it_ends_closes_its_connection(scheme, tmp_path, monkeypatch, sockets):
    settled = line.settled

    async def interrupted(tasks):
        await settled(tasks)
        raise asyncio.CancelledError

    async with transport(tmp_path).listen(place(scheme, tmp_path), source_of(FILE)) as address:
        async with transport(tmp_path).connect(address) as channel:
            right(await harvest(channel, [leaf.want for leaf in FILE], CountedPool()), FILE)
            monkeypatch.setattr(line, "settled", interrupted)


async def test_a_caller_that_says_nothing_inside_tls_is_closed_when_the_node_stops(tmp_path, monkeypatch):
    begun, streams = asyncio.Event(), []
    encrypted = listening.encrypted

    async def note(*given, **more):
        streams.append(await encrypted(*given, **more))
        begun.set()
        return streams[-1]

    monkeypatch.setattr(listening, "encrypted", note)
    async with transport(tmp_path).listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        found = parse_place(address)
        _, writer = await asyncio.open_connection(found.host, found.port, ssl=tls.client_context())
        await asyncio.wait_for(begun.wait(), 10)
    assert [stream.fileno() for stream in streams] == [-1]
    writer.close()


async def test_a_fault_of_the_program_leaves_no_connection_open():
    """Found as a socket that a get left behind now and then: the answer under way met a good-bye that was said meanwhile."""

    async def fails():
        raise Misuse("blocks may not be sent on a connection that is ended")

    here, there = socket.socketpair()
    with there:
        one = line.Line(
            Stream(here), Connection("peer", dialled=True, requests_max=8), SimpleNamespace(options=TcpOptions(), flow=None)
        )
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        with pytest.raises(Misuse):
            one._closed(task)
        assert one.closed
        assert here.fileno() == -1


@pytest.mark.parametrize("stage", list(Stage))
def test_an_answer_ends_where_this_side_has_said_good_bye(stage):
    def messages(_wire):
        yield ["one"]
        raise Misuse("blocks may not be sent now")

    wire = SimpleNamespace(sent=stage)
    given = sender.Sender(None, wire, SimpleNamespace(flow=None))._messages(SimpleNamespace(messages=messages))
    assert next(given) == ["one"]
    with pytest.raises(StopIteration if stage is Stage.ENDED else Misuse):
        next(given)
