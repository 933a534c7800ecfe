"""Addresses of the http transport, and who may listen where."""

from __future__ import annotations

import socket

import pytest

from wherry.abc.transport import Listening
from wherry.address import is_host
from wherry.errors import ConfigError, LocalError, UsageError
from wherry.hosts import is_loopback, reachable
from wherry.testing.blocks import MemorySource
from wherry.testing.certificates import make_certificate
from wherry_http.options import HttpOptions
from wherry_http.places import parse_base
from wherry_http.transport import HttpTransport

NOTHING = MemorySource({})


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "", "http:", "http:/x", "host:80", "ftp://host:80", "http://host:80/path", "http://host:80/?q=1", "http://host:80/#f",
        "http://host:99999", "http://host:-1", "http://[::1", "http://user@host:80", "http://user:pw@host:80",
        "http://:pw@host:80", "http://" + "a" * 3000, "http://" + "a" * 64 + ".example:80", "http://a..example:80",
    ],
)  # fmt: skip
async def test_what_is_no_address(address):
    with pytest.raises(UsageError):
        async with HttpTransport(HttpOptions()).listen(address, NOTHING):
            pass
    with pytest.raises(UsageError):
        async with HttpTransport(HttpOptions()).connect(address):
            pass


@pytest.mark.parametrize("address", ["http://u:hunter2@h:1", "http://:hunter2@h:1", "ftp://u:hunter2@h"])
def test_a_password_is_not_repeated(address):
    with pytest.raises(UsageError) as caught:
        parse_base(address)
    assert "hunter2" not in str(caught.value)


async def test_connecting_needs_a_port_that_can_be():
    with pytest.raises(UsageError):
        async with HttpTransport(HttpOptions()).connect("http://host:0"):
            pass


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
        ("10.0.0.1", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_loopback(host, own):
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("host", "can"),
    [
        ("a" * 63 + ".example", True), ("host.", True), ("bücher.example", True), ("::1", True), ("127.0.0.1", True),
        ("a" * 64 + ".example", False), ("a..example", False), (".example", False), ("\ud800.example", False),
    ],
)  # fmt: skip
def test_what_can_be_looked_up(host, can):
    assert is_host(host) is can


async def test_a_public_address_is_refused_with_the_ways_to_allow_it():
    with pytest.raises(UsageError) as caught:
        async with HttpTransport(HttpOptions()).listen("http://0.0.0.0:0", NOTHING):
            pass
    for way in ("tls_cert", "token", "--allow-public"):
        assert way in caught.value.hint


@pytest.mark.parametrize("way", ["token", "allow", "tls"])
async def test_a_public_address_is_allowed_with_protection_or_leave(way, tmp_path):
    options = HttpOptions(token="secret") if way == "token" else HttpOptions()
    if way == "tls":
        certificate, key = make_certificate(tmp_path)
        options = HttpOptions(tls_cert=certificate, tls_key=key)
    async with HttpTransport(options, allow_public=way == "allow").listen("http://0.0.0.0:0", NOTHING) as address:
        base = parse_base(address)
        assert base.scheme == ("https" if way == "tls" else "http")
        assert base.host not in ("0.0.0.0", "127.0.0.1.")
        with socket.create_connection((base.host, base.port), 5):
            pass


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        (HttpOptions(), ("transport-ipfs-gateway-http",)),
        (HttpOptions(gateway="trustless"), ("transport-ipfs-gateway-http",)),
        (HttpOptions(gateway="off"), ()),
        (HttpOptions(token="secret"), ()),  # no IPFS client can show it
    ],
    ids=["path", "trustless", "off", "token"],
)
async def test_it_says_whether_a_gateway_is_there_for_anybody(options, spoken):
    async with HttpTransport(options).listen("http://127.0.0.1:0", NOTHING) as address:
        assert isinstance(address, Listening)
        assert address.protocols == spoken


def test_all_addresses_are_shown_as_one_that_can_be_dialled():
    assert reachable("0.0.0.0") != "0.0.0.0"
    assert reachable("::") != "::"
    assert reachable("192.0.2.7") == "192.0.2.7"


async def test_ipv6():
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    transport = HttpTransport(HttpOptions())
    async with transport.listen("http://[::1]:0", NOTHING) as address:
        assert address.startswith("http://[::1]:")
        async with transport.connect(address):
            pass


async def test_https_needs_a_certificate():
    with pytest.raises(ConfigError) as caught:
        async with HttpTransport(HttpOptions()).listen("https://127.0.0.1:0", NOTHING):
            pass
    assert "tls_cert" in str(caught.value)


async def test_a_certificate_that_cannot_be_loaded(tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    for path in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(ConfigError):
            async with HttpTransport(HttpOptions(tls_cert=path, tls_key=path)).listen("https://127.0.0.1:0", NOTHING):
                pass
        with pytest.raises(ConfigError, match="tls_ca"):
            async with HttpTransport(HttpOptions(tls_ca=path)).connect("https://127.0.0.1:1"):
                pass


async def test_a_host_that_is_not_ours_cannot_be_listened_on():
    with pytest.raises(LocalError):
        async with HttpTransport(HttpOptions(token="x")).listen("http://192.0.2.1:0", NOTHING):
            pass


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é", "x" * 1001])
def test_a_token_that_cannot_travel_in_a_header_is_refused_without_being_shown(token):
    with pytest.raises(ValueError, match="token") as caught:
        HttpOptions(token=token)
    assert not token or token not in str(caught.value)


def test_certificate_and_key_go_together(tmp_path):
    with pytest.raises(ValueError, match="together"):
        HttpOptions(tls_cert=tmp_path)
