"""Registers the ``web`` transport. Light: TLS and sockets are imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_web.options import WebOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_web(options: WebOptions, env: Env) -> Transport:
    """Makes the transport."""
    from wherry_web.transport import WebTransport  # importing a plugin costs nothing; using it does

    return WebTransport(options, dial=env.dial, emit=env.emit)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``web``, for the schemes http and https."""
    return [provider("web", options=WebOptions, build=build_web, summary="a plain web server or mirror that holds the files")]
