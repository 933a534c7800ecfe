"""The budget for dials that strangers cause."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.abc.locator import Found
from wherry.cid import CID, RAW
from wherry.dial import network_of
from wherry.dialling import DialBudget
from wherry.errors import PeerUnreachable
from wherry.limits import DIALS_PER_NETWORK, HEARSAY_MAX
from wherry.transfer.locate import Finder

CID_ = CID.of(RAW, b"x")


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("8.8.8.255", "8.8.8.0/24"),
        ("::ffff:8.8.8.8", "8.8.8.0/24"),
        ("64:ff9b::808:808", "8.8.8.0/24"),
        ("2a00:1450:4001:82a::200e", "2a00:1450:4001::/48"),
        ("192.168.1.5", "192.168.1.5/32"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("host.example", ""),
        ("", ""),
    ],
)
def test_networks(ip, network):
    assert network_of(ip) == network


def test_two_dials_a_minute_unless_somebody_answers():
    budget = DialBudget()
    assert [budget.take(["a"], 0.0), budget.take(["a"], 10.0)] == [0.0, 0.0]
    assert budget.take(["a"], 20.0) == 40.0
    assert budget.take(["b"], 20.0) == 0.0
    assert budget.take(["a", "c"], 30.0) == 30.0  # nothing was taken of c
    assert [budget.take(["c"], 30.0), budget.take(["c"], 30.0)] == [0.0, 0.0]
    budget.answered(["a"])
    assert budget.take(["a"], 31.0) == 0.0
    assert budget.take(["a"], 60.0) == 0.0  # the first is a minute old
    assert budget.take(["a"], 60.0) > 0.0
    assert budget.take([], 60.0) == 0.0  # an address without a network: a path


def test_it_remembers_few_networks_and_forgets_old_ones():
    budget = DialBudget(networks_max=10)
    assert all(budget.take([str(number)], 0.0) == 0.0 for number in range(10))
    assert budget.take(["one more"], 1.0) > 0.0
    assert budget.take(["one more"], 61.0) == 0.0
    assert len(budget._made) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 30.0), st.booleans()), max_size=60))
def test_never_more_than_the_budget_in_any_minute(steps):
    budget, now, dialled = DialBudget(), 0.0, {"a": [], "b": []}
    for network, later, answers in steps:
        now += later
        wait = budget.take([network], now)
        if wait:
            assert 0.0 < wait <= 60.0
            continue
        if answers:
            budget.answered([network])
        else:
            dialled[network].append(now)
        for times in dialled.values():
            assert len([time for time in times if time > now - 60.0]) <= DIALS_PER_NETWORK


class Names:
    reach = "public"

    def __init__(self, *addresses):
        self.addresses = addresses

    async def locate(self, cid):
        for address in self.addresses:
            yield address


def finder(*addresses, budget=None, usable=lambda address, dial: ""):
    return Finder(lambda: [("names", Names(*addresses))], usable, lambda event: None, budget=budget)


async def test_a_victim_that_strangers_name_is_dialled_twice_and_peers_as_they_answer():
    dialled = []

    @asynccontextmanager
    async def connect(address, dial):
        dialled.append(address)
        if "203.0.113" not in address:
            raise PeerUnreachable("nobody is there", peer=address)
        yield "channel"

    victims = [f"http://198.51.100.{number}:80" for number in range(1, 11)]
    peers = [f"http://203.0.113.{number}:80" for number in range(1, 9)]
    budget = DialBudget()
    for addresses in (victims, peers):
        # These ranges are for documentation, so Python counts them as private; here they stand for the Internet.
        made = finder(*addresses, budget=budget)
        made._turn = turn_of(made, budget)
        found = [address async for address in made.addresses(CID_)]
        connecting = made.connecting(connect)

        async def reach(address, connecting=connecting):
            async with connecting(address):
                pass

        await asyncio.wait([asyncio.create_task(reach(address)) for address in found], timeout=0.5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert len([address for address in dialled if address in victims]) == DIALS_PER_NETWORK
    assert set(peers) <= set(dialled)


def turn_of(made, budget):
    async def turn(address):
        network = frozenset((address.rpartition(".")[0],))
        while budget.take(network, asyncio.get_running_loop().time()):
            await asyncio.sleep(0.01)
        return network

    return turn


async def test_where_an_address_leads_is_looked_up_for_counting():
    made = finder()
    assert await made._turn("http://8.8.8.8:80") == {"8.8.8.0/24"}
    assert await made._turn("lab+http://[2a00:1450:4001::1]:80") == {"2a00:1450:4001::/48"}
    assert "127.0.0.1/32" in await made._turn("tcp://localhost:80")
    assert await made._turn("http://no.such.host.invalid:1") == {"no.such.host.invalid"}
    assert await made._turn("libp2p:/ip4/8.8.8.8/tcp/4001/p2p/12D3") == {"8.8.8.0/24"}
    assert await made._turn("lab+libp2p:/ip6/2a00:1450:4001::1/tcp/1") == {"2a00:1450:4001::/48"}
    assert "127.0.0.1/32" in await made._turn("libp2p:/dns4/localhost/tcp/4001")
    assert await made._turn("file:///data") == frozenset()
    assert await made._turn("http://[::1") == frozenset()


async def test_one_that_waits_goes_on_when_its_minute_is_over():
    made = finder(budget=DialBudget(dials=1, window_s=0.05))
    assert await made._turn("http://8.8.8.8:80") == await made._turn("http://8.8.8.9:80")


async def test_peers_name_so_many_and_what_is_no_use_is_not_taken():
    made = finder(usable=lambda address, dial: "no" if address.startswith("gopher:") else "")
    assert made.hear("http://h1:1", "public")
    assert made.dial("http://h1:1").reach == "public"
    assert not made.hear("http://h1:1", "public")
    assert not made.hear("gopher://h:1", "public")
    assert not made.hear("no address", "public")
    taken = [number for number in range(100) if made.hear(f"http://peer{number}:1", "public")]
    assert len(taken) == HEARSAY_MAX - 1


async def test_what_a_locator_knows_of_a_peer_is_bounded():
    said = Found("http://h:1", peer="p" * 1000, protocols=["x" * 1000] * 1000, complete=True)
    hints = [hint async for hint in finder(said, Found("http://g:1")).hints(CID_)]
    assert [(len(hint.peer), len(hint.protocols), len("".join(hint.protocols))) for hint in hints] == [(64, 8, 512), (0, 0, 0)]
    assert [hint.complete for hint in hints] == [True, None]
    assert all(type(hint.address) is str for hint in hints)
