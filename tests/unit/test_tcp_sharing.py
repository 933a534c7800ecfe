"""Several transfers on one connection of the tcp transport: whose turn it is, and how long the connection lasts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress

import pytest

from wherry.env import Env
from wherry.errors import PeerError
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry_tcp.options import TcpOptions
from wherry_tcp.shared import WAYS
from wherry_tcp.transport import TcpTransport
from wherry_tcp.turns import Turns

FILE = file_of("file", *[100_000] * 6)
WANTS = [leaf.want for leaf in FILE]


async def started(turns, owner, made):
    await turns.take(owner)
    turns.starting -= 1
    made.append(owner)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_has_many_requests_waits_for_those_who_have_few():
    made, free = [], [0]
    turns = Turns(lambda: free[0])
    tasks = [asyncio.create_task(started(turns, owner, made)) for owner in "aaaaaabc"]
    await settle()
    assert made == []
    for _ in range(8):
        free[0] = 1
        turns.look()
        free[0] = 0
        await settle()
    assert made[:3] == ["a", "b", "c"]
    assert made.count("a") == 5, "a third of what may be under way, while others are there"
    for owner in "bc":
        turns.over(owner)
    for _ in range(2):
        free[0] = 1
        turns.look()
        free[0] = 0
    await asyncio.gather(*tasks)
    assert sorted(made) == sorted("aaaaaabc")


async def test_a_turn_that_is_given_up_goes_to_the_next():
    made, free = [], [0]
    turns = Turns(lambda: free[0])
    first, second, third = (asyncio.create_task(started(turns, owner, made)) for owner in "abc")
    await settle()
    second.cancel()
    await settle()
    free[0] = 1
    turns.look()
    first.cancel()  # it has its turn, and does not know yet
    await settle()
    assert made == ["c"]
    assert turns.starting == 0
    await third
    turns.end()
    await asyncio.wait_for(started(turns, "d", made), 5)


def transport(home):
    return TcpTransport(TcpOptions(), Env(home, {}))


async def test_many_who_go_to_one_place_share_few_connections_and_the_last_one_closes_each(tmp_path):
    server, client = transport(tmp_path), transport(tmp_path)
    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address:
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(client.connect(address)) for _ in range(3 * WAYS)]
            ways = [channel._way for channel in channels]
            assert len({id(way) for way in ways}) == WAYS
            assert all(ways.count(way) == 3 for way in ways)
            for channel in channels:
                right(await harvest(channel, WANTS, CountedPool()), FILE)
            async with client.connect(address) as other:
                right(await harvest(other, WANTS, CountedPool()), FILE)
            right(await harvest(channels[0], WANTS, CountedPool()), FILE)
            way = channels[0]._way
        async with client.connect(address) as later:
            assert later._way is not way


async def test_all_who_wait_for_a_connection_hear_that_it_failed_and_the_next_one_tries_anew(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        client = transport(tmp_path)

        async def reach():
            async with client.connect(address):
                raise AssertionError("nobody is there")

        found = await asyncio.gather(*(reach() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(problem, PeerError) for problem in found), found
    server = transport(tmp_path)
    async with server.listen(address, source_of(FILE)), client.connect(address) as channel:
        right(await harvest(channel, WANTS, CountedPool()), FILE)


async def test_who_is_cancelled_while_it_connects_leaves_the_others_alone(tmp_path):
    server, client = transport(tmp_path), transport(tmp_path)
    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address:

        async def get():
            async with client.connect(address) as channel:
                right(await harvest(channel, WANTS, CountedPool()), FILE)

        impatient, patient = asyncio.create_task(get()), asyncio.create_task(get())
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        with suppress(asyncio.CancelledError):
            await impatient
    assert client._engine is None


async def test_who_is_cancelled_twice_leaves_no_connection_behind(tmp_path):
    server, client = transport(tmp_path), transport(tmp_path)
    ways = []

    async def hold(address):
        async with client.connect(address) as channel:
            ways.append(channel._way)
            await asyncio.sleep(60)

    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address:
        holding = asyncio.create_task(hold(address))
        while not ways:
            await asyncio.sleep(0.001)
        session = ways[0]._session
        for _ in range(2):
            holding.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([holding])
        assert holding.cancelled()
        assert session.ended


async def test_a_connection_that_was_lost_is_not_given_to_others(tmp_path):
    server, client = transport(tmp_path), transport(tmp_path)
    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address, client.connect(address) as first:
        first._way._session.close("for a test")
        await asyncio.wait([first._way._running])
        async with client.connect(address) as second:
            assert second._way is not first._way
            right(await harvest(second, WANTS, CountedPool()), FILE)


pytestmark = pytest.mark.timeout(30)
