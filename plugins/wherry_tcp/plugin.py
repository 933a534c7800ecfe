"""Registers the ``tcp`` transport. Light: what it needs is imported when the transport is built and used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_tcp.options import TcpOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_tcp(options: TcpOptions, env: Env) -> Transport:
    """Makes the transport."""
    from wherry_tcp.transport import TcpTransport  # importing a plugin costs nothing; using it does

    return TcpTransport(options, env)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``tcp``, for the schemes tcp, tcps and unix."""
    summary = "blocks between nodes, both ways over one connection: TCP, TLS with pinned keys, Unix sockets"
    return [provider("tcp", options=TcpOptions, build=build_tcp, summary=summary)]
