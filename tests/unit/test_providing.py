"""A node that tells trackers what it holds: what changes, what ends, and trackers that refuse, lie or are away."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from wherry.abc.locator import Holding, SupportsProvide
from wherry.abc.transport import Listening
from wherry.cid import CID, RAW
from wherry.errors import StoreError
from wherry.nodekey import NodeKey
from wherry.plugin import Duration
from wherry.testing.hostile import HostileServer, answer, endless, garbage, hang_up, redirect, silent
from wherry_locate import providing
from wherry_locate.announcement import decode
from wherry_locate.options import TrackerOptions
from wherry_locate.server.options import TrackerServerOptions
from wherry_locate.server.serving import tracking
from wherry_locate.tracker import Tracker

ADDRESSES = ("http://127.0.0.1:4290", "tcp://127.0.0.1:4291", "unix:///run/wherry.sock", "file:///data")
OK = answer(json.dumps({"ProvideResults": [{}]}).encode(), headers={"Content-Type": "application/json"})


def cid(number):
    return CID.of(RAW, b"%d" % number)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(providing, "_LOOK_S", 0.02)
    monkeypatch.setattr(providing, "_AWAY_S", (0.02, 0.1))


class Node:
    """Something that holds datasets, and hears what it is told."""

    def __init__(self, home, *urls, announce=True, timeout=2.0):
        self.held = {cid(1): True}
        self.told = []
        self.made = Tracker(TrackerOptions(urls=urls, announce=announce, timeout=Duration(timeout)), home)

    async def holdings(self):
        return [Holding(*pair) for pair in self.held.items()]

    def providing(self, addresses=ADDRESSES):
        return self.made.provide(addresses, self.holdings, self.told.append)

    async def found(self, number=1):
        return {str(one): one.complete async for one in self.made.locate(cid(number))}


async def until(look, right):
    async with asyncio.timeout(20):
        while not right(found := await look()):
            await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def tracker(tmp_path, name="t", **changes):
    options = replace(TrackerServerOptions(announces_per_minute=6000, queries_per_minute=60_000), **changes)
    async with tracking("http://127.0.0.1:0", tmp_path / name / "r.db", options) as url:
        yield url


async def test_what_is_held_is_told_as_it_changes_and_taken_back(tmp_path):
    async with tracker(tmp_path) as one, tracker(tmp_path, "u") as two:
        node = Node(tmp_path, one, two)
        assert isinstance(node.made, SupportsProvide)
        async with node.providing():
            for url in (one, two):
                here = Node(tmp_path, url)
                found = await until(here.found, lambda found: found)
                assert found == {"http://127.0.0.1:4290": True, "tcp://127.0.0.1:4291": True}
            node.held = {cid(2): False}
            assert await until(lambda: node.found(2), lambda found: found) == dict.fromkeys(found, False)
            await until(node.found, lambda found: not found)
            node.held = {cid(2): True}
            await until(lambda: node.found(2), lambda found: all(found.values()))
        assert await node.found(2) == {}
    assert node.told == []


async def test_two_processes_of_one_node_do_not_take_each_other_out(tmp_path):
    async with tracker(tmp_path) as url:
        node = Node(tmp_path, url)
        async with node.providing(["tcp://127.0.0.1:1111"]):
            async with node.providing(["tcp://127.0.0.1:2222"]):
                await until(node.found, lambda found: len(found) == 2)
            assert set(await node.found()) == {"tcp://127.0.0.1:1111"}


async def test_what_else_a_transport_speaks_is_told_where_its_address_is(tmp_path):
    async with tracker(tmp_path) as url:
        node = Node(tmp_path, url)
        gateway = Listening("http://127.0.0.1:4290", protocols=["transport-ipfs-gateway-http", "No Such Word"])
        elsewhere = Listening("unix:///run/wherry.sock", protocols=["transport-bitswap"])
        async with node.providing([gateway, elsewhere, "tcp://127.0.0.1:4291"]):
            await until(node.found, lambda found: len(found) == 2)
            (found,) = {one.protocols async for one in node.made.locate(cid(1))}
        assert found == ("transport-wherry-http", "transport-wherry-tcp", "transport-ipfs-gateway-http")
    assert node.told == []


async def test_more_than_fit_one_announcement(tmp_path):
    async with tracker(tmp_path) as url:
        node = Node(tmp_path, url)
        node.held = {cid(number): True for number in range(2500)}
        async with node.providing():
            for number in (0, 1500, 2499):
                await until(lambda number=number: node.found(number), lambda found: found)


async def test_nothing_is_told_without_leave_or_without_an_address(tmp_path):
    with HostileServer(OK) as server:
        for node, addresses in (
            (Node(tmp_path, server.url, announce=False), ADDRESSES),
            (Node(tmp_path, server.url), ["unix:///x", "tcp://h", "http://[", "tcp://a b:1"]),
            (Node(None, server.url), ADDRESSES),
        ):
            async with node.providing(addresses):
                await asyncio.sleep(0.1)
        assert server.requests == []
    assert not (tmp_path / "node.key").exists()


async def test_it_is_renewed_before_it_ends_and_each_time_later(tmp_path, monkeypatch):
    with HostileServer(OK) as server:
        node = Node(tmp_path, server.url)
        object.__setattr__(node.made._options, "renew", 0.05)
        async with node.providing(), asyncio.timeout(20):
            while len(server.requests) < 4:
                await asyncio.sleep(0.02)
    said = [decode(request.body) for request in server.requests]
    assert [one.withdraw for one in said] == [False] * (len(said) - 1) + [True]
    assert [one.at for one in said] == sorted({one.at for one in said})
    assert {one.peer for one in said} == {NodeKey.load(tmp_path).peer_id}
    assert {one.ttl_s for one in said[:-1]} == {0.1}
    (request,) = {(request.method, request.path) for request in server.requests}
    assert request == ("PUT", "/routing/v1/providers")
    assert not {"authorization", "cookie"} & set(server.requests[0].headers)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (silent(), "took more than"), (hang_up(), "cut the connection"), (garbage(), "broke HTTP"),
        (answer(b"{}"), "does not say"),
        (answer(b"[" * 60_000), "does not say"), (answer(status=404), "status 404"), (answer(b"\x1b no", status=422), "x1b no"),
        (redirect("http://127.0.0.1:1/"), "status 302"), (endless(), "does not say"),
    ],
)  # fmt: skip
async def test_a_tracker_that_fails_is_said_once_and_keeps_nobody(tmp_path, behaviour, words):
    with HostileServer(behaviour) as bad, HostileServer(OK) as good:
        node = Node(tmp_path, bad.url, good.url, timeout=0.2 if words == "took more than" else 5.0)
        async with node.providing(), asyncio.timeout(20):
            while len(bad.requests) < 3 or not good.requests or not node.told:  # a client's library may ask twice by itself
                await asyncio.sleep(0.02)
    assert len(node.told) == 1
    assert "goes on trying" in node.told[0]
    assert words in node.told[0]


async def test_one_that_is_away_is_told_when_it_comes_and_again_when_it_forgot(tmp_path):
    with HostileServer(hang_up(), hang_up(), OK) as server:
        node = Node(tmp_path, server.url)
        async with node.providing(), asyncio.timeout(20):
            while len(server.requests) < 3:
                await asyncio.sleep(0.02)
    assert len(node.told) == 1
    with HostileServer(answer(status=429, headers={"Retry-After": "0"}), OK) as server:
        async with AsyncExitStack() as stack:
            node = Node(tmp_path, server.url)
            await stack.enter_async_context(node.providing())
            async with asyncio.timeout(20):
                while len(server.requests) < 2:
                    await asyncio.sleep(0.02)
    assert node.told == []


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("99999", 3600.0), ("", 60.0), ("-1", 60.0), ("9" * 5000, 60.0)])
def test_how_long_a_busy_tracker_is_left_alone(text, seconds):
    assert providing._retry_after(SimpleNamespace(headers={"Retry-After": text})) == seconds


async def test_a_home_that_cannot_be_read_ends_nothing_but_the_telling(tmp_path):
    async with tracker(tmp_path) as url:
        node = Node(tmp_path, url)

        async def broken():
            raise KeyError("a bug")

        async with node.made.provide(ADDRESSES, broken, node.told.append):
            await until(lambda: asyncio.sleep(0, node.told), lambda told: told)
        assert "KeyError" in node.told[0]
        (tmp_path / "node.key").chmod(0o644)
        with pytest.raises(StoreError):
            async with node.providing():
                pass
