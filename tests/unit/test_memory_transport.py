"""The memory transport's faults: each happens as told, and the same ones for the same seed."""

from __future__ import annotations

import asyncio

import pytest

from wherry.env import Env
from wherry.errors import LocalError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.plugin import API_VERSION
from wherry.testing.blocks import CountedPool, fetch_once
from wherry.testing.leaves import file_of, source_of
from wherry.testing.memory import MemoryNetwork, MemoryOptions, MemoryTransport

FILE = file_of("file", *[1000] * 100)
WANTS = [leaf.want for leaf in FILE]


async def run(times=1, **faults):
    """Fetches over a faulty way; gives what came of each fetch."""
    network, found, pool = MemoryNetwork(), [], CountedPool()
    async with (
        MemoryTransport(network).listen("memory://a", source_of(FILE)) as address,
        MemoryTransport(network, MemoryOptions(**faults)).connect(address) as channel,
    ):
        for _ in range(times):
            try:
                one = await fetch_once(channel, WANTS, pool)
                found.append((len(one.blocks), len(one.missing), len(one.rejected)))
                assert one.faults == []
            except (PeerTimeout, PeerProtocolError) as problem:
                assert problem.peer == address
                found.append(type(problem))
            assert pool.out == 0
    return found


async def test_without_faults_all_arrives():
    assert await run(3) == [(100, 0, 0)] * 3


async def test_all_of_each_fault():
    assert await run(loss=1.0) == [PeerTimeout]
    assert await run(lies=1.0) == [(0, 0, 100)]
    assert await run(missing=1.0) == [(0, 100, 0)]
    assert set(await run(20, cut=1.0)) == {PeerProtocolError}


async def test_a_share_of_each_fault():
    for fault, place in (("lies", 2), ("missing", 1)):
        assert 5 < (await run(**{fault: 0.2}))[0][place] < 40
    assert 5 < (await run(100, loss=0.2)).count(PeerTimeout) < 40
    assert 5 < (await run(100, cut=0.2)).count(PeerProtocolError) < 40


async def test_one_seed_one_course():
    faults = {"loss": 0.1, "cut": 0.1, "lies": 0.1, "missing": 0.1}
    first = await run(30, seed=1, **faults)
    assert first == await run(30, seed=1, **faults)
    assert first != await run(30, seed=2, **faults)


async def test_latency():
    loop = asyncio.get_running_loop()
    began = loop.time()
    await run(2, latency=0.05)
    assert 0.15 <= loop.time() - began < 1


async def test_names():
    network, source = MemoryNetwork(), source_of(FILE)
    transport = MemoryTransport(network)
    with pytest.raises(PeerUnreachable, match="nobody"):
        async with transport.connect("memory://a"):
            pass
    async with transport.listen("memory://a", source):
        with pytest.raises(LocalError, match="already"):
            async with transport.listen("memory://a", source):
                pass
        with pytest.raises(PeerUnreachable):
            async with MemoryTransport(MemoryNetwork()).connect("memory://a"):
                pass
    async with transport.listen("memory://a", source):
        pass


async def test_a_network_is_a_plugins_provider(tmp_path):
    network = MemoryNetwork()
    offered = network.provider()
    assert (offered.name, offered.api) == ("memory", API_VERSION)
    built = offered.build(offered.options(), Env(tmp_path, {}))
    async with built.listen("memory://a", source_of(FILE)):
        assert list(network.listeners) == ["a"]
