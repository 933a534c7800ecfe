"""The transport keeps the contract of transports."""

from __future__ import annotations

from wherry.abc.transport import Transport
from wherry.plugin import Duration
from wherry.testing.transport import TransportContract

from wherry_cli.scaffold.transport.options import Options
from wherry_cli.scaffold.transport.transport import TcpTransport


class TestTransport(TransportContract):
    plugin_module = "wherry_cli.scaffold.transport.plugin"

    def make_transport(self) -> Transport:
        # The suite waits for these.
        return TcpTransport(Options(connect_timeout=Duration(1.0), idle_timeout=Duration(1.0)))

    def listen_address(self) -> str:
        return "vendor-name://127.0.0.1:0"

    def dial(self, host: str, port: int) -> str:
        return f"vendor-name://{host}:{port}"
