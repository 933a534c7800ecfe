"""The chaos proxy does what it says, and the same for the same seed."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from contextlib import asynccontextmanager

import pytest

from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.loop import running

DATA = random.Random(3).randbytes(300_000)


@asynccontextmanager
async def server(serve):
    """A TCP server whose every connection is handled by ``serve``; yields (host, port)."""
    tasks = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[:2]
    finally:
        listener.close()
        await asyncio.wait(tasks, timeout=2) if tasks else None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def send_data(reader, writer):
    writer.write(DATA)
    await writer.drain()


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def receive(proxy, *, within=5.0):
    """Reads to the end; gives the bytes and how it ended."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    got = bytearray()
    try:
        async with asyncio.timeout(within):
            while data := await reader.read(65536):
                got += data
        return bytes(got), "end"
    except TimeoutError:
        return bytes(got), "silence"
    except ConnectionResetError:
        return bytes(got), "reset"
    finally:
        writer.transport.abort()


async def through(down, *, seed=1, within=5.0):
    async with server(send_data) as target, ChaosProxy(target, seed=seed, down=down) as proxy:
        started = time.monotonic()
        got, how = await receive(proxy, within=within)
        return got, how, proxy, time.monotonic() - started


async def test_calm_passes_everything_both_ways_and_counts():
    async with server(echo) as target, ChaosProxy(target) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read(-1) == DATA
        writer.close()
        await writer.wait_closed()
        assert proxy.passed == {"up": len(DATA), "down": len(DATA)}
        assert (proxy.connections, proxy.resets, proxy.flipped.total()) == (1, 0, 0)
    assert proxy.open_connections == 0


async def test_truncate_ends_in_an_orderly_way_at_the_byte():
    got, how, *_ = await through(Chaos(truncate_at=70_001))
    assert (got, how) == (DATA[:70_001], "end")


async def test_reset_cuts_at_the_byte():
    got, how, proxy, _ = await through(Chaos(reset_after=100_000))
    assert how == "reset"
    assert DATA[:100_000].startswith(got)
    assert (proxy.resets, proxy.passed["down"]) == (1, 100_000)


async def test_reset_concerns_the_drawn_connections_only():
    down = Chaos(reset_after=10_000, reset_p=0.5)
    async with server(send_data) as target, ChaosProxy(target, seed=5, down=down) as proxy:
        first = [(await receive(proxy))[1] for _ in range(12)]
    async with server(send_data) as target, ChaosProxy(target, seed=5, down=down) as proxy:
        again = [(await receive(proxy))[1] for _ in range(12)]
    assert first == again
    assert set(first) == {"end", "reset"}


async def test_stall_keeps_the_connection_open_and_silent():
    got, how, *_ = await through(Chaos(stall_after=50_000), within=0.3)
    assert (got, how) == (DATA[:50_000], "silence")


async def test_black_hole_passes_nothing():
    got, how, *_ = await through(Chaos(blackhole=True), within=0.3)
    assert (got, how) == (b"", "silence")


async def test_corrupt_flips_the_same_bits_whatever_the_pieces():
    once, how, proxy, _ = await through(Chaos(corrupt_p=1e-4))
    again, *_ = await through(Chaos(corrupt_p=1e-4, slice=999, jitter_s=0.0001))
    other, *_ = await through(Chaos(corrupt_p=1e-4), seed=2)
    assert how == "end"
    assert len(once) == len(DATA)
    differing = sum(a != b for a, b in zip(once, DATA, strict=True))
    assert differing == proxy.flipped["down"]
    assert 10 <= differing <= 70  # 30 are expected; outside this range once in tens of thousands of seeds
    assert once == again
    assert once != other


async def test_latency_delays_without_costing_rate():
    got, how, _, seconds = await through(Chaos(latency_s=0.2, jitter_s=0.05, slice=1000))
    assert (got, how) == (DATA, "end")
    assert 0.2 <= seconds < 3  # 300 pieces one after another would take 60 s


async def test_rate_holds():
    got, how, _, seconds = await through(Chaos(rate=600_000))
    assert (got, how) == (DATA, "end")
    assert 0.4 <= seconds < 2  # 0.5 s and a little


async def test_slices_are_seen_by_the_client():
    async with server(send_data) as target, ChaosProxy(target, down=Chaos(slice=10, latency_s=0.01)) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        assert await reader.read(65536)
        writer.transport.abort()
        assert proxy.passed["down"] % 10 == 0


async def test_refusing_and_cut_and_a_dead_target():
    async with server(echo) as target, ChaosProxy(target) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.transport.abort()
        proxy.refusing = True
        assert await receive(proxy) == (b"", "reset")
        assert (proxy.refused, proxy.resets) == (1, 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = closed.getsockname()
    async with ChaosProxy(target) as proxy:
        assert await receive(proxy) == (b"", "reset")


def test_from_a_test_without_a_loop():
    with socket.create_server(("127.0.0.1", 0)) as listener, running(ChaosProxy(listener.getsockname())) as proxy:
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
            client.sendall(b"ping")
            end, _ = listener.accept()
            with end:
                assert end.recv(4) == b"ping"
    assert proxy.passed["up"] == 4


def test_what_entering_raises_comes_out_of_running():
    @asynccontextmanager
    async def broken():
        raise LookupError("no such thing")
        yield

    with pytest.raises(LookupError, match="no such thing"), running(broken()):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize("wrong", [{"corrupt_p": 1.0}, {"reset_p": 2}, {"slice": 0}, {"rate": 0}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match="between 0 and 1|above 0"):
        Chaos(**wrong)
