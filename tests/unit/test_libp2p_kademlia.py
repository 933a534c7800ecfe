"""The locator ``kademlia`` (specs/0035 §7), against a process that stands in for libp2p's and a DHT that lies."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from fake_dht import NODE, PROVIDERS, FakeDht, addr, answer, peer_id, record

from wherry.abc.locator import Found
from wherry.cid import CID, RAW
from wherry.env import Env
from wherry.errors import ConfigError, LocalError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.limits import LOCATE_ADDRESSES_MAX
from wherry_libp2p.kad import Ask, named, question
from wherry_libp2p.kademlia import Kademlia
from wherry_libp2p.options import KademliaOptions

CID_ = CID.of(RAW, b"what is looked for")
KEY = bytes(CID_)[-34:]


@pytest.fixture
def dht(tmp_path):
    made = FakeDht(tmp_path)
    yield made
    assert not made.left()


def located(locator, cid=CID_):
    async def run():
        async with asyncio.timeout(30), aclosing(locator.locate(cid)) as found:
            return [address async for address in found]

    return asyncio.run(run())


def usable(found):
    return [address for address in found if not address.fault]


def address_of(number, host="192.0.2.1", port=4001):
    return f"libp2p:/ip4/{host}/tcp/{port}/p2p/{named(peer_id(number))}"


def test_providers_are_found_two_steps_away(dht):
    dht.says(0, answer(closer=[record(peer_id(1), addr("192.0.2.1"))]))
    dht.says(1, answer(closer=[record(peer_id(2), addr("192.0.2.2"))]))
    dht.says(2, answer(providers=[record(peer_id(7), addr("192.0.2.7"), addr("2001:db8::7"), addr("192.0.2.8"))]))
    found = located(dht.locator())
    assert found == [address_of(7, "192.0.2.7"), address_of(7, "192.0.2.8")]
    assert all(isinstance(one, Found) and one.peer == named(peer_id(7)) for one in found)
    assert found[0].protocols == ("transport-bitswap",)
    asked = [line.split("/") for line in dht.log("asks")]
    assert {peer for peer, _, _ in asked} == {named(peer_id(number)) for number in range(3)}
    assert {message for _, _, message in asked} == {question(Ask.PROVIDERS, KEY).hex()}


@pytest.mark.parametrize(("first", "network", "number"), [
    ("/ip4/10.0.0.1", "auto", "1"), ("/ip4/8.8.8.8", "auto", "0"), ("/ip4/10.0.0.1", "wan", "0"), ("/ip4/8.8.8.8", "lan", "1"),
    ("/dns4/localhost", "auto", "0"),
])  # fmt: skip
def test_which_of_the_two_networks_is_asked(dht, first, network, number):
    dht.says(0, answer())
    assert located(dht.locator(f"{first}/tcp/4000/p2p/{named(peer_id(0))}", network=network)) == []
    assert [line.split("/")[1] for line in dht.log("asks")] == [number]


@pytest.mark.parametrize(
    ("first", "reach"),
    [
        ("/ip4/10.0.0.1", "lan"),
        ("/ip4/127.0.0.1", "lan"),
        ("/ip6/fd00::1", "lan"),
        ("/ip4/8.8.8.8", "public"),
        ("/dns4/a.b", "public"),
    ],
)
def test_who_vouches(dht, first, reach):
    assert dht.locator(f"{first}/tcp/1/p2p/{named(peer_id(0))}", reach="auto").reach == reach
    dht.mode("never asked")


@pytest.mark.parametrize("reach", ["lan", "public"])
def test_strangers_do_not_send_us_into_our_own_network(dht, reach):
    """Neither to ask there, nor to fetch from there."""
    inwards = [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        *(["10.0.0.1"] if reach == "public" else []),
    ]
    closer = [record(peer_id(10 + at), addr(host)) for at, host in enumerate(inwards)]
    providers = [record(peer_id(20 + at), addr(host)) for at, host in enumerate(inwards)]
    closer.append(record(peer_id(30), addr("localhost")))  # no name is looked up for a stranger
    providers.append(record(peer_id(31), addr("127.0.0.1"), addr("8.8.8.8")))
    dht.says(0, answer(closer=closer, providers=providers))
    found = located(dht.locator(reach=reach))
    assert dht.log("dials") == [dht.place(0)]  # which the user named
    assert usable(found) == [address_of(31, "8.8.8.8")]
    assert {one.fault for one in found if one.fault} == {"it was named at addresses that lead where strangers may not send us"}


def test_a_victim_that_does_not_answer_is_dialled_twice(dht):
    closer = [record(peer_id(number), addr("8.8.8.8", number)) for number in range(1, 20)]
    dht.says(0, answer(closer=closer))
    (dht.folder / "dead").write_text("\n".join(f"/ip4/8.8.8.8/tcp/{n}/p2p/{named(peer_id(n))}" for n in range(1, 20)))
    locator = dht.locator(reach="public")
    assert located(locator) == []
    assert len([line for line in dht.log("dials") if "8.8.8.8" in line]) == 2


def test_a_provider_without_an_address_is_looked_for(dht):
    dht.says(0, answer(providers=[record(peer_id(7))]), answer(NODE, closer=[record(peer_id(7), addr("192.0.2.7"))]))
    assert located(dht.locator()) == [address_of(7, "192.0.2.7")]
    assert dht.log("asks")[1].endswith(question(Ask.NODE, peer_id(7)).hex())


def test_one_that_nobody_can_place_is_shown_with_the_reason(dht):
    quic = b"\x04\xc0\x00\x02\x01\x91\x02\x0f\xa1\xcc\x03"
    dht.says(0, answer(providers=[record(peer_id(7)), record(peer_id(8), quic)]), answer(NODE))
    found = {str(one): one.fault for one in located(dht.locator())}
    assert found == {
        f"/p2p/{named(peer_id(7))}": "no address of it is known",
        f"/p2p/{named(peer_id(8))}": "none of its addresses is one over TCP",
    }


def test_a_flood_of_providers_is_cut(dht):
    many = [record(peer_id(number), *[addr("192.0.2.1", port) for port in range(1, 40)]) for number in range(5, 300)]
    bare = [record(peer_id(number)) for number in range(1000, 1100)]
    dht.says(0, answer(providers=bare + many), answer(providers=many))
    found = located(dht.locator())
    assert len(usable(found)) <= LOCATE_ADDRESSES_MAX
    assert len(found) <= 2 * LOCATE_ADDRESSES_MAX
    dht.says(0, answer(providers=many))
    found = located(dht.locator())
    assert len(usable(found)) == len(set(found)) == LOCATE_ADDRESSES_MAX
    assert len(dht.log("asks")) < 20


@pytest.mark.parametrize(("mode", "kind", "words"), [
    ("unreachable", PeerUnreachable, r"nobody \\x1b there"),
    ("crashes", PeerUnreachable, "ended"),
    ("too long", PeerUnreachable, "SAID of"),
    ("is silent", PeerTimeout, "no peer of the DHT answered within"),
    ("good", PeerProtocolError, "no such protocol"),
    ("absent", LocalError, "py-libp2p is not installed"),
])  # fmt: skip
def test_where_nobody_answers(dht, mode, kind, words):
    dht.mode(mode)
    with pytest.raises(kind, match=words) as caught:
        located(dht.locator(timeout=1.0 if mode == "is silent" else 20.0))
    if isinstance(caught.value, PeerUnreachable | PeerProtocolError):
        assert named(peer_id(0)) in caught.value.peer


def test_what_came_before_the_time_was_over_counts(dht):
    dht.says(0, answer(closer=[record(peer_id(1), addr("192.0.2.1"))], providers=[record(peer_id(7), addr("192.0.2.7"))]))
    dht.says(1, b"silence")
    assert located(dht.locator(timeout=2.0)) == [address_of(7, "192.0.2.7")]


def test_one_of_several_first_peers_does(dht):
    dht.says(2, answer(providers=[record(peer_id(7), addr("192.0.2.7"))]))
    (dht.folder / "dead").write_text(dht.place(0))
    gone = f"/dns4/nobody.invalid/tcp/1/p2p/{named(peer_id(5))}"
    assert located(dht.locator(dht.place(0), gone, dht.place(1), dht.place(2))) == [address_of(7, "192.0.2.7")]


def test_first_peers_whose_name_is_not_known(dht):
    with pytest.raises(PeerUnreachable, match="nobody"):
        located(dht.locator(f"/dns4/nobody.invalid/tcp/1/p2p/{named(peer_id(5))}"))


def test_searches_share_a_process_and_the_next_one_starts_another(dht):
    dht.says(0, answer(PROVIDERS, providers=[record(peer_id(7), addr("192.0.2.7"))]))
    locator = dht.locator()

    async def one():
        async with aclosing(locator.locate(CID_)) as found:
            return [address async for address in found]

    async def run():
        assert await asyncio.gather(one(), one(), one()) == [[address_of(7, "192.0.2.7")]] * 3
        assert len(dht.log("starts")) == 1
        assert await one() == [address_of(7, "192.0.2.7")]

    asyncio.run(run())
    assert len(dht.log("starts")) == 2


def test_without_first_peers_it_is_not_made(tmp_path):
    with pytest.raises(ConfigError, match="no bootstrap peers"):
        Kademlia(KademliaOptions(), Env(tmp_path, {}))


PEER = named(peer_id(0))


@pytest.mark.parametrize("bootstrap", [
    ("/ip4/1.2.3.4/tcp/1",), (f"/ip4/1.2.3.4/tcp/0/p2p/{PEER}",), (f"/dnsaddr/bootstrap.libp2p.io/p2p/{PEER}",), ("http://a",),
    (f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}",) * 9,
])  # fmt: skip
def test_first_peers_that_are_none(bootstrap):
    with pytest.raises(ValueError, match="bootstrap: "):
        KademliaOptions(bootstrap=bootstrap)
