"""Peers of the tcp transport that lie, flood, drip, stall and stay silent, over real sockets (specs/0004 §5)."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import asynccontextmanager, suppress

import pytest

from wherry.abc.transport import Want as Wanted
from wherry.cid import CID, RAW
from wherry.env import Env
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.observe import Refused
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry.wire.encoding import blocks_head, encode
from wherry.wire.messages import BlocksFlag, Cancel, Follow, Have, Hello, Ping, Proof, Want
from wherry_tcp.options import TcpOptions
from wherry_tcp.places import parse_place
from wherry_tcp.transport import TcpTransport

pytestmark = pytest.mark.integration
ROOT = CID.of(RAW, b"root")
FILE = file_of("file", *[500_000] * 8)
WANTS = [leaf.want for leaf in FILE]


def transport(home, *, emit=None, **options):
    env = Env(home, {}) if emit is None else Env(home, {}, emit=emit)
    times = {"connect_timeout": 1.0, "idle_timeout": 1.0, "request_timeout": 1.0}
    return TcpTransport(TcpOptions(**{**times, **options}), env)


@asynccontextmanager
async def listening(tmp_path, **options):
    server = transport(tmp_path, **options)
    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address:
        yield address, parse_place(address).port


async def shaken(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(Hello(bytes(32))))
    await reader.readexactly(8)
    writer.write(encode(Proof()))
    return reader, writer


async def over(reader):
    """Waits until the other side has ended it."""
    async with asyncio.timeout(20):
        with suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass


async def still_serves(tmp_path, address):
    async with transport(tmp_path, connect_timeout=30.0, idle_timeout=30.0, request_timeout=30.0).connect(address) as channel:
        right(await harvest(channel, WANTS, CountedPool()), FILE)


BAD = {
    "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a hello without end": encode(Hello(bytes(32)))[:4] + b"\xff\xff\xff\xff" + bytes(1000),
    "nothing but a ping": encode(Ping(1)),
}


@pytest.mark.parametrize("what", BAD)
async def test_who_talks_nonsense_at_the_door_is_shown_out(tmp_path, what):
    events = []
    async with listening(tmp_path, emit=events.append) as (address, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(BAD[what])
        await over(reader)
        writer.close()
        await still_serves(tmp_path, address)
    assert Refused("tcp", "malformed") in events


FLOODS = {
    "wants": b"".join(encode(Want(number, 1000, (ROOT,) * 500, (None,) * 500)) for number in range(100)),
    "wants out of turn": encode(Want(5, 1000, (ROOT,), (None,))),
    "cancels of nothing": encode(Cancel(3)),
    "blocks that nobody wanted": blocks_head(0, 1000, BlocksFlag.FINAL),
    "a second hello": encode(Hello(bytes(32))),
    "garbage": b"\xff" * 100,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_violations_end_the_connection_alone(tmp_path, what):
    async with listening(tmp_path, max_requests=8) as (address, port):
        reader, writer = await shaken(port)
        writer.write(FLOODS[what])
        await over(reader)
        writer.close()
        await still_serves(tmp_path, address)


async def test_who_asks_and_does_not_read_is_given_up(tmp_path):
    """Pings whose answers are not taken, and blocks that are not taken: neither fills memory, nor holds a thread."""
    async with listening(tmp_path) as (address, port):
        slow = []
        for _ in range(10):
            with suppress(ConnectionError):
                _, writer = await shaken(port)
                writer.write(encode(Want(0, 4 << 20, tuple(want.cid for want in WANTS), (500_000,) * 8)))
                slow.append(writer)
        await still_serves(tmp_path, address)
        for writer in slow:
            with suppress(ConnectionError):
                async with asyncio.timeout(20):
                    while True:
                        writer.write(encode(Ping(0)) * 1000)
                        await writer.drain()
                        await asyncio.sleep(0.01)
            writer.transport.abort()


async def test_those_who_stay_silent_make_room(tmp_path):
    async with listening(tmp_path, max_connections=50, connect_timeout=30.0) as (address, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        try:
            await still_serves(tmp_path, address)
        finally:
            for sock in silent:
                sock.close()
    async with listening(tmp_path, max_connections=50) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await over(reader)  # it was given up within the time of a handshake
        writer.close()


async def test_one_address_has_its_share(tmp_path):
    events = []
    async with listening(tmp_path, max_per_host=3, emit=events.append) as (address, port):
        lines = [await shaken(port) for _ in range(3)]
        with pytest.raises(PeerError):
            await still_serves(tmp_path, address)
        for _, writer in lines:
            writer.close()
        async with asyncio.timeout(20):
            while True:
                with suppress(PeerError):
                    await still_serves(tmp_path, address)
                    break
                await asyncio.sleep(0.05)
    assert Refused("tcp", "busy") in events


async def test_half_closed(tmp_path):
    """Who says that it says no more is answered no more, and let go."""
    async with listening(tmp_path) as (address, port):
        reader, writer = await shaken(port)
        writer.write_eof()
        await over(reader)
        writer.close()
        await still_serves(tmp_path, address)


async def test_idle_peers_are_pinged_and_kept(tmp_path):
    async with listening(tmp_path) as (address, _), transport(tmp_path).connect(address) as channel:
        await asyncio.sleep(2.5)  # more than twice what a silent peer is given
        right(await harvest(channel, WANTS, CountedPool()), FILE)


# Towards a server


@asynccontextmanager
async def serving(behave):
    """A server that shakes hands well and then does what ``behave`` does, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, suppress(OSError):
                sock.settimeout(5)
                sock.recv(1 << 16)
                sock.sendall(encode(Hello(bytes(32))))
                sock.recv(1 << 16)
                sock.sendall(encode(Proof()))
                sock.recv(1 << 16)
                behave(sock, stop)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        await asyncio.to_thread(thread.join)


