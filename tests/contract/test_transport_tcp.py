"""The tcp transport keeps the contract of transports: plain, inside TLS, and over a Unix socket."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from codings import codings_of

from wherry.env import Env
from wherry.testing.transport import TransportContract
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport


class TestTcp(TransportContract):
    secrets = ("a-token-that-nobody-sees",)
    plugin_module = "wherry_tcp.plugin"
    scheme = "tcp"
    numbers = itertools.count()

    @pytest.fixture(autouse=True)
    def folder(self):
        with tempfile.TemporaryDirectory(prefix="w") as folder:
            self.home = Path(folder)
            yield

    def make_transport(self):
        options = TcpOptions(connect_timeout=2.0, idle_timeout=2.0, request_timeout=15.0, token=self.secrets[0])
        return TcpTransport(options, Env(self.home, {}))

    def listen_address(self):
        return f"{self.scheme}://127.0.0.1:0"

    def dial(self, host, port):
        return f"{self.scheme}://{host}:{port}"


class TestTcpCoded(TestTcp):
    """The same with every block coded that shrinks."""

    def make_transport(self):
        options = TcpOptions(connect_timeout=2.0, idle_timeout=3.0, request_timeout=15.0, coding="always")
        return TcpTransport(options, Env(self.home, {}, codings=codings_of("zstd", "lz4")))


class TestTcps(TestTcp):
    scheme = "tcps"


class TestUnix(TestTcp):
    def listen_address(self):
        return f"unix://{self.home}/{next(self.numbers)}"

    def dial(self, host, port):
        return None
