"""Registers the transport vendor.name. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from wherry_cli.scaffold.transport.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build(options: Options, env: Env) -> Transport:
    """Makes the transport."""
    from wherry_cli.scaffold.transport.transport import TcpTransport

    return TcpTransport(options, allow_public=env.allow_public, dial=env.dial)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``vendor.name``, for addresses ``vendor-name://HOST:PORT``."""
    return [provider("vendor.name", options=Options, build=build, summary="blocks over TCP", api=1)]
