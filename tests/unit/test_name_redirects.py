"""Where a gateway may send us that is asked for the record of a name: as for blocks (specs/0034 §5, 0033 §11)."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from canary import FAR, Canary, Network

from wherry.dial import LAN, NAMED, PUBLIC
from wherry.errors import NotFound, PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, UsageError
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.nodekey import NodeKey
from wherry.session import Session
from wherry.testing.certificates import make_certificate
from wherry.testing.hostile import HostileServer, answer, cut, endless, redirect, silent
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport

TYPE = {"Content-Type": "application/vnd.ipfs.ipns-record"}
KEY = NodeKey(b"n" * 32)
NAME = str(Name.of(KEY.public))
RECORD = create(KEY, "/ipfs/bafkqaaa", 1, 4_000_000_000 * 10**9)
GOOD = answer(RECORD, headers=TYPE)
OPTIONS = HttpOptions(connect_timeout=1.0, idle_timeout=0.5, token="a-secret")


@pytest.fixture
def network(monkeypatch):
    return Network(monkeypatch)


def chunked(*pieces):
    """Sends an answer in chunks."""

    def behave(exchange):
        exchange.head(200, TYPE | {"Transfer-Encoding": "chunked"})
        exchange.send(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b"")))
        return True

    return behave


def asked(address, dial=NAMED, options=OPTIONS):
    return asyncio.run(HttpTransport(options, dial=dial).name_record(address, NAME))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_gateway_that_moved_is_followed_and_sees_no_token(status):
    with HostileServer(GOOD) as there, HostileServer(redirect(f"{there.url}/ipns/{NAME}?x=y", status=status)) as here:
        assert asked(here.url) == RECORD
        assert here.requests[0].path == f"/ipns/{NAME}?format=ipns-record"
        assert here.requests[0].headers["authorization"] == "Bearer a-secret"
        assert here.requests[0].headers["accept"] == there.requests[0].headers["accept"] == TYPE["Content-Type"]
        assert there.requests[0].path == f"/ipns/{NAME}?x=y"
        assert "authorization" not in there.requests[0].headers


def test_the_verbs_follow_too(tmp_path):
    async def work():
        async with Session.open(home=tmp_path, environ={}) as mine:
            with HostileServer(GOOD) as there, HostileServer(redirect(f"{there.url}/")) as here:
                assert (await mine.resolve_name(NAME, sources=[here.url])).value == "/ipfs/bafkqaaa"
            with HostileServer(redirect("/x")) as here:
                found = await mine.resolve_name(NAME, sources=[here.url])  # known by now
            assert [text for text in found.warnings if "redirects more than 3 times" in text]
        async with Session.open(home=tmp_path / "other", environ={}) as mine:
            with (
                HostileServer(redirect("ftp://127.0.0.1/")) as here,
                pytest.raises(NotFound, match="redirects to what is no web"),
            ):
                await mine.resolve_name(NAME, sources=[here.url])

    asyncio.run(work())


def test_three_redirects_are_followed_and_a_fourth_is_not():
    with HostileServer(*[redirect(f"/{number}") for number in range(3)], GOOD) as server:
        assert asked(server.url) == RECORD
    with HostileServer(redirect("/round")) as server:
        with pytest.raises(PeerProtocolError, match="more than 3 times") as caught:
            asked(server.url)
        assert len(server.requests) == 4
    assert "--from" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:secret@127.0.0.1/", "http://[", "x" * 20_000]
)
def test_redirects_to_what_is_no_gateway_are_refused(where):
    with HostileServer(redirect(where)) as server:
        with pytest.raises(PeerProtocolError, match="redirects (to what|with)") as caught:
            asked(server.url)
        assert len(server.requests) == 1
    assert caught.value.peer == server.url


def test_a_redirect_to_nowhere_is_refused():
    with HostileServer(answer(status=302)) as server, pytest.raises(PeerProtocolError, match="to nowhere"):
        asked(server.url)


@pytest.mark.parametrize("dial", [NAMED, LAN, PUBLIC])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "inwards.example"])
def test_a_gateway_of_the_internet_cannot_have_this_machine_opened(host, dial, network):
    network.names["inwards.example"] = "127.0.0.1"
    with Canary() as canary:
        with HostileServer(redirect(f"http://{host}:{canary.port}/")) as server:
            with pytest.raises(PeerDenied, match="redirect leads to"):
                asked(f"http://mirror.example:{server.port}", dial)
        assert canary.came == 0
    assert set(network.dialled) == {FAR}


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[fe80::1]", "[fd00:ec2::254]", "rebound.example"])
def test_nor_its_network_not_even_by_a_second_redirect(host, network):
    network.names |= {"rebound.example": "169.254.169.254", "other.example": FAR}
    with (
        HostileServer(redirect(f"http://{host}/latest/meta-data/")) as second,
        HostileServer(redirect(f"http://other.example:{second.port}/")) as first,
        pytest.raises(PeerDenied, match="redirect leads to"),
    ):
        asked(f"http://mirror.example:{first.port}")
    assert network.dialled == [FAR, FAR]


def test_who_was_found_by_others_is_dialled_by_the_policy(network):
    with Canary() as canary:
        with pytest.raises(PeerDenied, match="named by others"):
            asked(f"http://127.0.0.1:{canary.port}", PUBLIC)
        assert canary.came == 0


@pytest.mark.parametrize(
    ("behaviour", "error", "words"),
    [
        (cut(RECORD, after=40, headers=TYPE), PeerProtocolError, "short"),
        (answer(bytes(10_241), headers=TYPE), PeerProtocolError, "more than 10,240"),
        (endless(bytes(1000), headers=TYPE), PeerProtocolError, "more than 10,240"),
        (answer(RECORD, headers=TYPE | {"Content-Encoding": "gzip"}), PeerProtocolError, "coded"),
        (answer(status=429, headers={"Retry-After": "2"}), PeerBusy, "too much to do"),
        (answer(status=401), PeerDenied, "refuses us"),
        (silent(), PeerTimeout, "silent"),
    ],
)
def test_bad_answers_name_who_gave_them(behaviour, error, words):
    with HostileServer(behaviour) as server, pytest.raises(error, match=words) as caught:
        asked(server.url)
    assert isinstance(caught.value, PeerError)
    assert caught.value.peer == server.url


def test_a_record_in_chunks_is_taken_and_what_is_none_is_none():
    with HostileServer(chunked(RECORD[:7], RECORD[7:]), answer(status=404), answer(b"{}")) as server:
        assert asked(server.url) == RECORD
        assert asked(server.url) is None
        assert asked(server.url) is None


@contextmanager
def secured(folder, behave):
    """A server of HTTPS that answers with what ``behave`` does with its handler; gives its port and certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            behave(self)

        def log_message(self, *_):
            pass

    certificate, key = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port, certificate
        finally:
            server.shutdown()
            thread.join()


