"""Rules about peers: how they are named, which one decides, and how long one holds by a clock that may be wrong."""

from __future__ import annotations

import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.access import (
    Rule,
    Rules,
    Subject,
    anybody,
    around,
    host_of,
    ip_of,
    is_proven,
    key_of,
    place_of,
    remaining,
    subject_of,
)
from wherry.errors import UsageError

KEY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
NOW = 1_800_000_000.0


def rule(text, *, allow=False, since=NOW, lasts=None):
    return Rule(subject_of(text), allow, since, lasts, "", "user")


def rules(*texts):
    """Rules for good; a text with + before it is a leave."""
    return Rules((rule(text.lstrip("+"), allow=text.startswith("+")), math.inf) for text in texts)


def bans(found, **peer):
    decided = found.decisive(0.0, **peer)
    return decided is not None and not decided[0].allow


@pytest.mark.parametrize(
    ("text", "kind", "kept"),
    [
        ("10.0.0.7", "network", "10.0.0.7/32"),
        ("10.0.0.7/8", "network", "10.0.0.0/8"),
        ("::ffff:10.0.0.7", "network", "10.0.0.7/32"),
        ("::ffff:10.0.0.0/104", "network", "10.0.0.0/8"),
        ("2001:db8:1:2:3::4", "network", "2001:db8:1:2::/64"),
        ("[2001:db8::1]", "network", "2001:db8::/64"),
        ("fe80::1%eth0", "network", "fe80::/64"),
        ("2001:db8::1/128", "network", "2001:db8::1/128"),
        ("0.0.0.0/0", "network", "0.0.0.0/0"),
        ("HTTP://user:secret@Host:80/path?token=1", "address", "http://host:80"),
        ("mirror+https://h/x", "address", "https://h"),
        (f"libp2p:/ip4/10.0.0.1/tcp/4001/p2p/{KEY}", "address", "libp2p://10.0.0.1:4001"),
        (f"/dns4/Host/tcp/4001/p2p/{KEY}", "address", "libp2p://host:4001"),
        (KEY, "key", KEY),
    ],
)
def test_what_a_user_may_call_a_peer(text, kind, kept):
    assert subject_of(text) == (kind, kept)
    assert subject_of(kept) == (kind, kept), "what is kept is read back as the same"


@pytest.mark.parametrize(
    "text",
    ["", "host.example", "10.0.0.0/33", "1.2.3.4/a", "http://", "http://a b", "short", "x" * 200, "file:///etc", "a://b@"],
)
def test_what_names_no_peer(text):
    with pytest.raises(UsageError) as caught:
        subject_of(text)
    assert "10.0.0.0/8" in caught.value.hint


def test_the_nearest_rule_decides():
    found = rules("0.0.0.0/0", "+10.0.0.0/8", "10.1.0.0/16", "+10.1.2.3")
    assert bans(found, ip="192.0.2.1")
    assert not bans(found, ip="10.2.0.1")
    assert bans(found, ip="10.1.9.9")
    assert not bans(found, ip="10.1.2.3")
    assert found.decisive(0.0, ip="2001:db8::1") is None
    assert len(found) == 4


def test_a_key_goes_before_an_address_and_that_before_a_network():
    found = rules("10.0.0.0/8", f"+{KEY}", "+http://10.0.0.7:1")
    assert bans(found, ip="10.0.0.7")
    assert not bans(found, ip="10.0.0.7", peer_id=KEY)
    assert not bans(found, ip="10.0.0.7", address="http://10.0.0.7:1/x")
    assert bans(found, address="http://10.0.0.7:2"), "an address that is an IP address is in its network"
    assert bans(rules(KEY, "+10.0.0.0/8"), ip="10.0.0.7", peer_id=KEY)


def test_the_mapped_address_is_the_plain_one_and_no_address_is_in_no_network():
    found = rules("10.0.0.0/8", "2001:db8::1")
    assert bans(found, ip="::ffff:10.1.1.1")
    assert bans(found, ip="2001:db8::ffff:1")
    assert not bans(found, ip="2001:db8:0:1::1")
    assert not bans(found, ip="")
    assert not bans(found, ip="nonsense")
    assert anybody("10.0.0.1", KEY) == ""


def test_a_rule_that_has_ended_leaves_it_to_the_next():
    found = Rules([(rule("10.0.0.0/8"), 100.0), (rule("10.0.0.1", allow=True), 50.0)])
    assert found.decisive(0.0, ip="10.0.0.1")[0].allow
    assert found.decisive(60.0, ip="10.0.0.1") == (rule("10.0.0.0/8"), 40.0)
    assert found.decisive(100.0, ip="10.0.0.1") is None


