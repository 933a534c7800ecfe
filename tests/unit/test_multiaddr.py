"""Multiaddrs of HTTP servers become addresses; all else is skipped, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry_http.places import parse_base
from wherry_locate.multiaddr import to_address

GOOD = {
    "/ip4/1.2.3.4/tcp/4290/http": "http://1.2.3.4:4290",
    "/dns4/host.example/tcp/443/https": "https://host.example:443",
    "/dns/host.example/tcp/443/tls/http": "https://host.example:443",
    "/dns6/h/tcp/1/http": "http://h:1",
    "/dns/HOST.Example/tcp/80/http/": "http://host.example:80",
    "/ip6/2001:db8::1/tcp/80/http": "http://[2001:db8::1]:80",
    "/ip6/2001:0db8:0:0::0001/tcp/65535/https": "https://[2001:db8::1]:65535",
    "/ip4/1.2.3.4/tcp/4290/http/p2p/12D3KooWGBfKT": "http://1.2.3.4:4290",
    "/dns/host.example/tcp/443/tls/sni/host.example/http": "https://host.example:443",
    "/ip4/127.0.0.1/tcp/80/http": "http://127.0.0.1:80",  # whether it may be dialled is the address policy's to say
}
BAD = [
    "", "/", "http://1.2.3.4:80", "/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/80", "/ip4/1.2.3.4/tcp/80/ws", "/ip4/1.2.3.4/udp/80/http",
    "/ip4/1.2.3.4/udp/443/quic-v1", "/ip4/1.2.3/tcp/80/http", "/ip4/01.2.3.4/tcp/80/http", "/ip4/::1/tcp/80/http",
    "/ip6/1.2.3.4/tcp/80/http", "/ip6/fe80::1%eth0/tcp/80/http", "/ip6zone/eth0/ip6/fe80::1/tcp/80/http",
    "/dns/ho st/tcp/80/http", "/dns/a@b/tcp/80/http", "/dns//tcp/80/http", "/dns/a..b/tcp/80/http", "/dns/-a/tcp/80/http",
    "/dns/h/tcp/0/http", "/dns/h/tcp/65536/http", "/dns/h/tcp/080/http", "/dns/h/tcp/-1/http", "/dns/h/tcp/8e1/http",
    "/dns/h/tcp/80/http/http-path/x", "/dns/h/tcp/80/tls", "/dns/h/tcp/80/tls/sni/other/http", "/dnsaddr/h/tcp/80/http",
    "/unix/a/tcp/80/http", "/dns/h/tcp/80/http/p2p-circuit/p2p/x", "/dns/" + "a" * 600 + "/tcp/80/http", "/dns/h\n/tcp/80/http",
    "/dns/hé/tcp/80/http", "/dns/h%2f/tcp/80/http", "/dns/h:1/tcp/80/http", "/dns/h?x/tcp/80/http", None, 7, [], {}, b"/dns",
]  # fmt: skip


@pytest.mark.parametrize(("text", "address"), GOOD.items())
def test_an_http_server(text, address):
    assert to_address(text) == address


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_anything_else(text):
    assert to_address(text) is None


parts = st.sampled_from(
    ["ip4", "ip6", "dns", "dns4", "tcp", "http", "https", "tls", "sni", "p2p", "1.2.3.4", "::1", "h.example", "80", ""]
)


@given(st.lists(parts | st.text(max_size=8), max_size=9))
def test_what_comes_out_can_be_dialled(words):
    address = to_address("/" + "/".join(words))
    if address is not None:
        assert str(parse_base(address).origin()) in (address, address.removesuffix(":80"), address.removesuffix(":443"))


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_ip_address_is_read(ip, port):
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    assert to_address(f"/ip{ip.version}/{ip}/tcp/{port}/http") == f"http://{host}:{port}"