def gives(status, body=b"", **headers):
    def behave(handler):
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def test_from_https_to_http_is_refused_and_the_other_way_is_followed(tmp_path):
    with HostileServer(GOOD) as plain, secured(tmp_path, gives(302, Location=plain.url)) as (port, certificate):
        options = HttpOptions(connect_timeout=2.0, idle_timeout=2.0, tls_ca=certificate)
        with pytest.raises(PeerProtocolError, match="from https to http"):
            asked(f"https://127.0.0.1:{port}", options=options)
        assert plain.requests == []
    with secured(tmp_path, gives(200, RECORD, Content_Type=TYPE["Content-Type"])) as (port, certificate):
        options = HttpOptions(connect_timeout=2.0, idle_timeout=2.0, tls_ca=certificate)
        with HostileServer(redirect(f"https://127.0.0.1:{port}/x")) as plain:
            assert asked(plain.url, options=options) == RECORD
            with pytest.raises(PeerUnreachable, match="not trusted"):
                asked(plain.url)


def test_nobody_there_and_no_host():
    with HostileServer(GOOD) as server:
        gone = server.url
    with pytest.raises(PeerUnreachable):
        asked(gone)
    with pytest.raises(UsageError):
        asked("http://a+b:80")


def test_cancelled_it_ends_at_once():
    async def work(server):
        transport = HttpTransport(HttpOptions(idle_timeout=300.0))
        task = asyncio.create_task(transport.name_record(server.url, NAME))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with HostileServer(silent()) as server:
        asyncio.run(asyncio.wait_for(work(server), 20))
