"""Datasets whose nodes lie about the lengths of right blocks: refused by whoever reads them, at once, and nobody is blamed."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from contextlib import aclosing, asynccontextmanager

import pytest
from foreign_gateway import RAW, foreign
from unixfs_dags import Dag

from wherry.block import Block
from wherry.car import header, section_head
from wherry.errors import IntegrityError, NoSource, WherryError
from wherry.limits import LEAF_BYTES_MAX
from wherry.publiccid import PublicCID
from wherry.session import Session
from wherry.testing.hostile_manifests import Maker
from wherry.testing.memory import MemoryNetwork, MemoryTransport
from wherry.units import MiB

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LEAVES = (b"A" * 5000, b"B" * 20_000)
LIES = {"longer": (5000, 70_000), "shorter": (5000, 600), "large": (5000, 8 * MiB // 2), "each": (4000, 21_000)}
KINDS = ("native", "unixfs")
WAYS = ("memory", "http", "tcp", "file", "raw gateway", "CAR gateway", "home")


def lying(kind, sizes, leaves=LEAVES):
    """A file, its nodes say ``sizes``; gives its root and its blocks."""
    if kind == "native":
        maker = Maker()
        return maker.file([maker.leaf(leaf) for leaf in leaves], sizes), maker.blocks
    dag = Dag()
    root = dag.file([dag.raw(leaf) for leaf in leaves], filesize=sum(sizes), blocksizes=sizes)[0]
    return root.block(), dag.blocks


def keep(session, blocks):
    session._store.nodes.put_many([Block(cid, data) for cid, data in blocks.items()])


@asynccontextmanager
async def offered(way, blocks, tmp_path, session):
    """Lets a source give the blocks by some way; yields the addresses."""
    if way == "home":
        keep(session, blocks)
        yield ()
    elif "gateway" in way:

        def car(handler, cid, asked):
            handler.begin()
            handler.chunk(
                header([cid]) + b"".join(section_head(PublicCID(one), len(data)) + data for one, data in blocks.items())
            )
            handler.chunk(b"")

        with foreign({PublicCID(cid).multihash: data for cid, data in blocks.items()}, car="CAR" in way and car) as server:
            yield (server.address,)
    else:
        async with Session.open(home=tmp_path / "server", environ={}) as server:
            keep(server, blocks)
            if way == "memory":
                network = MemoryNetwork()
                session._wiring.transport = lambda *_, **__: MemoryTransport(network)
                async with MemoryTransport(network).listen("memory://a", server._store):
                    yield ("memory://a",)
            elif way == "file":
                yield (f"file://{tmp_path / 'server'}",)
            else:
                async with server.serve(listen=[f"{way}://127.0.0.1:0"]) as serving:
                    yield serving.listen


def refused(problem, sizes):
    """The dataset is blamed, by the block and both lengths, and no source is named."""
    assert type(problem.value) is IntegrityError
    said = [
        f"block {PublicCID.of(0x55, leaf)} has {len(leaf)} bytes, its parent says {size}"
        for leaf, size in zip(LEAVES, sizes, strict=True)
    ]
    assert any(words in str(problem.value) for words in said), problem.value
    assert "://" not in str(problem.value)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_get_ends_at_once_and_blames_nobody(tmp_path, kind, way, lie):
    cid, blocks = lying(kind, LIES[lie])
    notes, began = [], time.monotonic()
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        async with offered(way, blocks, tmp_path, session) as sources:
            with pytest.raises(IntegrityError) as problem:
                await session.get(str(cid), sources=sources, output=str(tmp_path / "got"), wait_s=60.0, observe=notes.append)
            took = time.monotonic() - began
    refused(problem, LIES[lie])
    assert took < 20
    assert [note for note in notes if getattr(note, "level", "") == "warning"] == []
    assert not (tmp_path / "got").exists()


async def read(generator, given):
    async with aclosing(generator) as pieces:
        async for piece in pieces:
            given.append(piece)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("way", ["memory", "http", "tcp", "raw gateway", "home"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cat_gives_no_byte_of_a_leaf_whose_length_is_a_lie(tmp_path, kind, way, lie):
    sizes = LIES[lie]
    cid, blocks = lying(kind, sizes)
    async with (
        Session.open(home=tmp_path / "home", environ={}) as session,
        offered(way, blocks, tmp_path, session) as sources,
    ):
        for offset, length in ((0, None), (sizes[0] + 10, 20), (sizes[0] + sizes[1] - 5, None)):
            given = []
            with pytest.raises(IntegrityError) as problem:
                await read(session.cat(str(cid), sources=sources, offset=offset, length=length), given)
            refused(problem, sizes)
            assert given == ([LEAVES[0]] if offset == 0 and sizes[0] == len(LEAVES[0]) else [])


@pytest.mark.parametrize("way", ["memory", "http", "raw gateway"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_cache_is_not_warmed_with_it(tmp_path, kind, way):
    cid, blocks = lying(kind, LIES["longer"])
    async with (
        Session.open(home=tmp_path / "home", environ={}, overrides={"cache.use": "disk"}) as session,
        offered(way, blocks, tmp_path, session) as sources,
    ):
        with pytest.raises(IntegrityError) as problem:
            await session.cache_warm(str(cid), sources=sources)
    refused(problem, LIES["longer"])


@pytest.mark.parametrize("kind", KINDS)
async def test_no_torrent_is_made_of_it(tmp_path, kind):
    cid, blocks = lying(kind, LIES["longer"])
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        keep(session, blocks)
        with pytest.raises(IntegrityError) as problem:
            await session.export_torrent(str(cid), str(tmp_path / "x.torrent"))
    refused(problem, LIES["longer"])
    assert not (tmp_path / "x.torrent").exists()


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_tree_is_the_same_as_it(tmp_path, kind, lie):
    cid, blocks = lying(kind, LIES[lie])
    content = b"".join(leaf[:size].ljust(size, b"\0") for leaf, size in zip(LEAVES, LIES[lie], strict=True))
    (tmp_path / "file").write_bytes(content)
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        keep(session, blocks)
        assert not (await session.verify(str(cid), str(tmp_path / "file"))).ok


def asked(url, **headers):
    """Gives the status, and what came before the connection was cut, if it was."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:
        return problem.code, b""
    except http.client.IncompleteRead as problem:
        return None, problem.partial
    except (OSError, http.client.HTTPException):
        return None, b""


