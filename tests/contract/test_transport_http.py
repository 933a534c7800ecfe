"""The http transport keeps the contract of transports."""

from __future__ import annotations

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