def drip(sock, stop):
    sock.sendall(blocks_head(0, 100_000, BlocksFlag.FINAL))
    while not stop.wait(0.05):
        sock.sendall(b"\1")


def flood(sock, stop):
    while not stop.is_set():
        sock.sendall(encode(Have(ROOT, tuple((2 * n, 2 * n + 1) for n in range(1000)))))


def pings(sock, stop):
    while not stop.wait(0.1):
        sock.sendall(encode(Ping(0)))


SERVERS = {
    "is silent": (lambda sock, stop: stop.wait(20), PeerTimeout),
    "pings and does not answer": (pings, PeerTimeout),
    "drips": (drip, PeerError),
    "says what it has, without end, and answers nothing": (flood, PeerTimeout),
    "hangs up": (lambda sock, stop: None, PeerError),
    "sends another request's blocks": (lambda sock, stop: sock.sendall(blocks_head(9, 100, BlocksFlag(0))), PeerProtocolError),
    "sends garbage": (lambda sock, stop: sock.sendall(b"\xfe" * 5000), PeerProtocolError),
    "promises more than a buffer": (lambda sock, stop: sock.sendall(blocks_head(0, 1 << 30, BlocksFlag(0))), PeerProtocolError),
    "refuses": (lambda sock, stop: (sock.sendall(blocks_head(0, 0, BlocksFlag(3))), stop.wait(20)), PeerBusy),
    "asks us out of turn": (lambda sock, stop: sock.sendall(encode(Want(3, 1, (ROOT,), (None,)))), PeerProtocolError),
}  # fmt: skip


@pytest.mark.parametrize("what", SERVERS)
async def test_bad_servers_are_given_up(tmp_path, what):
    behave, kind = SERVERS[what]
    pool = CountedPool()
    async with serving(behave) as address, asyncio.timeout(20):
        with pytest.raises(kind) as caught:
            async with transport(tmp_path).connect(address) as channel:
                await harvest(channel, [Wanted(ROOT, 100_000)], pool)
        assert caught.value.peer == address
        assert not isinstance(caught.value, PeerDenied | PeerUnreachable) or what == "hangs up"
    assert pool.out == 0


async def test_as_many_silent_peers_as_there_are_buffers_stop_nobody_for_long(tmp_path, monkeypatch):
    """Each has begun an answer, and holds a buffer for it; alone it would be waited for as long as any."""
    monkeypatch.setattr("wherry_tcp.line.STARVED_S", 0.5)

    def fall_silent(sock, stop):
        sock.sendall(blocks_head(0, 100_020, BlocksFlag.FINAL) + head)
        began.release()
        stop.wait(20)

    head = struct.pack(">BBHIQI", 1, 0, 1, 0, 100_004, 100_000)  # of a run of one block
    began, pool, fetcher = threading.Semaphore(0), CountedPool(1), transport(tmp_path, idle_timeout=20.0, request_timeout=20.0)

    async def from_silent(address):
        async with fetcher.connect(address) as channel:
            await harvest(channel, [Wanted(ROOT, 100_000)], pool)

    async with serving(fall_silent) as one, serving(fall_silent) as other, listening(tmp_path) as (good, _):
        silent = [asyncio.create_task(from_silent(address)) for address in (one, other)]
        for _ in silent:
            await asyncio.to_thread(began.acquire)
        while pool.out < pool.count:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(15), fetcher.connect(good) as channel:
            right(await harvest(channel, WANTS, pool), FILE)
        given_up = [task.exception() for task in silent if task.done()]
        for task in silent:
            task.cancel()
        await asyncio.wait(silent)
    assert given_up
    assert all(isinstance(problem, PeerTimeout) for problem in given_up), given_up
    assert pool.out == 0


async def test_who_only_fetches_serves_nothing(tmp_path):
    """And says so: what it is asked is missing, what it is to tell is nothing."""
    got = []

    def ask(sock, stop):
        sock.sendall(encode(Want(0, 1000, (ROOT,), (None,))) + encode(Follow(ROOT)))
        while len(b"".join(got)) < 12 + 16 + 8 + 36:
            got.append(sock.recv(4096))
        sock.sendall(blocks_head(0, 0, BlocksFlag(3)))
        stop.wait(20)

    async with serving(ask) as address, transport(tmp_path).connect(address) as channel:
        with pytest.raises(PeerBusy):
            await harvest(channel, [Wanted(ROOT, 100)], CountedPool())
    data = b"".join(got)
    assert data.startswith((blocks_head(0, 16, BlocksFlag.FINAL), encode(Have(ROOT))[:1]))
