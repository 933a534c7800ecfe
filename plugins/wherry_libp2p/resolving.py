"""From the name in an address to an IP address that may be dialled (specs/0018 §4, specs/0035 §2)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from wherry.errors import PeerUnreachable

if TYPE_CHECKING:
    from wherry.dial import Dial
    from wherry_libp2p.places import Place


async def resolved(place: Place, peer: str, dial: Dial) -> str:
    """Gives the multiaddr to dial, of an IP address that ``dial`` lets be dialled. Raises PeerDenied, PeerUnreachable."""
    if place.kind in ("ip4", "ip6"):
        dial.check(place.host, peer)
        return place.multiaddr()
    family = {"dns4": socket.AF_INET, "dns6": socket.AF_INET6}.get(place.kind, socket.AF_UNSPEC)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, family=family, type=socket.SOCK_STREAM)
    except OSError as problem:
        raise PeerUnreachable(f"{peer}: {problem.strerror}", peer=peer) from problem
    ip = str(found[0][4][0])
    dial.check(ip, peer)
    return place.multiaddr(ip)
