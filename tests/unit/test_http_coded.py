"""Coded answers over http: who gets them, that they bring the same blocks, and what lying servers come to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import threading

import pytest
import zstandard
from codings import codings_of, text_file

from wherry import coder as coder_module
from wherry.abc.transport import BlockSource
from wherry.buffers import ROOM
from wherry.coder import Coder
from wherry.coding import Codings, Form
from wherry.errors import ConfigError, PeerProtocolError, PluginBroken
from wherry.testing.blocks import CountedPool, MemoryHeld, fetch_once, harvest
from wherry.testing.certificates import make_certificate
from wherry.testing.compressor import grown_by
from wherry.testing.hostile import HostileServer, answer, cut
from wherry.testing.leaves import absent_leaf, file_of, right, source_of
from wherry.wire.frames import plan
from wherry_http.frames import BLOCKS_PATH, BLOCKS_TYPE, CODED_TYPE, INFO_PATH
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport

MIB = 1 << 20
ANY_PORT = "http://127.0.0.1:0"
BOTH, NONE = codings_of("zstd", "lz4"), Codings
TEXT = text_file("text", MIB, 300, 5000, MIB, 700_000)
MIXED = [*TEXT, *file_of("chance", MIB, 400, 9000), *text_file("small", *[600] * 40)]


class Watched(HostileServer):
    """Passes requests on to a real server's port, and keeps what was asked and answered."""

    def __init__(self, port):
        super().__init__(self.pass_on)
        self.target, self.asked, self.answered = port, [], []

    def pass_on(self, exchange):
        import http.client

        request = exchange.request
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.target)) as line:
            kept = {name: value for name, value in request.headers.items() if name != "host"}
            line.request(request.method, request.path, request.body, kept)
            got = line.getresponse()
            body = got.read()
        if request.method == "POST":
            self.asked.append(request)
            self.answered.append((got.headers["Content-Type"], body))
        exchange.head(200, {"Content-Type": got.headers["Content-Type"], "Content-Length": len(body)})
        exchange.send(body)
        return True


@contextlib.asynccontextmanager
async def served(source, options=None, serves=BOTH, asks=BOTH):
    """A source behind a server that is watched; yields the channel and the watcher."""
    async with HttpTransport(options or HttpOptions(coding="always"), codings=serves).listen(ANY_PORT, source) as address:
        with Watched(int(address.rsplit(":", 1)[1])) as watcher:
            async with HttpTransport(HttpOptions(), codings=asks).connect(watcher.url) as channel:
                yield channel, watcher


async def fetched(channel, leaves, absent=()):
    pool = CountedPool()
    right(await harvest(channel, [leaf.want for leaf in leaves], pool), leaves, absent=set(absent))
    assert pool.out == 0


@pytest.mark.parametrize(
    ("serves", "asks", "mode", "kind"),
    [
        (BOTH, BOTH, "always", CODED_TYPE),
        (codings_of("lz4"), BOTH, "always", CODED_TYPE),
        (BOTH, codings_of("lz4"), "always", CODED_TYPE),
        (BOTH, BOTH, "never", BLOCKS_TYPE),
        (BOTH, BOTH, "auto", BLOCKS_TYPE),  # nothing is known of the link
        (BOTH, NONE, "always", BLOCKS_TYPE),  # a client that does not know
        (NONE, BOTH, "always", BLOCKS_TYPE),  # a server that does not
        (codings_of("lz4"), codings_of("zstd"), "always", BLOCKS_TYPE),
    ],
)
async def test_what_both_know_is_coded_and_all_else_is_plain(serves, asks, mode, kind):
    async with served(source_of(MIXED), HttpOptions(coding=mode), serves, asks) as (channel, watcher):
        await fetched(channel, TEXT)
        assert {type_ for type_, _ in watcher.answered} == {kind}
        size = sum(len(body) for _, body in watcher.answered)
        plain = sum(leaf.want.size for leaf in TEXT)
        assert size < plain / 2 if kind == CODED_TYPE else size > plain


