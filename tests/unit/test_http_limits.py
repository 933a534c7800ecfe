"""An http server within the limits of a link: in the open past the loop, inside TLS on it; nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager

import pytest

from wherry import accepting
from wherry.links import trips
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.certificates import make_certificate
from wherry.testing.leaves import file_of, right, source_of
from wherry.traffic import Pair, Plan, Traffic
from wherry_http.frames import BLOCKS_PATH, WANTS_TYPE
from wherry_http.options import HttpOptions
from wherry_http.paced import PacedWriter
from wherry_http.transport import HttpTransport

MB = 1_000_000
FILE = file_of("file", 1000, 300_000, 900_000, 900_000)
SIZE = 2_101_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def serving(traffic, certificate=None, klass="normal"):
    tls = {} if certificate is None else {"tls_cert": certificate[0], "tls_key": certificate[1], "tls_ca": certificate[0]}
    transport = HttpTransport(HttpOptions(idle_timeout=5.0, **tls), flow=traffic.flow(klass=klass))
    scheme = "http" if certificate is None else "https"
    async with transport.listen(f"{scheme}://127.0.0.1:0", source_of(FILE)) as address:
        async with transport.connect(address) as channel:
            yield channel


async def all_of(channel):
    found = await asyncio.wait_for(harvest(channel, [leaf.want for leaf in FILE], CountedPool()), 30)
    right(found, FILE)


@pytest.mark.parametrize("inside_tls", [False, True])
async def test_what_is_sent_waits_for_leave_and_arrives_whole(inside_tls, certificate):
    traffic = Traffic(Plan(node=Pair(up=4 * MB)))
    loop = asyncio.get_running_loop()
    async with serving(traffic, certificate if inside_tls else None) as channel:
        began = loop.time()
        await all_of(channel)
        seconds = loop.time() - began
    report = traffic.report()
    assert seconds >= (SIZE - 0.22 * 4 * MB) / (4 * MB)
    assert SIZE <= report.node.up.bytes <= SIZE + 1000
    assert report.node.up.waiting == 0
    assert report.transfers[0].waited_up["limited"] > 0
    assert [peer.name for peer in report.transfers[0].peers] == ["127.0.0.1"]


@pytest.mark.parametrize("inside_tls", [False, True])
async def test_what_nothing_limits_is_counted_all_the_same(inside_tls, certificate):
    traffic = Traffic()
    async with serving(traffic, certificate if inside_tls else None) as channel:
        await all_of(channel)
    assert SIZE <= traffic.report().node.up.bytes <= SIZE + 1000


async def test_a_change_holds_for_the_answer_under_way():
    traffic = Traffic(Plan(node=Pair(up=100_000)))
    async with serving(traffic) as channel:
        fetching = asyncio.create_task(all_of(channel))
        while not traffic.report().node.up.waiting:
            await asyncio.sleep(0.01)
        traffic.set(Plan())
        await asyncio.wait_for(fetching, 15)  # it would take twenty seconds


async def test_a_reader_that_goes_away_while_it_waits_takes_nothing():
    traffic = Traffic(Plan(node=Pair(up=10_000)))
    async with serving(traffic) as channel:
        fetching = asyncio.create_task(all_of(channel))
        while not traffic.report().node.up.waiting:
            await asyncio.sleep(0.01)
        fetching.cancel()
        await asyncio.wait([fetching])
    assert traffic.report().node.up.waiting == 0


async def test_background_traffic_follows_the_way_to_the_peer():
    traffic = Traffic()
    async with serving(traffic, klass="bulk") as channel:
        for _ in range(3):
            await all_of(channel)
    (peer,) = traffic.report().transfers[0].peers
    assert peer.up.limit is not None  # the kernel told how long the way is


async def test_leave_that_was_taken_and_not_used_is_given_back():
    given = []

    class Counting(type(Traffic().flow())):
        def unused(self, count):
            given.append(count)

    class Writer:
        async def write(self, data):
            """Takes it."""

    flow = Traffic(Plan(node=Pair(up=MB))).flow()
    paced = PacedWriter(Writer(), Counting(flow._traffic, flow._entry, ""))
    await paced.leave(5000)
    await paced.write(bytes(2000))
    paced.close()
    assert given == [3000]


def test_no_round_trip_is_known_of_what_is_no_connection():
    class Gone:
        def getsockopt(self, *_):
            raise OSError

    class Old:
        def getsockopt(self, *_):
            return bytes(20)

    assert trips(Gone()) is None
    assert trips(Old()) is None


async def test_a_slow_reader_inside_tls_gets_all_of_it(certificate, monkeypatch):
    """Slower than a buffer is kept for it, over sockets that take little: each piece makes the server wait."""

    def small(*arguments, listening=accepting._listening):
        sock = listening(*arguments)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        return sock

    monkeypatch.setattr(accepting, "_listening", small)

    def read(port):
        context = ssl.create_default_context(cafile=str(certificate[0]))
        body = b"".join([bytes(leaf.want.cid) for leaf in FILE])
        head = f"POST {BLOCKS_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {WANTS_TYPE}\r\n"
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            plain.connect(("127.0.0.1", port))
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                got = b""
                while piece := sock.recv(32 * 1024):
                    got += piece
                    if len(got) % (256 * 1024) < 32 * 1024:
                        time.sleep(0.2)
        return got

    options = HttpOptions(tls_cert=certificate[0], tls_key=certificate[1])
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of(FILE)) as address:
        got = await asyncio.to_thread(read, int(address.rpartition(":")[2]))
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) > SIZE
    for leaf in FILE:
        assert bytes(leaf.data) in body
