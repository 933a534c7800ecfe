"""Hosts to listen on: which are this machine's own, and what others would call it. For transports that listen."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Tells whether only this machine itself can dial ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable(host: str) -> str:
    """Gives, for "all addresses", the one that this machine uses towards others; asks the routing table, sends nothing."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104  # recognised, not bound
        return host
    family, beyond = (socket.AF_INET, "192.0.2.1") if host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")  # noqa: S104  # as above
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((beyond, 9))
            found: str = probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return found
