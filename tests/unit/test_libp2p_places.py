"""Addresses of libp2p peers, and what is said of those that are none."""

from __future__ import annotations

import pytest

from wherry.errors import UsageError
from wherry_libp2p.places import parse_place

PEER = "12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY"
TCP = "/ip4/1.2.3.4/tcp/1"


@pytest.mark.parametrize("peer", [PEER, "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", ""])
def test_an_address(peer):
    place = parse_place("libp2p:/ip4/1.2.3.4/tcp/4001" + (f"/p2p/{peer}" if peer else ""))
    assert place == ("ip4", "1.2.3.4", 4001, peer)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (f"/ip4/1.2.3.4/tcp/65536/p2p/{PEER}", "'65536' is no port"),
        ("/ip4/1.2.3.4/tcp", "'' is no port"),
        ("/ip4/1.2.3/tcp/1", "'1.2.3' is no IP address of version 4"),
        ("/ip6/::g/tcp/1", "'::g' is no IP address of version 6"),
        ("/dns4/a..b/tcp/1", "'a..b' is no host name"),
        (f"/ip4/1.2.3.4/udp/1/quic-v1/p2p/{PEER}", "QUIC"),
        ("/ip4/1.2.3.4", "/tcp/PORT must follow"),
        (f"{TCP}/ws", "/ws is not spoken"),
        (f"{TCP}/p2p", "'' is no peer id"),
        (f"{TCP}/p2p/{PEER[:-1]}", "is no peer id"),
        (f"{TCP}/p2p/0OIl{PEER[4:]}", "is no peer id"),
        (f"{TCP}/p2p/{PEER}/p2p-circuit", "no relay"),
        ("/unix/x/tcp/1", "it begins with none of /ip4/"),
        ("1.2.3.4:4001", "it begins with none of /ip4/"),
        ("", "it begins with none of /ip4/"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(where, why):
    with pytest.raises(UsageError) as caught:
        parse_place("libp2p:" + where)
    assert why in caught.value.message
    assert caught.value.hint == "write libp2p:/ip4/HOST/tcp/PORT/p2p/PEER"
