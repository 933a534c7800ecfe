"""`wherry get --from` a gateway that is not wherry's: raw blocks over real sockets, good gateways and bad (specs/0033 §11)."""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
import time
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import ThreadingHTTPServer

import pytest
from foreign_gateway import RAW, Gateway
from foreign_gateway import foreign as gateway

from wherry.car import CarReader
from wherry.errors import BlockNotFound, NoSource, PeerDenied, WherryError
from wherry.observe import Note
from wherry.session import Session
from wherry.transfer import asking
from wherry_cli.demo import compare
from wherry_http.options import HttpOptions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A tree, its two CIDs, and its blocks by multihash."""
    base = tmp_path_factory.mktemp("gateway-client")
    tree = base / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom(5 << 20))
    for number in range(40):
        (tree / "sub" / f"{number}").write_bytes(os.urandom(100 * number))
    blocks = {}

    async def make():
        async with Session.open(home=base / "home", environ={}) as session:
            added = await session.add(str(tree))
            for cid in (added.cid, added.unixfs_cid):
                await session.export_car(cid, str(base / "x.car"), force=True)
                for block, data in CarReader(io.BytesIO((base / "x.car").read_bytes()).read):
                    blocks[block.multihash] = data
        return added

    return tree, asyncio.run(make()), blocks


def got(tmp_path, cid, *sources, **options):
    """Gets into a fresh home."""

    async def run():
        async with Session.open(home=tmp_path / f"home-{time.monotonic_ns()}", environ={}) as session:
            return await session.get(cid, sources=sources, output=str(tmp_path / "copy"), **options)

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["cid", "unixfs_cid"])
def test_a_dataset_is_got_of_one_gateway(tmp_path, dataset, kind):
    tree, added, blocks = dataset
    with gateway(blocks) as server:
        result = got(tmp_path, getattr(added, kind), server.address)
    assert list(compare(tree, tmp_path / "copy")) == []
    assert result.fetched_bytes >= added.bytes
    assert len([path for path in server.asked if path.startswith("/ipfs/")]) < 2 * len(blocks)


def test_several_gateways_of_which_each_has_a_part_are_one_source(tmp_path, dataset):
    tree, added, blocks = dataset
    nodes = {key: data for key, data in blocks.items() if len(data) < 1 << 19}
    large = [key for key in blocks if key not in nodes]
    halves = [{**nodes, **{key: blocks[key] for key in large[part::2]}} for part in range(2)]
    with ExitStack() as stack:
        servers = [stack.enter_context(gateway(half)) for half in halves]
        result = got(tmp_path, added.unixfs_cid, *(server.address for server in servers))
    assert list(compare(tree, tmp_path / "copy")) == []
    assert all(source.bytes > 0 for source in result.sources)


def test_reading_verbs_ask_for_no_more_than_they_need(tmp_path, dataset):
    tree, added, blocks = dataset

    async def run(address):
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            return b"".join(
                [piece async for piece in session.cat(f"{added.unixfs_cid}/large", sources=[address], offset=10, length=20)]
            )

    with gateway(blocks) as server:
        assert asyncio.run(run(server.address)) == (tree / "large").read_bytes()[10:30]
        asked = [path for path in server.asked if path.startswith("/ipfs/") and not path.endswith("bafkqaaa")]
    assert len(asked) < len(blocks) / 2


def wrong(handler, _cid, data):
    handler.say(200, bytes(len(data or b"x")), RAW)


def other_length(handler, _cid, data):
    handler.say(200, (data or b"") + b"more", RAW)


def huge(handler, _cid, _data):
    handler.say(200, b"", RAW, length=1 << 40)


def short(handler, _cid, data):
    handler.say(200, (data or b"xx")[:-1], RAW, length=len(data or b"xx"))
    handler.close_connection = True


def html(handler, _cid, _data):
    handler.say(200, b"<h1>hello</h1>", "text/html")


def elsewhere(handler, _cid, _data):
    handler.say(302, b"", "text/plain", Location="http://127.0.0.1:1/")


@pytest.mark.parametrize("twist", [wrong, other_length, huge, short, html, elsewhere])
def test_a_gateway_that_lies_is_named_and_spoils_nothing(tmp_path, dataset, twist):
    tree, added, blocks = dataset
    with gateway(blocks, twist) as bad:
        with pytest.raises(WherryError) as caught:
            got(tmp_path, added.unixfs_cid, bad.address, wait_s=0.5)
        assert str(bad.server_port) in str(caught.value)
        assert not (tmp_path / "copy").exists()
        with gateway(blocks) as good:
            got(tmp_path, added.unixfs_cid, bad.address, good.address)
    assert list(compare(tree, tmp_path / "copy")) == []


@pytest.mark.parametrize("begins", [False, True])
def test_nobody_waits_for_one_that_falls_silent_while_another_is_there(tmp_path, dataset, begins):
    tree, added, blocks = dataset
    over = threading.Event()

    def silent(handler, _cid, data):
        if begins:
            handler.send_response(200)
            handler.send_header("Content-Type", RAW)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
        over.wait(60)

    began = time.monotonic()
    try:
        with gateway(blocks, silent) as bad, gateway(blocks, silent) as worse, gateway(blocks) as good:
            got(tmp_path, added.unixfs_cid, bad.address, worse.address, good.address)
            over.set()
    finally:
        over.set()
    assert list(compare(tree, tmp_path / "copy")) == []
    assert time.monotonic() - began < HttpOptions().idle_timeout / 2, "it was waited for until it was given up"


def test_one_that_has_nothing(tmp_path, dataset):
    _, added, _ = dataset
    with gateway({}) as server, pytest.raises((BlockNotFound, NoSource)):
        got(tmp_path, added.unixfs_cid, server.address, wait_s=0.5)


def test_one_that_has_too_much_to_do_is_left_alone_for_as_long_as_it_says(tmp_path, dataset):
    tree, added, blocks = dataset
    refused = []

    def busy(handler, _cid, data):
        if not refused or time.monotonic() - refused[0] < 0.9:
            refused.append(time.monotonic())
            handler.say(429, b"later", "text/plain", Retry_After="1")
        else:
            handler.say(200, data, RAW)

    with gateway(blocks, busy) as server:
        got(tmp_path, added.unixfs_cid, server.address)
    assert list(compare(tree, tmp_path / "copy")) == []
    assert len(refused) <= 4, "those that were under way, and nobody after them"


def test_what_is_neither_wherry_nor_a_gateway_is_said(tmp_path, dataset):
    _, added, _ = dataset

    class Web(Gateway):
        def do_GET(self):  # noqa: N802  # as http.server calls it
            self.say(200, b"<h1>hello</h1>", "text/html")

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(NoSource) as caught:
                got(tmp_path, added.cid, f"http://127.0.0.1:{server.server_port}", wait_s=0.5)
        finally:
            server.shutdown()
            thread.join()
    server = f"http://127.0.0.1:{server.server_port}"
    assert f"({server}: is no wherry server (answered with 'text/html') and no gateway (answered with 'text/html' to " in str(
        caught.value
    )


LATER = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("status", "more", "said"),
    [
        (429, {"Retry-After": "40"}, r"\(ADDRESS: asks to be left alone for (40|3[0-9]) s\)"),
        (503, {"Retry-After": LATER}, r"asks to be left alone for (60|5[0-9]) s"),
        (429, {}, r"asks to be left alone for [1-5] s"),
        (500, {}, r"\(answered with status 404\) and no gateway \(answered with status 500 to /ipfs/bafkqaaa"),
        (403, {}, r"\(ADDRESS: refuses us \(status 403\)\)"),
    ],
)
def test_what_a_gateway_says_instead_of_an_answer_is_repeated_and_obeyed(tmp_path, dataset, status, more, said):
    _, added, _ = dataset

    def moved(handler, path, _query):
        if path.startswith("/ipfs/"):
            handler.say(status, b"no", "text/plain", **more)
        return path.startswith("/ipfs/")

    with gateway({}, moved=moved) as server, pytest.raises(PeerDenied if status == 403 else NoSource) as caught:
        got(tmp_path, added.unixfs_cid, server.address, wait_s=2.0)
    assert re.search(said.replace("ADDRESS", server.address), caught.value.message)
    assert status == 500 or len(server.asked) == 2, "once for a wherry server, once for a gateway"


def test_a_server_that_is_busy_before_it_says_what_it_is_is_left_alone(tmp_path, dataset):
    _, added, _ = dataset
    with gateway({}, moved=lambda handler, *_: handler.say(429, b"no", "text/plain", Retry_After="40") or True) as server:
        with pytest.raises(NoSource, match=r"asks to be left alone for (40|3[0-9]) s"):
            got(tmp_path, added.unixfs_cid, server.address, wait_s=2.0)
    assert len(server.asked) == 1


VERBS = {
    "cat": lambda session, cid, _, **options: drawn(session.cat(f"{cid}/large", **options)),
    "ls": lambda session, cid, _, **options: drawn(session.ls(cid, **options)),
    "stat": lambda session, cid, _, **options: session.stat(cid, **options),
    "verify": lambda session, cid, tree, **options: session.verify(cid, str(tree), **options),
    "dag_get": lambda session, cid, _, **options: session.dag_get(cid, **options),
    "dag_ls": lambda session, cid, _, **options: session.dag_ls(cid, **options),
    "dag_stat": lambda session, cid, _, **options: session.dag_stat(cid, **options),
}


async def drawn(pieces):
    """Takes all pieces."""
    async with aclosing(pieces):
        async for _ in pieces:
            pass


@pytest.mark.parametrize("verb", VERBS)
def test_who_waits_for_a_gateway_that_hangs_hears_of_it(tmp_path, dataset, monkeypatch, verb):
    monkeypatch.setattr(asking, "STILL_S", 0.3)
    tree, added, blocks = dataset
    heard = []
    patience = {"get.wait": "1s", "transport.http.idle_timeout": "1s"}

    async def run(address):
        async with Session.open(home=tmp_path / "home", environ={}, overrides=patience) as session:
            with pytest.raises(NoSource):
                await VERBS[verb](session, added.unixfs_cid, tree, sources=[address], observe=heard.append)

    with gateway(blocks, lambda handler, *_: handler.rfile.read(1)) as there:  # until the client has had enough
        asyncio.run(run(there.address))
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert re.fullmatch(f"nothing complete has come for [0-9]+ s from {there.address}", notes[0])
