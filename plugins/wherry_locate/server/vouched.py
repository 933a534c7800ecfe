"""Which of the addresses that a node announces are taken: those at the very IP address it speaks from (specs/0028 §4). Pure.

So nobody can have a victim listed. An address that says "all of mine" (0.0.0.0, ::) stands for that IP address too: a node
behind a router does not know its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from wherry_locate.multiaddr import GATEWAY_PROTOCOL, HTTP_PROTOCOL, TCP_PROTOCOL, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

_PORTS_BELOW_1024: Final = (80, 443)  # what else is there is no peer's, and might be a mail server
_HTTP: Final = (("http",), ("https",), ("tls", "http"))
_OVER_HTTP: Final = {HTTP_PROTOCOL, GATEWAY_PROTOCOL}
_TCP: Final = ((), ("tls",))


def plain_ip(text: str) -> str:
    """Gives an IP address in its plain form, an IPv4 one that IPv6 carries as itself; "" for what is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def vouched(addrs: Iterable[str], protocols: Iterable[str], ip: str, peer: str) -> list[str]:
    """Gives the multiaddrs of ``addrs`` that a node ``peer`` at ``ip`` may be listed with, each once."""
    taken: dict[str, None] = {}
    spoken = set(protocols)
    for text in addrs:
        place = parse(text)
        if place is None or place.kind not in ("ip4", "ip6") or place.peer not in ("", peer):
            continue
        if place.port < 1024 and place.port not in _PORTS_BELOW_1024:
            continue
        if not (place.how in _HTTP and spoken & _OVER_HTTP) and not (place.how in _TCP and TCP_PROTOCOL in spoken):
            continue
        if plain_ip(place.host) == ip or (
            ipaddress.ip_address(place.host).is_unspecified and (":" in ip) == (":" in place.host)
        ):
            kind = "ip6" if ":" in ip else "ip4"
            taken["/".join(["", kind, ip, "tcp", str(place.port), *place.how])] = None
    return list(taken)
