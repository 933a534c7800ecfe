"""The client: lines that are used again, peers that misbehave after they said hello, and what TLS asks for."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import time

import pytest

from wherry import httpline
from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.testing.blocks import CountedPool, fetch_once, harvest
from wherry.testing.certificates import make_certificate
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.hostile import (
    HostileServer,
    answer,
    cut,
    drip,
    endless,
    hang_up,
    redirect,
    silent,
    stall,
    wrong_length,
)
from wherry.testing.leaves import file_of, right, source_of
from wherry_http.frames import BLOCKS_PATH, BLOCKS_TYPE, INFO_PATH
from wherry_http.options import HttpOptions
from wherry_http.places import parse_base
from wherry_http.transport import HttpTransport

DATA = b"data of the block" * 10_000
WANT = Want(CID.of(RAW, DATA), len(DATA))
QUICK = HttpOptions(connect_timeout=1.0, idle_timeout=0.5)
HELLO = answer(json.dumps({"wherry": 1}).encode(), headers={"Content-Type": "application/json"})
TYPED = {"Content-Type": BLOCKS_TYPE}
RUN = struct.pack(">BBHIQ", 1, 0, 1, 0, 4 + len(DATA)) + struct.pack(">I", len(DATA)) + DATA
SIZES = ("sized", "unsized")


def peer(*script):
    """Says hello as a wherry server does, and then what the script says."""
    return HostileServer(*script, by_path={INFO_PATH + "/": answer(status=404), BLOCKS_PATH: Script(*script), INFO_PATH: HELLO})


class Script:
    """Takes each request of a path to the next behaviour; the last one repeats."""

    def __init__(self, *behaviours):
        self.left = list(behaviours)

    def __call__(self, exchange):
        return (self.left.pop(0) if len(self.left) > 1 else self.left[0])(exchange)


async def fetch(channel, pool, sizes):
    return await fetch_once(channel, [WANT if sizes == "sized" else WANT._replace(size=None)], pool)


@pytest.mark.parametrize("sizes", SIZES)
async def test_a_right_answer_is_taken(sizes):
    with peer(answer(RUN, headers=TYPED)) as server:
        async with HttpTransport(QUICK).connect(server.url) as channel:
            pool = CountedPool()
            for _ in range(3):
                assert (await fetch(channel, pool, sizes)).blocks == {0: DATA}
            assert pool.out == 0
        assert server.connections == (2 if sizes == "sized" else 1)  # hello, and one line that is used again


def continues(exchange):
    """Sends "100 Continue" without end."""
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def wrong_sum(request):
    return struct.pack(">BBHIQ", 1, 0, 1, 0, 4 + len(DATA)) + struct.pack(">I", len(DATA) - 1) + DATA


BAD = {
    "silence": (silent(), PeerTimeout),
    "drip": (drip(RUN, every_s=0.05, headers=TYPED), PeerTimeout),
    "stall": (stall(RUN, after=5000, headers=TYPED), PeerTimeout),
    "continue without end": (continues, PeerError),
    "cut": (cut(RUN, after=5000, headers=TYPED), PeerProtocolError),
    "cut at once": (cut(RUN, after=0, headers=TYPED), PeerProtocolError),
    "reset": (cut(RUN, after=5000, reset=True, headers=TYPED), PeerProtocolError),
    "hang up": (hang_up(), PeerProtocolError),
    "no length": (endless(headers=TYPED), PeerProtocolError),
    "until the end": (endless(chunked=False, headers=TYPED), PeerProtocolError),
    "too long": (answer(RUN + b"x", headers=TYPED), PeerProtocolError),
    "promises much": (wrong_length(RUN, claim=10**12, headers=TYPED), PeerProtocolError),
    "promises a little more": (wrong_length(RUN, claim=len(RUN) + 1, headers=TYPED), PeerProtocolError),
    "promises less": (wrong_length(RUN, claim=len(RUN) - 1, headers=TYPED), PeerProtocolError),
    "empty": (answer(b"", headers=TYPED), PeerProtocolError),
    "sizes that do not add up": (answer(wrong_sum, headers=TYPED), PeerProtocolError),
    "another type": (answer(RUN), PeerProtocolError),
    "redirect": (redirect("http://127.0.0.1:1/"), PeerProtocolError),
    "status 500": (answer(status=500), PeerProtocolError),
    "status 204": (answer(status=204, headers=TYPED), PeerProtocolError),
    "status 401": (answer(status=401), PeerDenied),
    "status 403": (answer(status=403), PeerDenied),
    "status 429": (answer(status=429), PeerBusy),
    "status 503": (answer(status=503), PeerBusy),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_answer_is_an_error_of_the_peer(bad, sizes):
    behaviour, kind = BAD[bad]
    if (bad, sizes) == ("empty", "unsized"):
        kind = None  # an answer to none of the wants: core asks another source
    with peer(behaviour) as server:
        async with HttpTransport(QUICK).connect(server.url) as channel:
            pool = CountedPool()
            began = time.monotonic()
            if kind is None:
                assert (await fetch(channel, pool, sizes)).left_out == {0}
            else:
                with pytest.raises(kind) as caught:
                    await fetch(channel, pool, sizes)
                assert str(server.port) in caught.value.peer
                assert str(server.port) in caught.value.message
            assert time.monotonic() - began < 5
            assert pool.out == 0
        assert server.bytes_sent < 50_000_000


@pytest.mark.parametrize(
    "hello",
    [
        answer(b"{}", headers={"Content-Type": "application/json"}),
        answer(b"[" * 4000, headers={"Content-Type": "application/json"}),
        answer(b'{"wherry": 2}', headers={"Content-Type": "application/json"}),
        answer(b'{"wherry": 1}' + b" " * 5000, headers={"Content-Type": "application/json"}),
        answer(b"\xff", headers={"Content-Type": "application/json"}),
        answer(b"<html>", headers={"Content-Type": "text/html"}),
        endless(headers={"Content-Type": "application/json"}),
    ],
)
async def test_who_is_no_wherry_server_is_not_taken_for_one(hello):
    with HostileServer(hello) as server:
        with pytest.raises(PeerProtocolError) as caught:
            async with HttpTransport(QUICK).connect(server.url):
                pass
        assert str(server.port) in caught.value.peer


async def test_hello_in_pieces_is_hello():
    with HostileServer(drip(b'{"wherry": 1}', every_s=0.01, headers={"Content-Type": "application/json"})) as server:
        async with HttpTransport(QUICK).connect(server.url):
            pass


def closing_answer(exchange):
    """A right answer, after which the connection is closed, as it says."""
    exchange.head(200, {"Content-Length": len(RUN), "Connection": "close", **TYPED})
    exchange.send(RUN)


async def test_a_line_that_was_closed_while_idle_is_made_anew():
    """Whether the peer said so before or not."""
    for script in ((closing_answer,), (answer(RUN, headers=TYPED), hang_up(), answer(RUN, headers=TYPED))):
        with peer(*script) as server:
            async with HttpTransport(QUICK).connect(server.url) as channel:
                for _ in range(3):
                    assert (await fetch(channel, CountedPool(), "sized")).blocks == {0: DATA}


async def test_a_line_that_is_made_anew_has_its_time_out_too():
    """http.client would connect again by itself, without one, and without TLS."""
    with peer(closing_answer, silent()) as server:
        async with HttpTransport(QUICK).connect(server.url) as channel:
            await fetch(channel, CountedPool(), "sized")
            with pytest.raises(PeerTimeout):
                await asyncio.wait_for(fetch(channel, CountedPool(), "sized"), 5)


async def test_a_fetch_from_a_closing_peer_can_be_cancelled():
    def half(exchange):
        exchange.head(200, {"Content-Length": len(RUN), "Connection": "close", **TYPED})
        exchange.send(RUN[:1000])
        exchange.wait()

    options = HttpOptions(idle_timeout=30.0)
    with peer(half) as server:
        async with HttpTransport(options).connect(server.url) as channel:
            pool = CountedPool()
            fetching = asyncio.create_task(fetch(channel, pool, "sized"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            fetching.cancel()
            await asyncio.sleep(0)
            fetching.cancel()  # once more, while it waits for its thread
            with pytest.raises(asyncio.CancelledError):
                await fetching
            assert time.monotonic() - began < 3
            assert pool.out == 0


async def test_the_time_between_two_requests_is_nobodys_fault():
    """A line that was idle for longer than the window of the least rate is not taken for a slow peer."""
    file = file_of("file", 100, 200)
    transport = HttpTransport(QUICK)
    async with transport.listen("http://127.0.0.1:0", source_of(file)) as address, transport.connect(address) as channel:
        for _ in range(2):
            right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)
            await asyncio.sleep(0.7)


async def test_the_server_closes_an_idle_line_and_the_client_takes_another():
    file = file_of("file", 100, 200)
    transport = HttpTransport(HttpOptions(keepalive=0.3))
    async with transport.listen("http://127.0.0.1:0", source_of(file)) as address, transport.connect(address) as channel:
        for _ in range(3):
            right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)
            await asyncio.sleep(0.6)


# TLS


def tls(folder, *names, **more):
    certificate, key = make_certificate(folder, *names)
    return HttpOptions(tls_cert=certificate, tls_key=key, tls_ca=certificate, connect_timeout=1.0, idle_timeout=0.5, **more)


async def test_a_certificate_that_nobody_signed_is_refused(tmp_path):
    options = tls(tmp_path)
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of()) as address:
        with pytest.raises(PeerUnreachable) as caught:
            async with HttpTransport(HttpOptions()).connect(address):
                pass
        assert "tls_ca" in caught.value.hint


async def test_a_certificate_for_another_name_is_refused(tmp_path):
    options = tls(tmp_path, "DNS:elsewhere.example")
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of()) as address:
        with pytest.raises(PeerUnreachable):
            async with HttpTransport(options).connect(address):
                pass


async def test_plain_text_and_tls_do_not_mix(tmp_path):
    options = tls(tmp_path)
    plain = HttpTransport(QUICK)
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of()) as address:
        with pytest.raises(PeerError):
            async with plain.connect(address.replace("https", "http")):
                pass
    async with plain.listen("http://127.0.0.1:0", source_of()) as address:
        with pytest.raises(PeerError):
            async with HttpTransport(options).connect(address.replace("http", "https")):
                pass


async def test_a_peer_that_drips_inside_tls_is_given_up(tmp_path, monkeypatch):
    """Each byte is in time; all of them together are slower than the least rate."""
    monkeypatch.setattr(httpline, "RATE_BYTES_MIN", 200_000)  # so that this test does not take a minute
    options = tls(tmp_path)
    file = file_of("file", *[500_000] * 4)
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of(file)) as address:
        base = parse_base(address)
        async with ChaosProxy((base.host, base.port)) as proxy:
            async with HttpTransport(options).connect(f"https://{proxy.host}:{proxy.port}") as channel:
                proxy.down = Chaos(rate=40_000)
                pool = CountedPool()
                with pytest.raises(PeerTimeout):
                    await asyncio.wait_for(fetch_once(channel, [leaf.want for leaf in file], pool), 10)
                assert pool.out == 0


async def test_a_line_through_tls_that_was_closed_is_made_anew_inside_tls(tmp_path):
    options = tls(tmp_path, keepalive=0.3)
    file = file_of("file", 100, 200)
    transport = HttpTransport(options)
    async with transport.listen("https://127.0.0.1:0", source_of(file)) as address, transport.connect(address) as channel:
        for _ in range(2):
            right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)
            await asyncio.sleep(0.6)


async def test_old_tls_is_refused(tmp_path):
    options = tls(tmp_path)
    async with HttpTransport(options).listen("https://127.0.0.1:0", source_of()) as address:
        context = ssl.create_default_context(cafile=options.tls_ca)
        with pytest.warns(DeprecationWarning, match="TLS"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        base = parse_base(address)
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection(base.host, base.port, ssl=context, server_hostname="127.0.0.1")
        await asyncio.sleep(0.1)  # the server notices


async def test_as_many_silent_peers_as_there_are_buffers_stop_nobody_for_long(monkeypatch):
    """Each has begun an answer, and holds a buffer for it; alone it would be waited for as long as any."""
    monkeypatch.setattr(httpline, "STARVED_S", 0.3)
    pool, fetcher = CountedPool(1), HttpTransport(HttpOptions(idle_timeout=60.0))

    async def from_silent(url):
        async with fetcher.connect(url) as channel:
            await fetch(channel, pool, "sized")

    begun = stall(RUN, after=5000, headers=TYPED)
    with peer(begun) as one, peer(begun) as other, peer(answer(RUN, headers=TYPED)) as good:
        silent_ones = [asyncio.create_task(from_silent(server.url)) for server in (one, other)]
        async with asyncio.timeout(20), fetcher.connect(good.url) as channel:
            while pool.out < pool.count:
                await asyncio.sleep(0.01)
            assert (await fetch(channel, pool, "sized")).blocks == {0: DATA}
        given_up = [task.exception() for task in silent_ones if task.done()]
        for task in silent_ones:
            task.cancel()
        await asyncio.wait(silent_ones)
    assert given_up
    assert all(isinstance(problem, PeerTimeout) for problem in given_up), given_up
    assert pool.out == 0
