"""Addresses of the ``http`` transport: what they may look like, and which are this machine's own."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from yarl import URL

from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX

_SCHEMES: Final = ("http", "https")


def parse_base(address: str) -> URL:
    """Reads ``http://HOST:PORT``. Raises UsageError, which does not repeat what may be a password."""
    if len(address) > ADDRESS_CHARS_MAX:
        raise UsageError(f"an address has at most {ADDRESS_CHARS_MAX} characters")
    if "@" in address:
        raise UsageError("an address has no user and no password", hint="write http://HOST:PORT; a token is an option")
    try:
        base = URL(address)
        base.port  # noqa: B018  # reading it checks it
    except ValueError as problem:
        raise UsageError(f"address {address!r}: {problem}", hint="write http://HOST:PORT") from problem
    if base.scheme not in _SCHEMES or not base.host or base.path not in ("", "/") or base.query_string or base.fragment:
        hint = "write http://HOST:PORT; for files on a plain web server, web+https://HOST/PATH/"
        raise UsageError(f"address {address!r} is not of the form http://HOST:PORT", hint=hint)
    return base.with_path("/")


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
