"""`wherry get --from` a gateway that gives CARs by range: good ones, old ones, and those that lie (specs/0033 §11)."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
import time
from contextlib import ExitStack

import pytest
from foreign_gateway import QUICK, entity, fetched, foreign, good_car, made_file, whole
from gateways import Tree, gateway

from wherry.abc.transport import FilePart, Want
from wherry.car import header, section_head
from wherry.cid import CID, DAG_PB, RAW
from wherry.errors import PeerProtocolError, WherryError
from wherry.observe import Served
from wherry.protobuf import varint
from wherry.publiccid import PublicCID
from wherry.session import Session
from wherry.testing.blocks import CountedPool, MemorySource, fetch_once
from wherry.units import KiB, MiB
from wherry.unixfs import data as unixfs
from wherry_http.channel import HttpChannel
from wherry_http.options import HttpOptions
from wherry_http.stretches import OTHER_BYTES_MAX, divided
from wherry_http.transport import HttpTransport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def file():
    """A file of 200 leaves of 40 KiB."""
    return made_file()


async def test_a_stretch_of_a_file_is_one_request(file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=good_car) as server:
        whole(await fetched(server.address, wants[40:140], again=2), wants[40:140])
        assert len([path for path in server.requests if "format=car" in path]) == 2
        assert [path for path in server.requests if "format=raw" in path] == ["/ipfs/bafkqaaa?format=raw"]
        assert {headers["Accept-Encoding"] for headers in server.seen} == {"identity"} | (
            {headers["Accept-Encoding"] for headers in server.seen[:1]}
        )


async def test_equal_blocks_of_one_stretch_come_once_and_count_twice(file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=good_car) as server:
        picked = wants[100:151]
        doubled = [picked[0], picked[0]._replace(part=picked[1].part), *picked[2:]]
        harvest = await fetched(server.address, doubled)
        whole(harvest, doubled)
        assert harvest.blocks[0] == harvest.blocks[1]
        assert server.cars == 1


async def test_wherrys_own_gateway_gives_them_as_any_other_does(file, monkeypatch):
    _, blocks, wants, _ = file
    told = []
    held = {PublicCID.make(1, codec, 0x12, key[2:]).block(): data for key, data in blocks.items() for codec in (RAW, DAG_PB)}

    async def no_wherry(channel, _busy):
        return PeerProtocolError("some other server", peer=str(channel))

    monkeypatch.setattr(HttpChannel, "hello", no_wherry)
    async with gateway(MemorySource(held), more={"emit": told.append}) as address:
        whole(await fetched(address, wants[30:130], again=2), wants[30:130])
    assert [event.ok for event in told if isinstance(event, Served)] == [True] * 3  # the probe, and two CARs


def test_what_is_a_stretch():
    def want(file, start, stop):
        return Want(CID.of(RAW, b"x"), stop - start, "", 0, FilePart(CID.of(0x70, file), start, stop))

    wants = [want(b"a", 0, 5), want(b"a", 5, 9), want(b"b", 9, 12), Want(CID.of(RAW, b"y")), want(b"b", 0, 4), want(b"b", 4, 8)]
    stretches, single = divided([*wants, want(b"b", 9, 10)])
    assert [(one.start, one.stop, one.wants) for one in stretches] == [(0, 9, (0, 1)), (0, 8, (4, 5))]
    assert single == [2, 3, 6]
    assert "entity-bytes=0:8&" in stretches[0].path


def refusing(status, kind="text/plain"):
    def answer(handler, _cid, _asked):
        handler.say(status, b"no", kind)

    return answer


@pytest.mark.parametrize("status", [400, 406, 415, 501, 200])
async def test_a_gateway_without_cars_is_asked_for_one_once(status, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=refusing(status, "text/html")) as server:
        transport, pool = HttpTransport(QUICK), CountedPool()
        for at in range(2):  # remembered from one connection to the next
            async with transport.connect(server.address) as channel:
                for start in (40 * at, 40 * at + 20):
                    whole(await fetch_once(channel, wants[start : start + 20], pool), wants[start : start + 20])
        assert pool.out == 0
        assert server.cars == 1


@pytest.mark.parametrize("status", [404, 410, 451, 500, 502, 504])
async def test_one_that_lacks_roots_is_asked_a_few_times(status, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=refusing(status)) as server:
        whole(await fetched(server.address, wants[:20], again=6), wants[:20])
        assert server.cars == 3


def test_a_dataset_is_got_by_cars_of_several_gateways(tmp_path, file):
    root, blocks, wants, content = file

    async def run(addresses):
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            return await session.get(str(root), sources=addresses, output=str(tmp_path / "copy"))

    with ExitStack() as stack:
        servers = [stack.enter_context(foreign(blocks, car=good_car)) for _ in range(2)]
        result = asyncio.run(run([server.address for server in servers]))
        assert (tmp_path / "copy").read_bytes() == content
        assert all(source.bytes for source in result.sources)
        assert all(server.cars for server in servers)
        assert sum(len(server.requests) for server in servers) < len(wants)


def test_a_file_whose_leaves_are_dag_pb_comes_by_cars_too(tmp_path):
    tree, size = Tree(), 40 * KiB
    pieces = [random.Random(at).randbytes(size if at < 149 else 7) for at in range(150)]
    leaves = [tree.node(unixfs.Data(unixfs.FILE, data=data, filesize=len(data))) for data in pieces]
    sizes = tuple(len(data) for data in pieces)
    links = [(b"", leaf, len(tree.blocks[leaf.block()])) for leaf in leaves]
    root = tree.node(unixfs.Data(unixfs.FILE, filesize=sum(sizes), blocksizes=sizes), *links).to_version(0)
    blocks = {PublicCID(cid).multihash: data for cid, data in tree.blocks.items()}

    async def run(address):
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            await session.get(str(root), sources=[address], output=str(tmp_path / "copy"))

    with foreign(blocks, car=good_car) as server:
        asyncio.run(run(server.address))
        assert server.cars
        assert len(server.requests) < 100  # the second half may go block by block, while the first CAR is a question
    assert (tmp_path / "copy").read_bytes() == b"".join(pieces)


# Gateways that are not good


def changed(handler, cid, asked):
    """Every second leaf has other bytes under its name."""
    first, last = (int(part) for part in asked["entity-bytes"].split(":"))
    handler.begin()
    handler.chunk(header([cid]))
    for at, (block, data) in enumerate(entity(handler.server.blocks, cid, first, last + 1)):
        sent = data if at % 2 or block.codec != RAW else data[:-1] + bytes([data[-1] ^ 1])
        handler.chunk(section_head(block, len(sent)) + sent)
    handler.chunk(b"")


async def test_blocks_that_are_not_what_they_are_called_are_refused(file, tmp_path):
    root, blocks, _, content = file

    async def run(bad, good):
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            with pytest.raises(WherryError, match=str(bad.server_port)):
                await session.get(str(root), sources=[bad.address], output=str(tmp_path / "copy"), wait_s=0.5)
            await session.get(str(root), sources=[good.address], output=str(tmp_path / "copy"))

    def wrong(handler, cid, data):
        handler.say(200, data if cid.codec != RAW else bytes(len(data)), "application/vnd.ipld.raw")

    with foreign(blocks, car=changed, twist=wrong) as bad, foreign(blocks, car=good_car) as good:
        await run(bad, good)
    assert (tmp_path / "copy").read_bytes() == content


def all_of_it(handler, cid, asked):
    """Knows no ranges: sends the file from its beginning."""
    good_car(handler, cid, asked | {"entity-bytes": f"0:{1 << 40}"})


async def test_one_that_does_not_know_ranges_is_left_soon(file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=all_of_it) as server:
        whole(await fetched(server.address, wants[180:], again=3), wants[180:])
        assert server.cars == 1
        assert 180 * 40 * KiB > OTHER_BYTES_MAX


def endless(make):
    """A CAR of blocks without end."""

    def answer(handler, cid, _asked):
        handler.begin()
        handler.chunk(header([cid]))
        for number in range(1 << 20):
            data = make(number)
            handler.chunk(section_head(PublicCID(CID.of(RAW, data)), len(data)) + data)
            handler.server.sent = getattr(handler.server, "sent", 0) + len(data)

    return answer


@pytest.mark.parametrize("size", [1, 1000, MiB], ids=str)
async def test_blocks_that_nobody_asked_for_are_dropped_and_few_of_them_taken(size, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=endless(lambda number: number.to_bytes(8, "big") * (size // 8 + 1))) as server:
        whole(await fetched(server.address, wants[:50], again=2), wants[:50])
        assert server.cars == 1
        assert server.sent < OTHER_BYTES_MAX + 16 * MiB  # what lies in the sockets besides


def other_root(handler, cid, asked):
    """The right blocks under the root of something else, which says nothing."""
    first, last = (int(part) for part in asked["entity-bytes"].split(":"))
    handler.begin()
    handler.chunk(header([PublicCID(CID.of(RAW, b"else"))]))
    for block, data in entity(handler.server.blocks, cid, first, last + 1):
        handler.chunk(section_head(block, len(data)) + data)
    handler.chunk(b"")


def other_file(handler, _cid, _asked):
    """A CAR of something else, and all of it."""
    data = b"something else"
    handler.begin()
    cid = PublicCID(CID.of(RAW, data))
    handler.chunk(header([cid]) + section_head(cid, len(data)) + data)
    handler.chunk(b"")


async def test_the_roots_of_a_car_are_not_looked_at(file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=other_root) as server:
        whole(await fetched(server.address, wants[:20], again=2), wants[:20])
        assert server.cars == 2
    with foreign(blocks, car=other_file) as server:
        whole(await fetched(server.address, wants[:20], again=6), wants[:20])
        assert server.cars == 3


async def test_what_other_requests_bring_does_not_count_for_a_car(file):
    _, blocks, wants, _ = file
    wants = [*wants[:20], *wants[40:60:2]]  # a stretch, and blocks that are asked for one by one meanwhile

    def late(handler, cid, asked):
        server, until = handler.server, time.monotonic() + 2
        first = len(server.requests)
        while len(server.requests) < first + 5 and time.monotonic() < until:
            time.sleep(0.01)
        other_file(handler, cid, asked)

    with foreign(blocks, car=late) as server:
        whole(await fetched(server.address, wants, again=6), wants)
        assert server.cars == 3


def cut_after(count, *, clean):
    """Ends in the middle: by hanging up, or as if that were all."""

    def answer(handler, cid, asked):
        first, last = (int(part) for part in asked["entity-bytes"].split(":"))
        data = header([cid])
        for block, inner in entity(handler.server.blocks, cid, first, last + 1):
            data += section_head(block, len(inner)) + inner
        handler.begin()
        handler.chunk(data[:count])
        if clean:
            handler.chunk(b"")
        handler.close_connection = True

    return answer


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("count", [200 * KiB, 500 * KiB])
async def test_a_car_that_is_cut_off_gives_what_came_of_it_and_the_rest_comes_by_block(count, clean, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=cut_after(count, clean=clean)) as server:
        whole(await fetched(server.address, wants[:30]), wants[:30])
        raw = [path for path in server.requests if "format=raw" in path]
        assert len(raw) - 1 == 30 - (count - 12 * KiB) // (40 * KiB)  # beside the probe; 12 KiB: the root
        assert server.cars == 1


def lying(*data, **more):
    """Answers with these bytes as a CAR."""

    def answer(handler, _cid, _asked):
        handler.begin(**more)
        for piece in data:
            handler.chunk(piece)
        handler.wfile.flush()
        if not more.get("stall"):
            handler.chunk(b"garbage" * 100)
            handler.chunk(b"")

    return answer


ONE = header([PublicCID(CID.of(RAW, b"x"))])


@pytest.mark.parametrize(
    "car",
    [
        lying(b"<html>no</html>"),
        lying(varint(1 << 40)),
        lying(ONE, varint(1 << 62)),
        lying(ONE, varint(300), b"\xff" * 300),
        lying(ONE, b"\x80" * 12),
        lying(bytes.fromhex("0aa16776657273696f6e02") + bytes(40)),
        lying(gzip.compress(ONE * 1000), Content_Encoding="gzip"),
        lying(gzip.compress(bytes(MiB)), Content_Encoding="gzip, gzip"),
        lying(ONE, Content_Encoding="br"),
    ],
)
async def test_what_is_no_car_is_blamed_once_and_then_blocks_are_asked_for(car, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=car) as server:
        transport = HttpTransport(QUICK)
        async with transport.connect(server.address) as channel:
            pool = CountedPool()
            with pytest.raises(PeerProtocolError, match=str(server.server_port)) as caught:
                await fetch_once(channel, wants[:20], pool)
            assert caught.value.peer == server.address
            whole(await fetch_once(channel, wants[:20], pool), wants[:20])
            assert pool.out == 0
        assert server.cars == 1


async def test_a_block_of_another_size_than_its_file_says_is_blamed(file):
    _, blocks, wants, _ = file

    def longer(handler, cid, _asked):
        handler.begin()
        block = PublicCID(wants[0].cid)
        handler.chunk(header([cid]) + section_head(block, wants[0].size + 1) + bytes(wants[0].size + 1))
        handler.chunk(b"")

    with foreign(blocks, car=longer) as server:
        with pytest.raises(PeerProtocolError, match="promises"):
            await fetched(server.address, wants[:20])


async def test_raw_blocks_that_are_compressed_are_refused(file):
    _, blocks, wants, _ = file

    def packed(handler, _cid, data):
        handler.say(200, gzip.compress(data), "application/vnd.ipld.raw", Content_Encoding="gzip")

    with foreign(blocks, twist=packed) as server, pytest.raises(PeerProtocolError, match="coded"):
        await fetched(server.address, wants[:1])


async def test_one_that_falls_silent_in_a_car_is_left_in_time(file):
    _, blocks, wants, _ = file

    def silent(handler, cid, _asked):
        handler.begin()
        handler.chunk(header([cid]))
        handler.server.gone.wait(20)

    with foreign(blocks, car=silent) as server:
        server.gone = threading.Event()
        began = time.monotonic()
        try:
            with pytest.raises(WherryError, match="silent"):
                await fetched(server.address, wants[:20], options=HttpOptions(connect_timeout=1.0, idle_timeout=0.3))
        finally:
            server.gone.set()
        assert time.monotonic() - began < 15


async def test_a_fetch_that_is_cancelled_lets_go_of_everything(file):
    _, blocks, wants, _ = file
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def silent(handler, cid, _asked):
        handler.begin()
        handler.chunk(header([cid]))
        loop.call_soon_threadsafe(began.set)
        handler.rfile.read(1)  # until the client is gone

    with foreign(blocks, car=silent) as server:
        task = asyncio.create_task(fetched(server.address, wants[:20], options=HttpOptions()))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
