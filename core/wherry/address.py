"""How the address of a source is written: ``SCHEME:...``, or ``NAME+SCHEME:...`` for a certain transport (specs/0006 §3.1).

Users, tickets, locators and configuration files all write addresses, so what one of them takes the others take too.
"""

from __future__ import annotations

import re
from typing import Final

from wherry.errors import UsageError
from wherry.redaction import masked, user_of

# Printable ASCII without spaces behind the scheme; NAME is what an instance may be called (specs/0007 §2).
ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}\+)?[a-z][a-z0-9+.-]*:[\x21-\x7e]+", re.ASCII)

# Schemes that have no user, where people write a token in its place. Others may have one: tcps a peer id, ssh a name.
_NO_USER: Final = frozenset({"http", "https", "s3", "tcp"})
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


def without_user(address: str) -> str:
    """Gives ``address`` if it has neither a password nor a user that cannot be one. Addresses are kept and shown: no secret
    belongs there. Raises UsageError, which does not repeat it.
    """
    scheme = split_address(address)[1].partition(":")[0].lower()
    start, end = user_of(address)
    if end > start and (scheme in _NO_USER or ":" in address[start:end]):
        hint = "write it without; a token is an option: --token-file, or token_file of the transport"
        raise UsageError(f"address {masked(address)!r}: an address has no user and no password", hint=hint)
    return address


def split_address(address: str) -> tuple[str, str]:
    """Gives the name of the transport that an address asks for, "" if it leaves that open, and the address without it.

    No scheme has a "+" in it, so the first one before the colon ends the name.
    """
    head, colon, tail = address.partition(":")
    name, plus, scheme = head.partition("+")
    return (name, f"{scheme}{colon}{tail}") if plus and colon else ("", address)
