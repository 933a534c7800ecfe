"""The asyncio half of the libp2p transport, against a process that speaks its frames and misbehaves in every way."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager

import pytest
from faked_libp2p import ADDRESS, CIDS, DATA, PEER, fake, wants

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.dial import PUBLIC
from wherry.errors import (
    LocalError,
    PeerDenied,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
    PluginError,
    UsageError,
    WrongLength,
)  # fmt: skip
from wherry.plugin import Duration
from wherry.testing.blocks import CheckingLender, CountedPool, MemorySource, fetch_once

__all__ = ["fake"]  # a fixture


@asynccontextmanager
async def channel_to(transport):
    async with transport.connect(ADDRESS) as channel:
        yield channel, CountedPool()


async def _fetch(fake, mode, sized):
    fake.mode(mode)
    absent = CID.of(RAW, b"nobody has it")
    async with channel_to(fake.transport()) as (channel, pool):
        found = await fetch_once(channel, [*wants(sized=sized), Want(absent, 13), Want(absent, 3 << 20)], pool)
    assert not found.faults
    assert found.blocks == dict(enumerate(DATA))
    assert found.missing == {4, 5}
    assert pool.out == 0


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("mode", ["good", "twice", "unasked"])
def test_blocks_arrive_and_nothing_else(fake, mode, sized):
    asyncio.run(_fetch(fake, mode, sized))


def test_only_large_blocks_ask_nobody(fake):
    async def run():
        async with channel_to(fake.transport()) as (channel, pool):
            found = await fetch_once(channel, [Want(CIDS[0], 3 << 20)], pool)
        assert found.missing == {0}

    asyncio.run(run())


BAD = {
    "crashes": (PeerUnreachable, "ended"),
    "too long": (WrongLength, "bytes, where"),
    "unknown kind": (PeerUnreachable, "not a valid Kind"),
    "a huge body": (PeerUnreachable, "BLOCK of 2147483648 bytes"),
    "a kind of ours": (PeerUnreachable, "a frame WANT from the process"),
    "a fault that there is not": (PeerUnreachable, "not a valid Fault"),
    "half a block": (PeerUnreachable, "ended"),
    "counts that are none": (PeerUnreachable, "nested too deep|ended"),
}


@pytest.mark.parametrize("mode", BAD)
def test_a_process_gone_wrong_is_an_error_of_its_kind(fake, mode):
    fake.mode(mode)

    async def run():
        kind, words = BAD[mode]
        async with channel_to(fake.transport()) as (channel, pool):
            with pytest.raises(kind) as caught:
                await fetch_once(channel, wants()[:3], pool)
            assert type(caught.value) is kind
            assert re.search(words, str(caught.value))
            assert caught.value.peer == ADDRESS
            assert pool.out == 0

    asyncio.run(run())


def test_what_came_before_a_failure_is_kept(fake):
    fake.mode("fails after some")

    async def run():
        async with channel_to(fake.transport()) as (channel, pool):
            asked = [*wants()[:3], Want(CID.of(RAW, b"?"), 1)]
            arrivals = channel.fetch(asked, CheckingLender(asked, pool))
            arrival = await anext(arrivals)
            assert {laid.want for laid in arrival.blocks} == {0, 1, 2}
            assert not arrival.missing  # nobody said so
            arrival.buffer.release()
            with pytest.raises(PeerTimeout, match="silent"):
                await anext(arrivals)
            with pytest.raises(PeerTimeout, match="silent"):
                await fetch_once(channel, [Want(CID.of(RAW, b"?"), 1)], pool)
            assert pool.out == 0

    asyncio.run(run())


def test_a_process_that_hangs_is_ended(fake):
    fake.mode("hangs")

    async def run():
        async with channel_to(fake.transport(idle_timeout=Duration(0.2))) as (channel, pool):
            with pytest.raises(PeerUnreachable, match="it said nothing for"):
                await fetch_once(channel, wants(), pool)
            assert pool.out == 0

    asyncio.run(run())


def test_cancelled_it_gives_its_buffer_back(fake):
    fake.mode("is silent")

    async def run():
        async with channel_to(fake.transport()) as (channel, pool):
            task = asyncio.create_task(fetch_once(channel, wants(), pool))
            while not pool.out:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.out == 0

    asyncio.run(run())


STARTS = {
    "absent": (PluginError, "py-libp2p is not installed"),
    "unfit": (PluginError, "the self-test failed"),
    "taken": (LocalError, "cannot listen"),
    "another version": (PluginError, "first frame"),
    "no json": (PluginError, "before it was ready"),
    "another frame": (PluginError, "first frame is DONE"),
    "dies at once": (PluginError, "cannot go on"),
}


@pytest.mark.parametrize("mode", STARTS)
def test_what_does_not_start_says_why(fake, mode):
    fake.mode(mode)

    async def run():
        kind, words = STARTS[mode]
        with pytest.raises(kind, match=words):
            async with fake.transport().connect(ADDRESS):
                pass

    asyncio.run(run())


def test_what_never_starts_is_ended(fake):
    fake.mode("never starts")

    async def run():
        with pytest.raises(PluginError, match="did not start within"):
            async with fake.transport(start_timeout=Duration(0.5)).connect(ADDRESS):
                pass

    asyncio.run(run())


def test_an_interpreter_that_is_not_there(fake):
    fake.python.unlink()

    async def run():
        with pytest.raises(PluginError, match="cannot be run"):
            async with fake.transport().connect(ADDRESS):
                pass

    asyncio.run(run())


def test_nobody_there_is_said_without_control_characters(fake):
    fake.mode("unreachable")

    async def run():
        with pytest.raises(PeerUnreachable, match=r"nobody \\x1b there"):
            async with fake.transport().connect(ADDRESS):
                pass

    asyncio.run(run())


def test_a_peer_of_another_id_is_not_tried_again(fake):
    fake.mode("another")

    async def run():
        with pytest.raises(PeerDenied, match="another peer answers there") as caught:
            async with fake.transport().connect(ADDRESS):
                pass
        assert caught.value.message == f"{ADDRESS}: another peer answers there"
        assert "/p2p/" in caught.value.hint

    asyncio.run(run())


def test_one_process_for_all_channels_started_anew_when_it_crashed_and_left_to_rest(fake):
    transport = fake.transport()

    async def run():
        async with transport.connect(ADDRESS), transport.connect(ADDRESS):
            assert len(fake.pids()) == 1
        fake.mode("crashes")
        async with transport.connect(ADDRESS) as first:
            for number in (2, 3):
                async with transport.connect(ADDRESS) as channel:
                    assert len(fake.pids()) == number
                    with pytest.raises(PeerError):
                        await fetch_once(channel, wants(), CountedPool())
            with pytest.raises(PeerUnreachable, match="crashed 2 times; it is started again in"):
                async with transport.connect(ADDRESS):
                    pass
            with pytest.raises(PeerUnreachable):
                await fetch_once(first, wants(), CountedPool())

    asyncio.run(run())


def test_peers_are_served_what_is_held_and_right(fake):
    wrong, large = CID.of(RAW, b"right"), CID.of(RAW, b"large")
    source = MemorySource({CIDS[2]: DATA[2], wrong: b"wrong", large: bytes((2 << 20) + 1), CIDS[1]: b""})
    asks = [CIDS[2], CID.of(RAW, b"absent"), wrong, large, bytes(36), CIDS[1]]
    for number, cid in enumerate(asks, 1):
        (fake.folder / f"ask-{number}").write_bytes(cid)
    (fake.folder / "ask-7-whether").write_bytes(CIDS[2])
    fake.mode("seeks")

    async def run():
        async with fake.transport().listen("libp2p:/ip4/127.0.0.1/tcp/0", source) as address:
            assert address == f"libp2p:/ip4/127.0.0.1/tcp/4444/p2p/{PEER}"
            while len(list(fake.folder.glob("answer-*"))) < 7:
                await asyncio.sleep(0.01)
            while not (fake.folder / "answered").exists():
                await asyncio.sleep(0.01)

    asyncio.run(run())
    answers = [(fake.folder / f"answer-{number}").read_bytes() for number in range(1, 8)]
    assert answers == [b"BLOCK " + DATA[2], *[b"MISSING "] * 4, b"BLOCK ", b"DONE "]


def test_a_listener_whose_process_died_listens_again(fake):
    async def run():
        async with fake.transport().listen("libp2p:/ip4/127.0.0.1/tcp/0", MemorySource({})):
            os.kill(fake.pids()[0], 9)
            while len(fake.pids()) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_process_that_listens_nowhere_is_ended(fake):
    fake.mode("no address")

    async def run():
        with pytest.raises(PluginError, match="which is no address"):
            async with fake.transport().listen("libp2p:/ip4/127.0.0.1/tcp/0", MemorySource({})):
                pass

    asyncio.run(run())


def test_who_serves_keeps_its_id_and_who_asks_has_none(fake):
    transport = fake.transport()
    assert transport._seed(lasting=True) == fake.transport()._seed(lasting=True)
    assert transport._seed(lasting=False) != transport._seed(lasting=False)


@pytest.mark.parametrize(
    "address",
    [
        "libp2p:", "libp2p:/ip4/1.2.3.4", "libp2p:/ip4/1.2.3/tcp/1/p2p/" + PEER, "libp2p:/ip4/1.2.3.4/udp/1/p2p/" + PEER,
        "libp2p:/ip4/1.2.3.4/tcp/65536/p2p/" + PEER, "libp2p:/ip4/1.2.3.4/tcp/01/p2p/" + PEER, "libp2p:/ip6/fe80::1%eth0/tcp/1",
        "libp2p:/ip4/1.2.3.4/tcp/1/p2p/0OIl", "libp2p:/dns4/a..b/tcp/1/p2p/" + PEER, "libp2p:/unix/x/tcp/1/p2p/" + PEER,
        "libp2p:/ip4/1.2.3.4/tcp/1/ws/" + PEER, "libp2p:/ip4/1.2.3.4/tcp/1", "libp2p:/ip4/1.2.3.4/tcp/0/p2p/" + PEER,
        "libp2p:/dns4/" + "a" * 3000, "libp2p:/ip6/::g/tcp/1/p2p/" + PEER,
    ],
)  # fmt: skip
def test_addresses_that_are_none(fake, address):
    async def run():
        with pytest.raises(UsageError):
            async with fake.transport().connect(address):
                pass

    asyncio.run(run())


@pytest.mark.parametrize(
    ("where", "why"),
    [("", "does not say which peer is there"), (f"/p2p/{PEER}", "names no port")],
)
def test_what_an_address_to_dial_lacks_is_said(fake, where, why):
    async def run():
        with pytest.raises(UsageError, match=why) as caught:
            async with fake.transport().connect("libp2p:/ip4/1.2.3.4/tcp/0" + where):
                pass
        assert "/p2p/PEER" in caught.value.hint

    asyncio.run(run())


@pytest.mark.parametrize("address", ["libp2p:/dns4/localhost/tcp/1", ADDRESS, "libp2p:/ip4/0.0.0.0/tcp/1"])
def test_where_nobody_listens(fake, address):
    async def run():
        with pytest.raises(UsageError):
            async with fake.transport().listen(address, MemorySource({})):
                pass

    asyncio.run(run())


@pytest.mark.parametrize("host", ["/ip4/127.0.0.1", "/dns4/localhost"])
def test_strangers_do_not_send_us_into_our_own_network(fake, host):
    async def run():
        with pytest.raises(PeerDenied):
            async with fake.transport(dial=PUBLIC).connect(f"libp2p:{host}/tcp/4001/p2p/{PEER}"):
                pass

    asyncio.run(run())


def test_a_name_is_resolved_here_and_not_there(fake):
    async def run():
        async with fake.transport().connect(f"libp2p:/dns4/localhost/tcp/4001/p2p/{PEER}") as channel:
            found = await fetch_once(channel, wants(), CountedPool())
            assert len(found.blocks) == len(DATA)
        with pytest.raises(PeerUnreachable):
            async with fake.transport().connect(f"libp2p:/dns4/nobody.invalid/tcp/4001/p2p/{PEER}"):
                pass

    asyncio.run(run())