networks = st.builds(
    lambda ip, bits: str(ipaddress.ip_network((ip, min(bits, ip.max_prefixlen)), strict=False)),
    st.one_of(
        st.integers(0, 255).map(lambda n: ipaddress.IPv4Address(n << 24 | n)),
        st.integers(0, 15).map(lambda n: ipaddress.IPv6Address(0x20010DB8 << 96 | n << 60 | n)),
    ),
    st.integers(0, 128),
)


@given(st.dictionaries(networks, st.booleans(), max_size=12), st.data())
def test_matching_is_the_longest_prefix_as_a_plain_search_finds_it(table, data):
    found = Rules((Rule(Subject("network", text), allow, NOW, None, "", "user"), math.inf) for text, allow in table.items())
    inside = [ipaddress.ip_network(text)[-1 if data.draw(st.booleans()) else 0] for text in table] or [
        ipaddress.ip_address("1.1.1.1")
    ]
    ip = data.draw(st.sampled_from(inside))
    fitting = [ipaddress.ip_network(text) for text in table if ip in ipaddress.ip_network(text)]
    best = max(fitting, key=lambda network: network.prefixlen, default=None)
    decided = found.decisive(0.0, ip=str(ip))
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return
    assert (decided[0].subject.text if decided else None) == (str(best) if best else None)


clocks = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 4e9))


@given(since=clocks, lasts=st.floats(0, 1e12), wall=clocks)
def test_no_clock_makes_a_ban_eternal(since, lasts, wall):
    left = remaining(rule("10.0.0.1", since=since, lasts=lasts), wall)
    assert 0 <= left <= min(lasts, 10 * 365 * 86400)


@pytest.mark.parametrize(
    ("since", "wall", "left"),
    [
        (NOW, NOW + 100, 900),
        (NOW, NOW + 1000, 0),
        (NOW, NOW - 86400, 1000),  # set back a day
        (NOW, NOW - 10 * 365 * 86400, 1000),
        (60.0, NOW, 1000),  # written while the clock stood in 1970
        (NOW, NOW + 86400, 0),
        (math.nan, NOW, 1000),
    ],
)
def test_how_long_a_rule_holds_by_the_clock(since, wall, left):
    assert remaining(rule("10.0.0.1", since=since, lasts=1000.0), wall) == left


def test_a_rule_for_good_has_no_end():
    assert remaining(rule("10.0.0.1"), 0.0) == math.inf


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("http://h:1", "http://h:1"),
        ("tcps://12D3@[2001:DB8::1]:4/x#y", "tcps://[2001:db8::1]:4"),
        ("s3://bucket/key", "s3://bucket"),
        ("mine+libp2p:/ip6/2001:DB8::1/tcp/4/p2p/12D3", "libp2p://[2001:db8::1]:4"),
        ("libp2p:/ip4/10.0.0.1/udp/4/quic-v1", "libp2p://10.0.0.1:4"),
        ("libp2p:/dns/h/x", "libp2p://h"),
        ("libp2p:/ip4/a b/tcp/4", ""),
        ("file:///data", ""),
        ("unix:///run/x.sock", ""),
        ("nonsense", ""),
        ("http://h:1:2", ""),
        ("http://" + "h" * 3000, ""),
        ("ht tp://h", ""),
    ],
)
def test_a_place_says_where_and_nothing_that_may_be_secret(address, place):
    assert place_of(address) == place


@given(st.text(max_size=80))
def test_no_text_hurts(text):
    place = place_of(text)
    assert place_of(place) == place or not place
    assert host_of(place) == host_of(place).strip("[]")
    around(text)
    ip_of(text)


def test_names_of_peers():
    assert key_of("tcps", peer_id=KEY, address="tcps://h:1", ip="1.2.3.4") == KEY
    assert key_of("tcp", address="tcp://u@h:1", ip="1.2.3.4") == "tcp://h:1"
    assert key_of("tcp", ip="::ffff:1.2.3.4") == "tcp://1.2.3.4"
    assert key_of("tcp", ip="2001:db8::1") == "tcp://[2001:db8::1]"
    assert key_of("unix") == ""
    assert key_of("tcps", peer_id="x" * 200) == ""
    assert is_proven(KEY)
    assert not is_proven("tcp://h:1")
    assert not is_proven("")


def test_neighbours():
    assert around("10.1.2.3") == around("10.1.2.200") != around("10.1.3.3")
    assert around("[2001:db8:1:2::1]") == around("2001:db8:1:ffff::1") != around("2001:db8:2::1")
    assert around("Host.example") == "host.example"
