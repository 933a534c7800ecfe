"""Reads multiaddrs of peers that speak HTTP into addresses (specs/0018 §6).

Only the forms of an HTTP server over TCP: https://github.com/multiformats/multiaddr and libp2p's HTTP address forms. All
else is another protocol's business, and is skipped.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

MULTIADDR_CHARS_MAX: Final = 512
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.ASCII | re.IGNORECASE
)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_NAMES: Final = ("dns", "dns4", "dns6")
_PLAIN: Final = (["http"],)
_SECURE: Final = (["https"], ["tls", "http"])


def to_address(text: object) -> str | None:
    """Gives ``http://HOST:PORT`` or ``https://HOST:PORT`` for a multiaddr; None for one that is not of an HTTP server."""
    if not isinstance(text, str) or not text.startswith("/") or len(text) > MULTIADDR_CHARS_MAX:
        return None
    parts = text[1:].removesuffix("/").split("/")
    if len(parts) < 5 or parts[2] != "tcp":
        return None
    host, port, how = _host(parts[0], parts[1]), parts[3], parts[4:]
    if host is None or not _PORT.fullmatch(port) or int(port) > 65_535:
        return None
    if len(how) >= 2 and how[-2] == "p2p":  # whose key it has: a CID proves more
        how = how[:-2]
    if len(how) == 4 and how[:2] == ["tls", "sni"] and how[2] == parts[1]:
        how = ["tls", how[3]]
    scheme = "http" if how in _PLAIN else "https" if how in _SECURE else None
    return f"{scheme}://{host}:{port}" if scheme else None


def _host(kind: str, value: str) -> str | None:
    if kind in _NAMES:
        return value.lower() if _HOST.fullmatch(value) else None
    try:
        if kind == "ip4":
            return str(ipaddress.IPv4Address(value))
        if kind == "ip6" and "%" not in value:
            return f"[{ipaddress.IPv6Address(value)}]"
    except ValueError:
        return None
    return None
