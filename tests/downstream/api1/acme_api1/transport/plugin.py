"""Registers the transport acme.transport. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.transport.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build(options: Options, env: Env) -> Transport:
    """Makes the transport."""
    from acme_api1.transport.transport import TcpTransport

    return TcpTransport(options, allow_public=env.allow_public, dial=env.dial)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``acme.transport``, for addresses ``acme-transport://HOST:PORT``."""
    return [provider("acme.transport", options=Options, build=build, summary="blocks over TCP", api=1)]
