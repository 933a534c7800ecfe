"""The options of the ``http`` transport, as written in configuration under ``[transport.http]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is
from typing import Literal

from wherry.coding_choice import CodingMode  # noqa: TC001  # as above
from wherry.plugin import Duration, option

GatewayMode = Literal["off", "trustless", "path"]
TOKEN = re.compile(r"[!-~]{1,1000}", re.ASCII)  # it travels in a header


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Options of the ``http`` transport."""

    connections: int = option(4, minimum=1, maximum=64, help="connections to one source, each with a request under way")
    connect_timeout: Duration = option(Duration(10.0), help="how long a connection may take to be made")
    idle_timeout: Duration = option(Duration(30.0), help="how long a peer may be silent, or slower than the least rate")
    keepalive: Duration = option(
        Duration(15.0), help="how long the server keeps an idle connection, and waits for a request's header"
    )
    max_requests: int = option(1100, minimum=1, help="requests that the server answers at a time; beyond, it says 503")
    coding: CodingMode = option(
        "auto", help="whether answers are coded for clients that decode. auto: where the link is slow enough to gain by it"
    )
    gateway: GatewayMode = option(
        "path", help="what /ipfs and /ipns answer. trustless: verifiable formats alone; path: files and listings for people too"
    )
    tls_cert: Path | None = option(None, help="certificate chain (PEM) to serve with TLS")
    tls_key: Path | None = option(None, help="private key (PEM) of tls_cert")
    tls_ca: Path | None = option(None, help="certificates (PEM) to trust when connecting, instead of the system's")
    token: str | None = option(
        None, secret=True, env="WHERRY_TOKEN", help="the token that peers must show, and that is shown to them"
    )

    def __post_init__(self) -> None:
        """Checks what the types do not."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise ValueError("token must be 1 to 1,000 visible ASCII characters, without spaces")
