"""The address policy: which machines a node lets itself be sent to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.dial import LAN, NAMED, PUBLIC, is_near
from wherry.errors import PeerDenied

OWN = [
    "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
    "2002:7f00:1::", "224.0.0.251", "ff02::fb", "255.255.255.255", "240.0.0.1", "169.254.169.254", "::ffff:169.254.169.254",
    "fd00:ec2::254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
NEAR = [
    "10.0.0.1", "172.16.5.4", "192.168.1.5", "169.254.3.4", "fe80::1", "fe80::1%eth0", "fd12::1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "2002:a00:1::",
]  # fmt: skip
FAR = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"]
NONE = ["", "localhost", "host.example", "1.1.1", "1.1.1.1.1", "0x7f000001", "2130706433", "1.1.1.1 ", "[::1]", "\0"]


@pytest.mark.parametrize("ip", OWN)
def test_nobody_else_sends_us_to_ourselves_or_where_no_peer_is(ip):
    assert NAMED.allows(ip)
    assert not LAN.allows(ip)
    assert not PUBLIC.allows(ip)


@pytest.mark.parametrize("ip", NEAR)
def test_the_own_network_is_for_those_who_are_on_it(ip):
    assert NAMED.allows(ip)
    assert LAN.allows(ip)
    assert not PUBLIC.allows(ip)


@pytest.mark.parametrize("ip", FAR)
def test_the_internet_is_for_all(ip):
    assert NAMED.allows(ip)
    assert LAN.allows(ip)
    assert PUBLIC.allows(ip)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_resolved_address_is_not_dialled(text):
    assert not LAN.allows(text)
    assert not PUBLIC.allows(text)


def test_a_refusal_names_the_peer_the_address_and_a_way_out():
    NAMED.check("127.0.0.1", "http://x:1")
    with pytest.raises(PeerDenied, match=r"http://x:1 .*private network \(10\.0\.0\.1\)") as raised:
        PUBLIC.check("10.0.0.1", "http://x:1")
    assert raised.value.peer == "http://x:1"
    assert "--from" in raised.value.hint
    with pytest.raises(PeerDenied, match="this machine"):
        LAN.check("127.0.0.1", "http://x:1")


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_each_of_its_ipv6_forms(number):
    plain = ipaddress.IPv4Address(number)
    forms = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x0064FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    for dial in (LAN, PUBLIC):
        assert {dial.allows(str(form)) for form in forms} == {dial.allows(str(plain))}


@given(st.ip_addresses())
def test_public_allows_nothing_that_lan_does_not(ip):
    assert not PUBLIC.allows(str(ip)) or LAN.allows(str(ip))


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("http://127.0.0.1:4290", True),
        ("https://192.168.1.5", True),
        ("http://[fe80::1%25eth0]:80/x", True),
        ("http://[::ffff:10.0.0.1]:80", True),
        ("http://localhost:1", True),
        ("http://nas.local:1", True),
        ("http://nas.local.:1", True),
        ("file:///data/home", True),
        ("http://user@10.0.0.1:1", True),
        ("libp2p:/ip4/10.0.0.1/tcp/4001/p2p/12D3", True),
        ("lab_2+libp2p:/ip6/fd00::1/tcp/4001", True),
        ("libp2p:/ip4/1.1.1.1/tcp/4001", False),
        ("libp2p:/dns4/host.example/tcp/4001", False),
        ("http://1.1.1.1:80", False),
        ("http://[2606:4700::1111]:80", False),
        ("http://10.0.0.1.example.org:80", False),
        ("http://local:80", False),
        ("http://host.example:80", False),
    ],
)
def test_near_is_told_by_the_address_alone(address, near):
    assert is_near(address) is near


LOOP, LINK, INNER = ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"], ["169.254.3.4", "fe80::1"], ["10.0.0.1", "fd12::1"]


@pytest.mark.parametrize("here", ["1.1.1.1", "2606:4700::1111", "100.64.0.1", "224.0.0.1", "", "169.254.169.254"])
@pytest.mark.parametrize("there", [*OWN, *NEAR])
def test_who_is_far_or_nobody_sends_us_to_no_network_of_ours(here, there):
    onward = NAMED.onward(here)
    assert not onward.allows(there)
    with pytest.raises(PeerDenied, match="redirect leads to x") as raised:
        onward.check(there, "x")
    assert "name that yourself" in raised.value.hint
    assert onward.allows("1.0.0.1")


@pytest.mark.parametrize("kind", [LOOP, LINK, INNER])
def test_who_is_near_sends_us_on_within_its_own_kind_of_network(kind):
    for here in kind:
        onward = NAMED.onward(here)
        assert all(onward.allows(there) for there in kind)
        assert onward.allows("1.1.1.1")
        assert not any(onward.allows(there) for other in (LOOP, LINK, INNER) if other is not kind for there in other)
        assert not onward.allows("169.254.169.254")
        assert not onward.allows("fd00:ec2::254")


def test_going_on_allows_nothing_that_the_policy_did_not():
    assert not PUBLIC.onward("10.0.0.1").allows("10.0.0.1")
    assert LAN.onward("10.0.0.1").allows("10.0.0.2")
    assert not LAN.onward("127.0.0.1").allows("127.0.0.1")
    assert PUBLIC.onward("1.1.1.1") == PUBLIC.onward("1.0.0.1"), "connections are kept by it"


def test_a_node_that_bans_dials_nobody_whom_it_bans_whoever_named_him():
    def gate(ip, peer_id):
        return "is banned: for a test" if ip == "1.1.1.1" and not peer_id else ""

    for policy in (NAMED, LAN, PUBLIC):
        gated = policy.gated(gate)
        assert gated.reach == policy.reach
        assert not gated.allows("1.1.1.1")
        assert gated.allows("1.0.0.1")
        assert gated.allows("10.0.0.1") == policy.allows("10.0.0.1")
        gated.check("1.0.0.1", "http://h:1")
        with pytest.raises(PeerDenied, match="banned: for a test") as caught:
            gated.check("1.1.1.1", "http://h:1")
        assert "unban" in caught.value.hint
        assert not gated.onward("1.0.0.1").allows("1.1.1.1")
        assert gated == policy.gated(gate), "connections are kept by it"
        assert hash(gated) == hash(policy.gated(gate))
    with pytest.raises(PeerDenied, match="named by others"):
        PUBLIC.gated(gate).check("10.0.0.1", "http://h:1")