@pytest.mark.parametrize("lie", ["longer", "shorter"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_gateway_gives_no_byte_of_such_a_leaf(tmp_path, kind, lie):
    sizes = LIES[lie]
    cid, blocks = lying(kind, sizes)
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        keep(session, blocks)
        async with session.serve(listen=["http://127.0.0.1:0"]) as serving:
            url = f"{serving.listen[0]}/ipfs/{cid}"
            whole = await asyncio.to_thread(asked, url)
            first = await asyncio.to_thread(asked, url, Range="bytes=0-99")
            second = await asyncio.to_thread(asked, url, Range=f"bytes={sizes[0] + 10}-{sizes[0] + 19}")
            car = await asyncio.to_thread(asked, f"{url}?format=car")
    assert whole[0] != 200
    assert LEAVES[0].startswith(whole[1])
    assert first == (206, LEAVES[0][:100])
    assert second[0] != 206
    assert second[1] == b""
    assert car[0] == 200  # a CAR is blocks, and these are right ones: who puts them together compares the lengths


# A source that lies about a length gains nothing by it


def junk(handler, _cid, data):
    """A gateway whose leaves are longer than they should be, and wrong."""
    handler.say(200, data if len(data) < 5000 else b"junk" * 2500, RAW)


async def test_a_source_that_sends_another_length_of_other_bytes_sends_a_wrong_block(tmp_path):
    cid, blocks = lying("unixfs", tuple(len(leaf) for leaf in LEAVES))
    by_hash = {PublicCID(one).multihash: data for one, data in blocks.items()}
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        with foreign(by_hash, twist=junk) as server:
            with pytest.raises(IntegrityError, match="comes damaged from every source") as problem:
                await session.get(str(cid), sources=[server.address], output=str(tmp_path / "alone"), wait_s=60.0)
            assert server.address in str(problem.value)
            assert len(server.asked) < 50
            with foreign(by_hash) as good:
                result = await session.get(
                    str(cid), sources=[server.address, good.address], output=str(tmp_path / "both"), wait_s=60.0
                )
    assert (tmp_path / "both").read_bytes() == b"".join(LEAVES)
    assert result.bytes == 25_000


async def test_a_source_that_changes_its_mind_about_a_length_is_not_asked_for_ever(tmp_path):
    cid, blocks = lying("unixfs", tuple(len(leaf) for leaf in LEAVES))
    turns = {}

    def twist(handler, asked_cid, data):
        turns[asked_cid] = turn = turns.get(asked_cid, 0) + 1
        handler.say(200, b"junk" * 2500 if data == LEAVES[1] and turn % 2 else data, RAW)

    began = time.monotonic()
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        with foreign({PublicCID(one).multihash: data for one, data in blocks.items()}, twist=twist) as server:
            with pytest.raises(NoSource, match="promises 10000 bytes"):
                await session.get(str(cid), sources=[server.address], output=str(tmp_path / "got"), wait_s=1.0)
            assert len(server.asked) < 60
    assert time.monotonic() - began < 15


async def test_what_is_too_long_for_any_block_is_not_received(tmp_path):
    cid, blocks = lying("unixfs", tuple(len(leaf) for leaf in LEAVES))

    def twist(handler, _cid, data):
        handler.say(200, data if len(data) < 5000 else b"", RAW, length=LEAF_BYTES_MAX + 1)

    async with Session.open(home=tmp_path / "home", environ={}) as session:
        with foreign({PublicCID(one).multihash: data for one, data in blocks.items()}, twist=twist) as server:
            with pytest.raises(WherryError) as problem:
                await session.get(str(cid), sources=[server.address], output=str(tmp_path / "got"), wait_s=1.0)
    assert problem.value.exit_code == 7


def test_the_leaves_are_what_they_are_called():
    for kind in KINDS:
        for cid, data in lying(kind, LIES["longer"])[1].items():
            assert hashlib.sha256(data).digest() == cid.digest
