"""Where a web server may send us: a name on the Internet must not open a door of this machine or of its network."""

from __future__ import annotations

import asyncio

import pytest
from canary import FAR, Canary, Network

from wherry.dial import LAN, NAMED, PUBLIC
from wherry.errors import PeerDenied
from wherry.testing.blocks import CountedPool, fetch_once
from wherry.testing.hostile import HostileServer, answer, redirect
from wherry.testing.leaves import file_of, right
from wherry.testing.web import plain_files
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport

FILE = file_of("file", 1000, 1000)
WANTS = [leaf.want for leaf in FILE]
DATA = b"".join(leaf.data for leaf in FILE)


@pytest.fixture
def canary():
    with Canary() as made:
        yield made


@pytest.fixture
def network(monkeypatch):
    return Network(monkeypatch)


async def fetched(address, dial=NAMED, **options):
    pool = CountedPool()
    transport = WebTransport(WebOptions(connect_timeout=1.0, idle_timeout=1.0, **options), dial=dial)
    try:
        async with asyncio.timeout(20), transport.connect(address) as channel:
            return await fetch_once(channel, WANTS, pool)
    finally:
        assert pool.out == 0


def leading(where):
    return HostileServer(answer(), redirect(where))


@pytest.mark.parametrize("dial", [NAMED, LAN, PUBLIC])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "inwards.example"])
async def test_a_server_of_the_internet_cannot_have_this_machine_opened(host, dial, network, canary):
    network.names["inwards.example"] = "127.0.0.1"
    with leading(f"http://{host}:{canary.port}/") as server:
        with pytest.raises(PeerDenied, match="redirect leads to"):
            await fetched(f"http://mirror.example:{server.port}/", dial)
    assert canary.came == 0
    assert set(network.dialled) == {FAR}


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "[fe80::1]", "[fd00:ec2::254]", "rebound.example"]
)
async def test_nor_its_network(host, network):
    network.names["rebound.example"] = "169.254.169.254"
    with leading(f"http://{host}/latest/meta-data/") as server, pytest.raises(PeerDenied, match="redirect leads to"):
        await fetched(f"http://mirror.example:{server.port}/")
    assert set(network.dialled) == {FAR}


async def test_not_by_a_second_redirect_either(network, canary):
    with HostileServer(redirect(f"http://127.0.0.1:{canary.port}/")) as second:
        with leading(f"http://mirror.example:{second.port}/x") as first:
            with pytest.raises(PeerDenied, match="redirect leads to"):
                await fetched(f"http://mirror.example:{first.port}/")
        assert len(second.requests) == 1
    assert canary.came == 0


async def test_within_the_internet_it_is_followed(network):
    with HostileServer(plain_files({"/file": DATA})) as far, leading(f"http://mirror.example:{far.port}/file") as first:
        right(await fetched(f"http://mirror.example:{first.port}/", PUBLIC), FILE)


async def test_what_a_user_named_on_this_machine_may_lead_elsewhere_on_it_and_no_further():
    with HostileServer(plain_files({"/file": DATA})) as other, leading(f"{other.url}/file") as server:
        right(await fetched(server.url), FILE)
    for host in ("10.0.0.1", "169.254.169.254"):
        with leading(f"http://{host}/") as server, pytest.raises(PeerDenied, match="redirect leads to"):
            await fetched(server.url)


async def test_whom_strangers_named_is_dialled_by_the_policy_and_shown_no_secret(network, canary):
    with pytest.raises(PeerDenied, match="named by others"):
        await fetched(f"http://127.0.0.1:{canary.port}/", LAN)
    assert canary.came == 0
    with HostileServer(plain_files({"/file": DATA})) as server:
        origin = f"http://mirror.example:{server.port}"
        secrets = {"token": "secret-token", "origins": (origin,)}
        right(await fetched(f"{origin}/", PUBLIC, **secrets), FILE)
        assert not any("authorization" in request.headers for request in server.requests)
        right(await fetched(f"{origin}/", NAMED, **secrets), FILE)
        assert server.requests[-1].headers["authorization"] == "Bearer secret-token"