async def test_every_order_and_mixture_comes_back():
    async with served(source_of(MIXED)) as (channel, _):
        for leaves in (MIXED, MIXED[::-1], MIXED[::3], MIXED[4:7], MIXED[1:2]):
            await fetched(channel, leaves)
        await fetched(channel, [absent_leaf(0), *TEXT[:2], absent_leaf(1)], absent=[0, 3])


async def test_what_does_not_shrink_is_answered_as_ever():
    chance = file_of("chance", MIB, 1000, MIB)
    async with served(source_of(chance)) as (channel, watcher):
        await fetched(channel, chance)
        assert [type_ for type_, _ in watcher.answered] == [BLOCKS_TYPE]


async def test_decoded_neighbours_lie_back_to_back_from_room_on():
    leaves = [*TEXT[:3], *file_of("chance", 5000), *TEXT[3:]]
    async with served(source_of(leaves)) as (channel, _):
        found = await fetch_once(channel, [leaf.want for leaf in leaves], CountedPool())
        right(found, leaves)
        ends = [ROOM]
        for _, start, stop in sorted(found.laid[0]):
            assert start == ends[-1]
            ends.append(stop)


async def test_blocks_that_are_gone_are_missing():
    source = source_of(TEXT)
    source.gone = {TEXT[1].want.cid, TEXT[3].want.cid}
    source.places = {cid: (f"of its own {number}", 0) for number, cid in enumerate(source.places)}
    async with served(source) as (channel, _):
        await fetched(channel, TEXT, absent=[1, 3])


async def test_manifest_nodes_are_never_coded():
    async with served(source_of(TEXT)) as (channel, watcher):
        found = await fetch_once(channel, [TEXT[2].want._replace(size=None)], CountedPool())
        assert found.blocks == {0: TEXT[2].data}
        assert "wherry-codings" not in watcher.asked[0].headers


async def test_coded_answers_go_over_tls_too(tmp_path):
    cert, key = make_certificate(tmp_path)
    options = HttpOptions(coding="always", tls_cert=cert, tls_key=key, tls_ca=cert)
    transport = HttpTransport(options, codings=BOTH)
    async with transport.listen("https://127.0.0.1:0", source_of(MIXED)) as address, transport.connect(address) as channel:
        await fetched(channel, MIXED)


class LiesCoded(MemoryHeld):
    """A block that is held coded."""

    def __init__(self, data, name, coded):
        super().__init__(data)
        self.name, self.bytes, self.reads = name, coded, 0

    def coded(self, accepted):
        return (self.name, self.bytes) if self.name in accepted else None

    def read_into(self, view):
        self.reads += 1
        super().read_into(view)


class Holding(BlockSource):
    def __init__(self, held):
        self.held = held

    def find(self, cids):
        return [self.held.get(cid) for cid in cids]


@pytest.mark.parametrize(("asks", "reads"), [(BOTH, 0), (codings_of("lz4"), 1), (NONE, 1)])
async def test_what_lies_coded_is_sent_as_it_lies_to_who_reads_it(asks, reads):
    leaf = TEXT[0]
    held = LiesCoded(leaf.data, "zstd", zstandard.ZstdCompressor(level=9).compress(leaf.data))
    async with served(Holding({leaf.want.cid: held}), serves=NONE, asks=asks) as (channel, watcher):
        await fetched(channel, [leaf])
        assert held.reads == reads
        assert (held.bytes in watcher.answered[0][1]) == (reads == 0)


@pytest.mark.parametrize("coded", [b"", bytes(MIB), bytes(MIB + 1)], ids=len)
async def test_what_lies_coded_wrongly_goes_plain(coded):
    leaf = TEXT[0]
    async with served(Holding({leaf.want.cid: LiesCoded(leaf.data, "zstd", coded)}), serves=NONE) as (channel, _):
        await fetched(channel, [leaf])


# The server's choice


def frames_of(leaves):
    return plan(source_of(leaves).find([leaf.want.cid for leaf in leaves]), 8 * MIB)


async def coded(coder, frames, link, *, loopback=False):
    async with coder.coded(frames, ("zstd",), link, loopback=loopback) as made:
        return made


