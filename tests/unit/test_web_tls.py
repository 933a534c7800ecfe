"""The web transport over TLS: who is trusted, and that a redirect does not leave it."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wherry.errors import ConfigError, PeerProtocolError, PeerUnreachable
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.certificates import make_certificate
from wherry.testing.hostile import HostileServer
from wherry.testing.leaves import file_of, right
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport

FILE = file_of("file", 1000, 200_000)
DATA = b"".join(leaf.data for leaf in FILE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.send_response(204)
        self.end_headers()

    def do_GET(self):
        where = self.server.location
        self.send_response(302 if where else 200)
        for name, value in {"Location": where, "Content-Length": 0 if where else len(DATA)}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        if not where:
            self.wfile.write(DATA)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    location = None

    def handle_error(self, request, client_address):
        """Clients that do not trust it end in the handshake."""


@pytest.fixture
def server(tmp_path):
    certificate, key = make_certificate(tmp_path)
    made = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    made.certificate = certificate
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


async def fetched(server, **options):
    transport = WebTransport(WebOptions(connect_timeout=2.0, idle_timeout=2.0, **options))
    async with transport.connect(f"https://127.0.0.1:{server.server_port}/") as channel:
        return await harvest(channel, [leaf.want for leaf in FILE], CountedPool())


async def test_bytes_come_over_tls(server):
    right(await fetched(server, tls_ca=server.certificate), FILE)


async def test_a_certificate_that_nobody_vouches_for(server):
    with pytest.raises(PeerUnreachable, match="not trusted") as caught:
        await fetched(server)
    assert "tls_ca" in caught.value.hint


async def test_a_redirect_does_not_leave_tls(server):
    with HostileServer() as plain:
        server.location = f"{plain.url}/file"
        with pytest.raises(PeerProtocolError, match="from https to http"):
            await fetched(server, tls_ca=server.certificate)
        assert plain.connections == 0


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_authorities_that_cannot_be_read(server, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="tls_ca"):
        await fetched(server, tls_ca=path)
