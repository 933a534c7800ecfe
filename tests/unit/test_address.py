"""Addresses: what may be one, and which transport it asks for."""

from __future__ import annotations

import pytest

from wherry.address import ADDRESS, split_address
from wherry.session.parts import _address as address_of


@pytest.mark.parametrize(
    "address", ["http://host:1", "web+https://host/dir/?a=b", "My_mirror.2+http://h", "file:///x", "8+s3://bucket"]
)
def test_what_is_an_address(address):
    assert ADDRESS.fullmatch(address)


@pytest.mark.parametrize(
    "address",
    ["", "host", "http:", "HTTP://host", "http://a b", "http://é", "+http://h", "a b+http://h"],
)
def test_what_is_none(address):
    assert not ADDRESS.fullmatch(address)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("web+https://h/a+b:c", ("web", "https://h/a+b:c")),
        ("https://h/a+b:c", ("", "https://h/a+b:c")),
        ("https://h:1/a+b", ("", "https://h:1/a+b")),
        ("a+b+c://x", ("a", "b+c://x")),
        ("web+nothing", ("", "web+nothing")),
    ],
)
def test_the_name_stands_before_the_scheme(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("/ip4/127.0.0.1/tcp/4001", "libp2p:/ip4/127.0.0.1/tcp/4001"),
        ("/dns4/host/tcp/4001/p2p/12D3KooW", "libp2p:/dns4/host/tcp/4001/p2p/12D3KooW"),
        ("/dnsaddr/host/p2p/12D3KooW", "libp2p:/dnsaddr/host/p2p/12D3KooW"),
        ("/home/me/data", "/home/me/data"),
        ("http://host/ip4/1.2.3.4/p2p/x", "http://host/ip4/1.2.3.4/p2p/x"),
    ],
)
def test_a_bare_multiaddr_is_the_address_of_a_libp2p_peer_named_or_not(source, address):
    assert address_of(source) == address
