"""The http transport asks the address policy at each connect, and keeps its token from those whom others named."""

from __future__ import annotations

import socket

import pytest
from canary import Canary

from wherry.dial import LAN, NAMED, PUBLIC, Dial
from wherry.errors import PeerDenied, PeerError
from wherry.httpline import Line
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.hostile import HostileServer, answer, redirect
from wherry.testing.leaves import file_of, right, source_of
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport


@pytest.fixture
def canary():
    with Canary() as made:
        yield made


async def connect(address, dial, token=None):
    async with HttpTransport(HttpOptions(connect_timeout=2.0, idle_timeout=2.0, token=token), dial=dial).connect(address):
        pass


@pytest.mark.parametrize("dial", [LAN, PUBLIC])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1.1.1", "[64:ff9b::7f00:1]", "0.0.0.0"]
)
async def test_nobody_is_knocked_at_on_this_machine(host, dial, canary):
    with pytest.raises(PeerDenied, match="named by others"):
        await connect(f"http://{host}:{canary.port}", dial)
    assert canary.came == 0


async def test_the_canary_sings_when_the_user_named_it(canary):
    with pytest.raises(PeerError):
        await connect(f"http://127.0.0.1:{canary.port}", NAMED)
    assert canary.came >= 1


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]"])
async def test_the_own_network_is_closed_to_strangers_hints(host):
    with pytest.raises(PeerDenied, match="private network"):
        await connect(f"http://{host}:80", PUBLIC)


async def test_a_name_that_leads_inwards_is_found_out(canary, monkeypatch):
    inwards = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", canary.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: inwards)
    with pytest.raises(PeerDenied):
        await connect(f"http://harmless.example:{canary.port}", PUBLIC)
    assert canary.came == 0


def test_a_name_that_changes_its_mind_is_found_out_at_the_next_connect(canary, monkeypatch):
    """The control connection was made to a public address; the bulk ones resolve again."""
    inwards = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", canary.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: inwards)
    line = Line("harmless.example", canary.port, None, HttpOptions(), PUBLIC)
    with pytest.raises(PeerDenied):
        line.open(1000)
    line.close()
    assert canary.came == 0


def test_of_several_addresses_an_allowed_one_is_taken(canary, monkeypatch):
    class OnlySixth(Dial):
        def allows(self, ip):
            return ip == "::1"

    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", canary.port)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", canary.port, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    line = Line("two.example", canary.port, None, HttpOptions(), OnlySixth("public"))
    line.open(1000)
    assert line._socket.getpeername()[0] == "::1"
    line.close()


@pytest.mark.parametrize("dial", [LAN, PUBLIC])
async def test_a_redirect_of_who_was_not_named_leads_nowhere(dial, canary):
    """One that the user named is followed on this machine, as gateways need it: see test_gateway_dial."""
    with HostileServer(redirect(f"http://127.0.0.1:{canary.port}/")) as server, pytest.raises(PeerError):
        await connect(server.url, dial)
    assert canary.came == 0


@pytest.mark.parametrize("where", ["169.254.169.254", "10.255.255.1", "192.168.255.1"])
async def test_a_redirect_from_this_machine_leads_into_no_other_network_of_ours(where):
    with HostileServer(redirect(f"http://{where}/")) as server, pytest.raises(PeerDenied, match="nearer to this machine"):
        await connect(server.url, NAMED)


class Anywhere(Dial):
    """Lets found addresses lead to loopback, where the servers of tests are."""

    def allows(self, ip):
        return True


async def test_a_peer_that_others_named_gives_its_blocks():
    file = file_of("file", 1000, 200_000)
    async with (
        HttpTransport(HttpOptions()).listen("http://127.0.0.1:0", source_of(file)) as address,
        HttpTransport(HttpOptions(), dial=Anywhere("public")).connect(address) as channel,
    ):
        right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)


@pytest.mark.parametrize(("reach", "told"), [("named", True), ("lan", False), ("public", False)])
async def test_the_token_is_for_those_whom_the_user_named(reach, told):
    with HostileServer(answer(b"{}", headers={"Content-Type": "application/json"})) as server:
        with pytest.raises(PeerError):
            await connect(server.url, Anywhere(reach), token="the-token")
        assert len(server.requests) == 1
        assert any("the-token" in value for value in server.requests[0].headers.values()) is told
