"""The http transport keeps the contract of transports."""

from __future__ import annotations

from codings import codings_of

from wherry.testing.transport import TransportContract
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport


class TestHttp(TransportContract):
    secrets = ("a-token-that-nobody-sees",)
    plugin_module = "wherry_http.plugin"

    def make_transport(self):
        return HttpTransport(HttpOptions(connect_timeout=2.0, idle_timeout=1.0, token=self.secrets[0]))

    def listen_address(self):
        return "http://127.0.0.1:0"

    def dial(self, host, port):
        return f"http://{host}:{port}"


class TestHttpCoded(TestHttp):
    """The same with every block coded that shrinks, and the offer in every request."""

    def make_transport(self):
        options = HttpOptions(connect_timeout=2.0, idle_timeout=1.0, token=self.secrets[0], coding="always")
        return HttpTransport(options, codings=codings_of("zstd", "lz4"))
