"""Limits of single peers: who is meant, and how a line of the configuration says it (specs/0026 §1.2). Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from wherry.errors import UsageError
from wherry.limits import FLOW_PEER_LIMITS_MAX
from wherry.units import parse_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(r"[A-Za-z0-9._:%-]{1,255}", re.ASCII)
_LINE: Final = re.compile(
    r"(?P<peer>\S+)(?:\s+up\s+(?P<up>[0-9.]+\s*[a-z/]*))?(?:\s+down\s+(?P<down>[0-9.]+\s*[a-z/]*))?", re.ASCII | re.IGNORECASE
)
_FORM: Final = 'such as "192.0.2.7 up 2 MB/s down 5 MB/s": a peer id or a host, then up, down or both'


def peer_name(text: str) -> str:
    """Gives the usual form of a peer's name for limits: its id, or its host without a port. Raises UsageError.

    An IPv4 address mapped into IPv6 is the IPv4 address.
    """
    name = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not _NAME.fullmatch(name):
        raise UsageError(f"{text[:80]!r} names no peer", hint="write a peer id, an IP address or a host name, without a port")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if ":" in name:
            raise UsageError(f"{text[:80]!r} names no peer", hint="leave out the port: a limit holds for a host") from None
        return name.lower() if "." in name else name  # a peer id is written in letters of both cases
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def host_of(address: str) -> str:
    """Gives the name for limits of whoever is dialled at ``address``: its host, or the whole of it where it has none."""
    rest = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host = rest.partition("]")[0].removeprefix("[") if rest.startswith("[") else rest.partition(":")[0]
    try:
        return peer_name(host)
    except UsageError:
        return address


def read_peer_limits(lines: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Reads ``PEER [up RATE] [down RATE]`` for each peer. Raises UsageError, which tells the line."""
    check_count(len(lines))
    found: dict[str, tuple[float | None, float | None]] = {}
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match is None or (match["up"] is None and match["down"] is None):
            raise UsageError(f"{line[:160]!r} limits no peer, {_FORM}")
        name = peer_name(match["peer"])
        if name in found:
            raise UsageError(f"the peer {name} has two lines", hint="write both directions in one")
        try:
            up, down = (None if text is None else parse_rate(text) for text in (match["up"], match["down"]))
        except ValueError as problem:
            raise UsageError(f"{line[:160]!r}: {problem}") from problem
        found[name] = up, down
    return found


def check_count(count: int) -> None:
    """Raises UsageError for more limits of single peers than there may be."""
    if count > FLOW_PEER_LIMITS_MAX:
        raise UsageError(
            f"limits for {count} single peers are too many, at most {FLOW_PEER_LIMITS_MAX}",
            hint="limit each peer (`peer_up`, `peer_down`), or the node",
        )
