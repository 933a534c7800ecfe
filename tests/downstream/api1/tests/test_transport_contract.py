"""The transport keeps the contract of transports."""

from __future__ import annotations

from wherry.abc.transport import Transport
from wherry.plugin import Duration
from wherry.testing.transport import TransportContract

from acme_api1.transport.options import Options
from acme_api1.transport.transport import TcpTransport


class TestTransport(TransportContract):
    plugin_module = "acme_api1.transport.plugin"

    def make_transport(self) -> Transport:
        # The suite waits for these.
        return TcpTransport(Options(connect_timeout=Duration(1.0), idle_timeout=Duration(1.0)))

    def listen_address(self) -> str:
        return "acme-transport://127.0.0.1:0"

    def dial(self, host: str, port: int) -> str:
        return f"acme-transport://{host}:{port}"