@pytest.fixture
def coder():
    made = Coder(BOTH, "auto")
    yield made
    made.close()


@pytest.mark.parametrize(("link", "loopback"), [(None, False), (1e9, False), (5e8, False), (5e7, True), (None, True)])
async def test_on_a_fast_link_nothing_is_done_at_all(coder, link, loopback):
    """No block is looked at, no library imported, no thread started."""
    coder._codings = None
    for _ in range(100):
        assert await coded(coder, frames_of(TEXT), link, loopback=loopback) is None
    assert coder._threads._threads == set()


@pytest.mark.parametrize(("link", "loopback"), [(1e6, False), (1e7, False), (1e6, True)])
async def test_on_a_slow_link_text_is_coded_and_chance_soon_not_tried(coder, link, loopback, monkeypatch):
    made = await coded(coder, frames_of(TEXT), link, loopback=loopback)
    assert sum(len(frame.head) + frame.size for frame in made) < sum(leaf.want.size for leaf in TEXT) / 2
    chance, tried, make = frames_of(file_of("chance", MIB, MIB)), [], coder._make
    monkeypatch.setattr(coder, "_make", lambda *arguments: tried.append(1) or make(*arguments))
    for _ in range(64):
        assert await coded(coder, chance, link, loopback=loopback) is None
    assert 0 < len(tried) < 32


async def test_a_compressor_that_cannot_be_built_costs_no_block():
    def broken(name):
        raise PluginBroken("its library is gone")

    codings = Codings("zstd", broken, [Form("zstd", "zstd")])
    for mode in ("auto", "always"):
        coder = Coder(lambda: codings, mode)
        assert await coded(coder, frames_of(TEXT), 1e6) is None
        coder.close()


def test_a_configured_compressor_that_cannot_be_built_is_said_at_the_start():
    def broken(name):
        raise ConfigError("no dictionary")

    with pytest.raises(ConfigError):
        Coder(lambda: Codings("mine", broken, [Form("mine", "zstd", tuned=True)]), "auto")


async def test_coded_bytes_in_memory_are_bounded(coder, monkeypatch):
    """Beyond the bound answers go plain; what was sent makes room again."""
    monkeypatch.setattr(coder_module, "_HELD_BYTES_MAX", 4 * MIB)
    frames, first = frames_of(TEXT), 0
    async with contextlib.AsyncExitStack() as held:
        for _ in range(200):
            made = await held.enter_async_context(coder.coded(frames, ("zstd",), 1e6, loopback=False))
            assert coder._held <= 4 * MIB
            if made is None:
                break
            first += 1
        assert 1 <= first < 200
    assert coder._held == 0
    assert await coded(coder, frames, 1e6) is not None


async def test_a_queue_of_answers_to_be_coded_is_not_made_longer(coder):
    coder._under_way = 100
    assert await coded(coder, frames_of(TEXT), 1e6) is None


async def test_a_cancelled_answer_gives_its_memory_back(coder):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(MemoryHeld):
        def read_into(self, view):
            begun.set()
            go_on.wait(10)
            super().read_into(view)

    leaf = TEXT[0]
    frames = plan([Slow(leaf.data)], 8 * MIB)
    coding = asyncio.create_task(coded(coder, frames, 1e6))
    await asyncio.to_thread(begun.wait, 10)
    coding.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await coding
    assert (coder._held, coder._under_way) == (0, 0)


# Servers that lie

LEAF = TEXT[0]
SMALL = zstandard.ZstdCompressor(level=3).compress(LEAF.data)
HELLO = answer(json.dumps({"wherry": 1}).encode(), headers={"Content-Type": "application/json"})
TYPED = {"Content-Type": CODED_TYPE}


def frame(coded_bytes, *, size=MIB, coding=1, kind=4, count=1, length=None, claim=None):
    pair = struct.pack(">II", size, len(coded_bytes) if claim is None else claim)
    length = len(pair) + len(coded_bytes) if length is None else length
    return struct.pack(">BBHIQ", kind, coding, count, 0, length) + pair + coded_bytes


