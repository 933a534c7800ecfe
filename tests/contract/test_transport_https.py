"""The http transport keeps the contract of transports inside TLS too."""

from __future__ import annotations

import pytest

from wherry.testing.certificates import make_certificate
from wherry.testing.transport import TransportContract
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport


class TestHttps(TransportContract):
    @pytest.fixture(autouse=True)
    def certificate(self, tmp_path_factory):
        self.made = make_certificate(tmp_path_factory.mktemp("tls"))

    def make_transport(self):
        certificate, key = self.made
        return HttpTransport(
            HttpOptions(connect_timeout=2.0, idle_timeout=1.0, tls_cert=certificate, tls_key=key, tls_ca=certificate)
        )

    def listen_address(self):
        return "https://127.0.0.1:0"

    def dial(self, host, port):
        return f"https://{host}:{port}"
