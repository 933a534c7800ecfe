"""Multiaddrs of peers and wherry's addresses, one from the other (specs/0018 §6, specs/0028 §5).

Only the forms of servers over TCP: https://github.com/multiformats/multiaddr, and libp2p's HTTP address forms. All else is
another protocol's business, and is skipped.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

MULTIADDR_CHARS_MAX: Final = 512
TCP_PROTOCOL: Final = "transport-wherry-tcp"  # the native exchange (specs/0004): tcp:// and tcps:// addresses
HTTP_PROTOCOL: Final = "transport-wherry-http"  # blocks over HTTP (specs/0008)
GATEWAY_PROTOCOL: Final = "transport-ipfs-gateway-http"  # a Trustless Gateway (specs/0033)
DETAILS: Final = "transport-wherry"  # the field of a record with what else is known: {"complete": true}
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.ASCII | re.IGNORECASE
)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
PEER: Final = re.compile(r"12D3Koo[1-9A-HJ-NP-Za-km-z]{45}", re.ASCII)
_NAMES: Final = ("dns", "dns4", "dns6")
_OTHERS: Final = ("quic-v1", "quic", "webtransport", "webrtc-direct", "webrtc", "ws", "wss", "onion3", "memory", "unix")
_PLAIN: Final = ["http"]
_SECURE: Final = (["https"], ["tls", "http"])
_FORMS: Final = {"tcp": "", "tcps": "/tls", "http": "/http", "https": "/https"}


class Place(NamedTuple):
    """What a multiaddr of a TCP server says."""

    kind: str  # ip4, ip6, dns, dns4, dns6
    host: str  # in its plain form
    port: int
    how: tuple[str, ...]  # what is spoken there: () for the bare TCP, ("http",), ("tls", "http")
    peer: str  # behind /p2p/; "" if nothing is


def parse(text: object) -> Place | None:
    """Reads the multiaddr of a TCP server, whatever is spoken there; None for any other."""
    if not isinstance(text, str) or not text.startswith("/") or len(text) > MULTIADDR_CHARS_MAX:
        return None
    parts = text[1:].removesuffix("/").split("/")
    if len(parts) < 4 or parts[2] != "tcp":
        return None
    host, port, how, peer = _host(parts[0], parts[1]), parts[3], parts[4:], ""
    if host is None or not _PORT.fullmatch(port) or int(port) > 65_535:
        return None
    if len(how) >= 2 and how[-2] == "p2p":
        how, peer = how[:-2], how[-1]
    if len(how) == 4 and how[:2] == ["tls", "sni"] and how[2] == parts[1]:
        how = ["tls", how[3]]
    return Place(parts[0], host, int(port), tuple(how), peer)


def to_address(text: object, *, peer: object = "", protocols: Collection[object] = ()) -> str | None:
    """Gives the address for a multiaddr of a record; None for one that is not of a server that wherry can speak with.

    ``http://HOST:PORT`` or ``https://HOST:PORT`` for an HTTP server. Bare TCP says nothing of what is spoken there: it is
    ``tcp://HOST:PORT``, or ``tcps://PEER@HOST:PORT`` with TLS, only where ``protocols`` has wherry's. ``peer`` is the
    record's peer id, for a multiaddr that names none.
    """
    place = parse(text)
    if place is None:
        return None
    host, how = f"[{place.host}]" if place.kind == "ip6" else place.host, list(place.how)
    if how == _PLAIN:
        return f"http://{host}:{place.port}"
    if how in _SECURE:
        return f"https://{host}:{place.port}"
    if TCP_PROTOCOL not in protocols:
        return None
    if not how:
        return f"tcp://{host}:{place.port}"
    who = place.peer or peer
    if how == ["tls"] and isinstance(who, str) and PEER.fullmatch(who):
        return f"tcps://{who}@{host}:{place.port}"
    return None


def why_not(text: object, peer: object) -> str:
    """Says, for people, why `to_address` gives nothing for a multiaddr of a record."""
    if not isinstance(text, str) or not text.startswith("/") or len(text) > MULTIADDR_CHARS_MAX:
        return "it is no multiaddr"
    place = parse(text)
    parts = set(text.split("/"))
    if "p2p-circuit" in parts:
        return "it leads over a relay of libp2p, which wherry does not use"
    other = next((word for word in _OTHERS if word in parts), "")
    if other or (place is None and "udp" in parts):
        return f"it speaks {other or 'udp'}, which wherry does not"
    if place is None:
        return "it is no address of a server over TCP that can be read"
    if place.how in ((), ("tls",)):
        who = place.peer or (peer if isinstance(peer, str) and PEER.fullmatch(peer) else "")
        if not who:
            return "it does not say what it speaks, nor who it is"
        return f"it speaks libp2p: --from {text.partition('/p2p/')[0]}/p2p/{who} dials it, with the extra libp2p"
    return f"it speaks {'/'.join(place.how)[:40]}, which wherry does not"


def to_multiaddr(address: str) -> tuple[str, str] | None:
    """Gives the multiaddr for an address, without the peer's id, and the protocol spoken there; None if it has none."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _FORMS or not host or not port or parts.path not in ("", "/"):
        return None
    protocol = TCP_PROTOCOL if parts.scheme in ("tcp", "tcps") else HTTP_PROTOCOL
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        kind = "dns"
    else:
        kind, host = f"ip{ip.version}", str(ip)
    if _host(kind, host) is None:
        return None
    return f"/{kind}/{host}/tcp/{port}{_FORMS[parts.scheme]}", protocol


def _host(kind: str, value: str) -> str | None:
    if kind in _NAMES:
        return value.lower() if _HOST.fullmatch(value) else None
    try:
        if kind == "ip4":
            return str(ipaddress.IPv4Address(value))
        if kind == "ip6" and "%" not in value:
            return str(ipaddress.IPv6Address(value))
    except ValueError:
        return None
    return None
