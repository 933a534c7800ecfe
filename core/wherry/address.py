"""How the address of a source is written: ``SCHEME:...``, or ``NAME+SCHEME:...`` for a certain transport (specs/0006 §3.1).

Users, tickets, locators and configuration files all write addresses, so what one of them takes the others take too.
"""

from __future__ import annotations

import re
from typing import Final

# Printable ASCII without spaces behind the scheme; NAME is what an instance may be called (specs/0007 §2).
ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}\+)?[a-z][a-z0-9+.-]*:[\x21-\x7e]+", re.ASCII)


_MULTIADDR: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9+._-]*):/(ip4|ip6|dns|dns4|dns6)/([^/]+)/(.*)", re.ASCII)
_PORT: Final = re.compile(r"(?:tcp|udp)/([0-9]{1,5})(?:/.*)?", re.ASCII)


def is_host(host: str) -> bool:
    """Tells whether ``host`` can be looked up: no part of it is empty, over 63 octets (RFC 1035 §2.3.4) or no text."""
    try:
        host.encode("idna")  # as whoever looks it up does
    except UnicodeError:
        return False
    return True


def multiaddr_host(address: str) -> str:
    """Gives the host of an address whose second part is a multiaddr, ``libp2p:/ip4/HOST/...``; "" of any other."""
    found = _MULTIADDR.fullmatch(address)
    return found[3] if found is not None else ""


def without_multiaddr(address: str) -> str:
    """Gives ``SCHEME://HOST[:PORT]`` of an address whose second part is a multiaddr, and any other as it is."""
    if (found := _MULTIADDR.fullmatch(address)) is None:
        return address
    port = _PORT.fullmatch(found[4])
    host = f"[{found[3]}]" if found[2] == "ip6" else found[3]
    return f"{found[1]}://{host}:{port[1]}" if port is not None else f"{found[1]}://{host}"


def split_address(address: str) -> tuple[str, str]:
    """Gives the name of the transport that an address asks for, "" if it leaves that open, and the address without it.

    No scheme has a "+" in it, so the first one before the colon ends the name.
    """
    head, colon, tail = address.partition(":")
    name, plus, scheme = head.partition("+")
    return (name, f"{scheme}{colon}{tail}") if plus and colon else ("", address)
