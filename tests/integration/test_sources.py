"""Sources that misbehave, vanish, come back, or are a mounted disk: real sockets, and processes where one must die."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest

from wherry.cid import BINARY_BYTES, CID
from wherry.errors import BlockNotFound, DataError, NoSource, PeerDenied, PeerError
from wherry.session import Session
from wherry.testing import hostile
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.hostile import HostileServer
from wherry.transfer.breaker import Breaker
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MIB = 1 << 20
INFO = "/wherry/v1"
BLOCKS = "/wherry/v1/blocks"
FRAMES = {"Content-Type": "application/vnd.wherry.blocks"}
HELLO = hostile.answer(b'{"wherry": 1}', headers={"Content-Type": "application/json"})
QUICK = {"transport.http.idle_timeout": "1s", "transport.http.connect_timeout": "1s"}


def frame(kind, count, first, body):
    return struct.pack(">BBHIQ", kind, 0, count, first, len(body)) + body


def wrong_bytes(request):
    """Answers the first want with a block that is not it."""
    return frame(1, 1, 0, struct.pack(">I", 5) + b"wrong")


def nothing_now(request):
    """Puts all wants off, each time."""
    return frame(3, len(request.body) // BINARY_BYTES, 0, b"")


def nothing_here(request):
    return frame(2, len(request.body) // BINARY_BYTES, 0, b"")


def too_much(request):
    return frame(1, 1, 0, struct.pack(">I", 5 * MIB) + bytes(5 * MIB))


BEHAVIOURS = {
    "silent": hostile.silent(),
    "drip": hostile.drip(bytes(100_000), every_s=0.05, headers=FRAMES),
    "drip of the head": hostile.drip_head(every_s=0.05),
    "endless": hostile.endless(headers=FRAMES),
    "endless without chunks": hostile.endless(chunked=False, headers=FRAMES),
    "says more than it sends": hostile.wrong_length(nothing_now, claim=4000, headers=FRAMES),
    "says less than it sends": hostile.wrong_length(wrong_bytes, claim=20, headers=FRAMES),
    "cut": hostile.cut(wrong_bytes, after=20, headers=FRAMES),
    "cut with a reset": hostile.cut(wrong_bytes, after=20, reset=True, headers=FRAMES),
    "stall": hostile.stall(wrong_bytes, after=20, headers=FRAMES),
    "garbage": hostile.garbage(),
    "garbage in frames": hostile.answer(os.urandom(5000), headers=FRAMES),
    "large headers": hostile.oversize_headers(),
    "endless headers": hostile.endless_headers(),
    "hangs up": hostile.hang_up(),
    "hangs up with a reset": hostile.hang_up(reset=True),
    "another type": hostile.answer(b"<html>"),
    "status 404": hostile.answer(status=404),
    "status 500": hostile.answer(status=500),
    "status 503": hostile.answer(status=503),
    "wrong bytes": hostile.answer(wrong_bytes, headers=FRAMES),
    "never now": hostile.answer(nothing_now, headers=FRAMES),
    "an empty answer": hostile.answer(b"", headers=FRAMES),
    "more than a leaf": hostile.answer(too_much, headers=FRAMES),
}


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    rng = random.Random(9)
    for name, size in [("large.bin", 20 * MIB), *((f"small/{number}", 3000) for number in range(30))]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(rng.randbytes(size))
    return root


@asynccontextmanager
async def shared(data, home, scheme="http"):
    async with Session.open(home=home, environ={}) as session:
        cid = (await session.add(str(data))).cid
        async with session.serve(listen=[f"{scheme}://127.0.0.1:0"]) as serving:
            yield cid, serving.listen[0]


@asynccontextmanager
async def node(tmp_path, name="b"):
    async with Session.open(home=tmp_path / f"home-{name}", environ={}, overrides=QUICK) as session:
        yield session


def left_beside(target):
    return [name for name in os.listdir(target.parent) if target.name in name]


@pytest.mark.parametrize("about", BEHAVIOURS)
async def test_a_hostile_source_alone_ends_it_with_an_error_that_names_it(about, tmp_path):
    target, cid = tmp_path / "copy", str(CID.of(0x71, b"\xa0"))
    with HostileServer(by_path={INFO: HELLO, BLOCKS: BEHAVIOURS[about]}) as server:
        began = time.monotonic()
        async with node(tmp_path) as session:
            with pytest.raises((PeerError, DataError)) as found:
                await session.get(cid, sources=[server.url], output=str(target), wait_s=1.5)
        took = time.monotonic() - began
        assert str(server.port) in found.value.message
        assert server.bytes_sent < 200 * MIB
    assert took < 10
    assert left_beside(target) == []


@pytest.mark.parametrize("about", BEHAVIOURS)
async def test_a_hostile_source_beside_an_honest_one_does_no_harm(about, data, tmp_path):
    target = tmp_path / "copy"
    async with shared(data, tmp_path / "home-a") as (cid, honest), node(tmp_path) as session:
        with HostileServer(by_path={INFO: HELLO, BLOCKS: BEHAVIOURS[about]}) as server:
            async with asyncio.timeout(30):
                got = await session.get(cid, sources=[server.url, honest], output=str(target))
    assert list(compare(data, target)) == []
    assert got.sources[0].blocks == 0
    assert left_beside(target) == ["copy"]


@pytest.mark.parametrize("about", [about for about in BEHAVIOURS if about not in ("never now", "wrong bytes")])
async def test_a_source_that_is_none_from_the_start(about, tmp_path):
    with HostileServer(BEHAVIOURS[about]) as server:
        async with node(tmp_path) as session:
            with pytest.raises(NoSource, match=str(server.port)):
                await session.get(str(CID.of(0x71, b"\xa0")), sources=[server.url], output="null:", wait_s=1.2)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_source_that_wants_a_token_says_so_at_once(status, tmp_path):
    with HostileServer(hostile.answer(status=status)) as server:
        async with node(tmp_path) as session, asyncio.timeout(5):
            with pytest.raises(PeerDenied, match="WHERRY_TOKEN"):
                await session.get(str(CID.of(0x71, b"\xa0")), sources=[server.url], output="null:")


async def test_a_redirect_is_not_followed(tmp_path):
    with HostileServer(hostile.answer(b"", headers=FRAMES)) as canary:
        with HostileServer(by_path={INFO: HELLO, BLOCKS: hostile.redirect(canary.url + BLOCKS, status=307)}) as server:
            async with node(tmp_path) as session:
                with pytest.raises(NoSource, match="redirects"):
                    await session.get(str(CID.of(0x71, b"\xa0")), sources=[server.url], output="null:", wait_s=1)
        assert canary.connections == 0


async def test_a_source_without_the_data(data, tmp_path):
    with HostileServer(by_path={INFO: HELLO, BLOCKS: hostile.answer(nothing_here, headers=FRAMES)}) as server:
        async with node(tmp_path) as session, asyncio.timeout(5):
            with pytest.raises(BlockNotFound, match=str(server.port)):
                await session.get(str(CID.of(0x71, b"\xa0")), sources=[server.url], output="null:")


@pytest.mark.parametrize(
    "weather",
    [
        Chaos(reset_after=3 * MIB, reset_p=0.5),
        Chaos(truncate_at=5 * MIB),
        Chaos(corrupt_p=3e-7),
        Chaos(slice=700),
        Chaos(latency_s=0.05, jitter_s=0.1),
    ],
    ids=["resets", "cut after 5 MiB", "flipped bits", "slices", "latency"],
)
async def test_bad_weather(weather, data, tmp_path):
    target = tmp_path / "copy"
    async with shared(data, tmp_path / "home-a") as (cid, address), node(tmp_path) as session:
        async with ChaosProxy(("127.0.0.1", int(address.rpartition(":")[2])), seed=4, down=weather) as proxy:
            async with asyncio.timeout(60):
                await session.get(cid, sources=[f"http://127.0.0.1:{proxy.port}"], output=str(target), wait_s=20)
    assert list(compare(data, target)) == []


@pytest.mark.parametrize("end", [Chaos(truncate_at=3_500_000), Chaos(reset_after=3_500_000, rate=64 * MIB)], ids=["fin", "rst"])
@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_connections_that_end_before_one_answer_has_come_bring_all_the_same(scheme, end, data, tmp_path, monkeypatch):
    target, opened = tmp_path / "copy", []
    monkeypatch.setattr(Breaker, "_open", lambda *what: opened.append(what))
    async with shared(data, tmp_path / "home-a", scheme) as (cid, address), node(tmp_path) as session:
        async with ChaosProxy(("127.0.0.1", int(address.rpartition(":")[2])), down=end) as proxy, asyncio.timeout(60):
            await session.get(cid, sources=[f"{scheme}://127.0.0.1:{proxy.port}"], output=str(target), wait_s=5)
    assert list(compare(data, target)) == []
    assert opened == [], "who brings something each time is not left alone"


async def test_a_slow_source_beside_a_fast_one_does_a_small_part(data, tmp_path):
    target = tmp_path / "copy"
    async with shared(data, tmp_path / "home-a") as (cid, address), node(tmp_path) as session:
        async with ChaosProxy(("127.0.0.1", int(address.rpartition(":")[2])), down=Chaos(rate=2 * MIB)) as proxy:
            got = await session.get(cid, sources=[f"http://127.0.0.1:{proxy.port}", address], output=str(target))
    assert list(compare(data, target)) == []
    assert got.sources[0].bytes < got.sources[1].bytes


# A mounted disk


async def test_another_home_on_a_disk(data, tmp_path):
    target = tmp_path / "copy"
    async with node(tmp_path, "a") as session:
        cid = (await session.add(str(data))).cid
    async with node(tmp_path) as session:
        got = await session.get(cid, sources=[f"file://{tmp_path}/home-a"], output=str(target))
    assert list(compare(data, target)) == []
    assert got.sources[0].bytes == got.fetched_bytes > 20 * MIB


async def test_a_plain_copy_on_a_disk_gives_the_leaves_and_a_node_the_manifest(data, tmp_path):
    copy = tmp_path / "mounted"
    shutil.copytree(data, copy)
    (copy / "small/7").write_bytes(b"not the same")
    target = tmp_path / "copy"
    async with shared(data, tmp_path / "home-a") as (cid, address), node(tmp_path) as session:
        await session.ls(cid, sources=[address]).__anext__()
        got = await session.get(cid, sources=[f"file://{copy}", address], output=str(target))
    assert list(compare(data, target)) == []
    assert got.sources[0].bytes > 0


async def test_a_plain_copy_of_one_file(tmp_path):
    data, copy, target = tmp_path / "file", tmp_path / "mounted", tmp_path / "copy"
    data.write_bytes(os.urandom(9 * MIB))
    shutil.copy(data, copy)
    async with shared(data, tmp_path / "home-a") as (cid, address), node(tmp_path) as session:
        got = await session.get(cid, sources=[f"file://{copy}", address], output=str(target))
    assert target.read_bytes() == data.read_bytes()
    assert got.sources[0].bytes > 0


async def test_a_disk_that_is_not_mounted(tmp_path):
    async with node(tmp_path) as session:
        with pytest.raises(NoSource, match="mounted|nothing"):
            await session.get(str(CID.of(0x71, b"\xa0")), sources=[f"file://{tmp_path}/no"], output="null:", wait_s=0.5)


# Processes that die


@pytest.fixture
def environ(home):
    return {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}


@pytest.fixture
def start(environ):
    started = []

    def starter(*words):
        line = [sys.executable, "-m", "wherry_cli", *map(str, words)]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ))
        return started[-1]

    yield starter
    for process in started:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ready(process):
    assert select.select([process.stdout], [], [], 30)[0]
    return json.loads(process.stdout.readline())


def begun(target, size):
    """Waits until the part of the target has so many bytes on record."""
    journal = target.parent / f".{target.name}.wherry-journal"
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if journal.exists() and journal.stat().st_size > 200 + 20 * size:
            return
        time.sleep(0.01)
    raise AssertionError("it did not begin")


@pytest.fixture
def slow_way(data, start, tmp_path):
    """A server process on a fixed port, and the line that fetches from it slowly (through a proxy in this process)."""
    port = free_port()

    def serve():
        process = start("serve", data, "--home", tmp_path / "home-a", "--listen", f"http://127.0.0.1:{port}", "--json")
        return process, ready(process)["added"][0]["cid"]

    return port, serve


async def off_loop(call, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def test_a_source_that_is_killed_and_comes_back_is_gone_on_with(slow_way, start, data, tmp_path):
    port, serve = slow_way
    server, cid = await off_loop(serve)
    async with ChaosProxy(("127.0.0.1", port), down=Chaos(rate=MIB)) as proxy:
        get = start("get", cid, "--from", f"http://127.0.0.1:{proxy.port}", "-o", tmp_path / "copy", "--json")
        await off_loop(begun, tmp_path / "copy", 1)
        server.kill()
        await off_loop(server.wait)
        await asyncio.sleep(1)
        assert get.poll() is None
        await off_loop(serve)
        proxy.down = Chaos()
        out, err = await off_loop(get.communicate)
    assert get.returncode == 0, err.decode()
    assert json.loads(out)["fetched_bytes"] < 45 * MIB
    assert list(compare(data, tmp_path / "copy")) == []


async def test_a_source_that_does_not_come_back_ends_it_after_the_wait(slow_way, start, data, tmp_path):
    port, serve = slow_way
    server, cid = await off_loop(serve)
    async with ChaosProxy(("127.0.0.1", port), down=Chaos(rate=MIB)) as proxy:
        words = ("get", cid, "--from", f"http://127.0.0.1:{proxy.port}", "-o", tmp_path / "copy", "--json", "--wait", "2s")
        get = start(*words)
        await off_loop(begun, tmp_path / "copy", 1)
        server.kill()
        proxy.refusing = True
        proxy.cut()
        began = time.monotonic()
        out, err = await off_loop(get.communicate)
        assert (get.returncode, out) == (7, b"")
        assert time.monotonic() - began < 15
        said = json.loads(err.splitlines()[-1])
        assert (said["error"], said["exit_code"]) == ("NoSource", 7)
        assert str(proxy.port) in said["message"]
        assert said["hint"]
        proxy.refusing, proxy.down = False, Chaos()
        await off_loop(serve)
        again = start(*words)
        out, err = await off_loop(again.communicate)
    assert again.returncode == 0, err.decode()
    assert json.loads(out)["fetched_bytes"] < 20 * MIB  # what was there is not fetched again
    assert list(compare(data, tmp_path / "copy")) == []