GIB_BOMB = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 30))
RLE = struct.pack("<I", (128 * 1024 << 3) | 2)[:3] + b"\0"
RIGHT_SIZE_BOMB = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", MIB) + RLE * 50_000
LIES = {
    "another size": answer(frame(SMALL, size=MIB - 1), headers=TYPED),
    "a coded size beyond the plain one": answer(frame(SMALL, claim=2 * MIB), headers=TYPED),
    "a coded size of 4 GiB": answer(frame(SMALL, claim=(1 << 32) - 1, length=8 + (1 << 32) - 1), headers=TYPED),
    "a frame of 16 EiB": answer(frame(SMALL, length=(1 << 64) - 1), headers=TYPED),
    "a bomb of 1 GiB": answer(frame(GIB_BOMB), headers=TYPED),
    "a bomb that says the right size": answer(frame(RIGHT_SIZE_BOMB), headers=TYPED),
    "an unknown coding": answer(frame(SMALL, coding=3), headers=TYPED),
    "the other coding": answer(frame(SMALL, coding=2), headers=TYPED),
    "a block that is cut": answer(frame(SMALL[:-1]), headers=TYPED),
    "a block with bytes behind it": answer(frame(SMALL + b"\0"), headers=TYPED),
    "two frames in a block": answer(frame(SMALL + SMALL), headers=TYPED),
    "nonsense": answer(frame(b"no frame of zstd at all"), headers=TYPED),
    "an answer that is cut": cut(frame(SMALL), after=len(SMALL) // 2, headers=TYPED),
    "an answer that goes on": answer(frame(SMALL) + b"\0", headers=TYPED),
    "a block twice": answer(frame(SMALL) + frame(SMALL), headers=TYPED),
    "another content type": answer(frame(SMALL), headers={"Content-Type": BLOCKS_TYPE}),
}


def peer(behaviour):
    return HostileServer(behaviour, by_path={BLOCKS_PATH: behaviour, INFO_PATH: HELLO})


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_server_is_blamed_and_costs_no_memory(lie):
    with peer(LIES[lie]) as server:
        async with HttpTransport(HttpOptions(idle_timeout=2.0), codings=BOTH).connect(server.url) as channel:
            pool = CountedPool()
            await fetch_lie(channel, pool, server)  # libraries are in memory then
            loop = asyncio.get_running_loop()
            done = asyncio.Event()
            runs = []

            def watch():
                future = asyncio.run_coroutine_threadsafe(fetch_lie(channel, pool, server), loop)
                runs.append(grown_by(lambda: future.result(20)))
                loop.call_soon_threadsafe(done.set)

            thread = threading.Thread(target=watch)
            thread.start()
            await done.wait()
            thread.join()
            assert runs[0] < 24 * MIB
            assert pool.out == 0


async def fetch_lie(channel, pool, server):
    with pytest.raises(PeerProtocolError) as caught:
        await fetch_once(channel, [LEAF.want], pool)
    assert str(server.port) in caught.value.peer
    assert str(server.port) in caught.value.message


async def test_what_such_a_server_says_truly_is_taken():
    with peer(answer(frame(SMALL), headers=TYPED)) as server:
        async with HttpTransport(HttpOptions(), codings=BOTH).connect(server.url) as channel:
            await fetched(channel, [LEAF])
        async with HttpTransport(HttpOptions()).connect(server.url) as channel:  # one that offers nothing
            await fetch_lie(channel, CountedPool(), server)


@pytest.mark.parametrize("header", ["", "zstd;q=0", "zstd, zstd", "ZSTD", "a" * 2000, "zstd\tlz4", ", ".join(["zstd"] * 30)])
async def test_an_offer_that_is_malformed_is_answered_in_plain_bytes(header):
    import aiohttp

    transport = HttpTransport(HttpOptions(coding="always"), codings=BOTH)
    async with transport.listen(ANY_PORT, source_of(TEXT)) as address, aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/vnd.wherry.wants", "Wherry-Codings": header}
        async with session.post(f"{address}/wherry/v1/blocks", data=LEAF.want.cid, headers=headers) as response:
            assert (response.status, response.content_type) == (200, BLOCKS_TYPE)
