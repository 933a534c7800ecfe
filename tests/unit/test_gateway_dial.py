"""Where a gateway may send us: as 0020 §5 has it for web servers, and without the token (specs/0033 §11)."""

from __future__ import annotations

import pytest
from canary import FAR, Canary, Network

from wherry.dial import LAN, NAMED, PUBLIC
from wherry.errors import PeerDenied, PeerProtocolError
from wherry.httplines import Lines
from wherry.testing.hostile import HostileServer, answer, redirect
from wherry.weburl import Url, parsed
from wherry_http.gateways import RAW_TYPE, Asker
from wherry_http.options import HttpOptions

OPTIONS = HttpOptions(connect_timeout=1.0, idle_timeout=1.0, token="a-secret")
ALIVE = answer(b"", headers={"Content-Type": RAW_TYPE})


@pytest.fixture
def network(monkeypatch):
    return Network(monkeypatch)


def asked(address, dial=NAMED):
    lines = Lines(OPTIONS)
    try:
        Asker(parsed(address), lines, OPTIONS, dial).prove(lambda line, on: None)
    finally:
        lines.close()


@pytest.mark.parametrize("dial", [NAMED, LAN, PUBLIC])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "inwards.example"])
def test_a_gateway_of_the_internet_cannot_have_this_machine_opened(host, dial, network):
    network.names["inwards.example"] = "127.0.0.1"
    with Canary() as canary:
        with HostileServer(redirect(f"http://{host}:{canary.port}/")) as server:
            with pytest.raises(PeerDenied, match="redirect leads to") as caught:
                asked(f"http://mirror.example:{server.port}/", dial)
        assert canary.came == 0
    assert "--from" in (caught.value.hint or "")
    assert set(network.dialled) == {FAR}


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "[fe80::1]", "[fd00:ec2::254]", "rebound.example"]
)
def test_nor_its_network(host, network):
    network.names["rebound.example"] = "169.254.169.254"
    with HostileServer(redirect(f"http://{host}/latest/meta-data/")) as server:
        with pytest.raises(PeerDenied, match="redirect leads to"):
            asked(f"http://mirror.example:{server.port}/")
    assert set(network.dialled) == {FAR}


def test_within_the_internet_it_is_followed_and_sees_no_token(network):
    with HostileServer(ALIVE) as far, HostileServer(redirect(f"http://other.example:{far.port}/x")) as server:
        network.names["other.example"] = FAR
        asked(f"http://mirror.example:{server.port}/", NAMED)
        assert server.requests[0].headers["authorization"] == "Bearer a-secret"
        assert "authorization" not in far.requests[0].headers


def test_from_https_to_http_is_refused_and_the_other_way_is_not():
    secure = Url("https", "gateway.example", 443, "/ipfs/x")
    with pytest.raises(PeerProtocolError, match="from https to http") as caught:
        secure.redirected("http://gateway.example/ipfs/x", "peer")
    assert "--from" in (caught.value.hint or "")
    plain = Url("http", "gateway.example", 80, "/ipfs/x")
    assert plain.redirected("https://x.ipfs.gateway.example/?format=raw", "peer") == Url(
        "https", "x.ipfs.gateway.example", 443, "/?format=raw"
    )
    assert plain.redirected("//other.example/y", "peer") == Url("http", "other.example", 80, "/y")
