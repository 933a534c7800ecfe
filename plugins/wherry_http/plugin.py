"""Registers the ``http`` transport. Light: aiohttp is imported when the transport is built and used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_http.options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_http(options: HttpOptions, env: Env) -> Transport:
    """Makes the transport."""
    from wherry_http.transport import HttpTransport  # importing a plugin costs nothing; using it does

    return HttpTransport(
        options, allow_public=env.allow_public, dial=env.dial, codings=env.codings, emit=env.emit, flow=env.flow, gate=env.gate
    )


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``http``, for the schemes http and https."""
    return [provider("http", options=HttpOptions, build=build_http, summary="blocks over HTTP/1.1, client and server")]
