"""The options of the ``tcp`` transport, as written in configuration under ``[transport.tcp]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wherry.coding_choice import CodingMode  # noqa: TC001  # the types of options are read when a configuration is
from wherry.limits import WIRE_REQUESTS_MAX
from wherry.plugin import Duration, option

_TOKEN = re.compile(r"[!-~]{1,1000}", re.ASCII)  # as of the http transport: one token does for both


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpOptions:
    """Options of the ``tcp`` transport."""

    connections: int = option(3, minimum=1, maximum=16, help="connections to one peer, where one alone does not fill the link")
    parallel: int = option(16, minimum=1, maximum=64, help="requests to one peer that are under way at a time")
    connect_timeout: Duration = option(
        Duration(10.0), help="how long a connection may take to be made, and the handshake of one that came in"
    )
    idle_timeout: Duration = option(Duration(30.0), help="how long a peer may be silent, or slower than the least rate")
    request_timeout: Duration = option(
        Duration(60.0), help="how long a request may wait for the beginning of its answer while nothing else arrives"
    )
    max_connections: int = option(1024, minimum=1, help="connections that the listeners take at a time")
    max_per_host: int = option(256, minimum=1, help="of them, from one address (IPv4) or one /64 network (IPv6)")
    max_requests: int = option(
        WIRE_REQUESTS_MAX, minimum=1, maximum=WIRE_REQUESTS_MAX, help="requests that one connection may have waiting"
    )
    coding: CodingMode = option(
        "auto", help="whether answers are coded for peers that decode. auto: where the link is slow enough to gain by it"
    )
    token: str | None = option(
        None, secret=True, env="WHERRY_TOKEN", help="the token that who dials must know, and that is proven to who asks for it"
    )

    def __post_init__(self) -> None:
        """Checks what the types do not."""
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("token must be 1 to 1,000 visible ASCII characters, without spaces")
