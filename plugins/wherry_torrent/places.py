"""Where peers and web seeds are: addresses that nobody may have, and servers that have a name (specs/0036 §10, §11)."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Peer: TypeAlias = tuple[str, int]  # IP address and port

_PORTS: Final = {"http": 80, "https": 443}
_NOWHERE: Final = (  # no peer is there that a stranger could name: this host's own network, clouds' credentials, multicast
    ("0.0.0.0", "0.255.255.255"),  # noqa: S104 - kept out, and not listened on
    ("169.254.0.0", "169.254.255.255"), ("224.0.0.0", "255.255.255.255"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::", "::"), ("fd00:ec2::254", "fd00:ec2::254"),
)  # fmt: skip


def kept_out(lt: Any, named: Sequence[str]) -> Any:
    """Gives the filter of addresses that no peer, tracker or web seed may have, but for those that the user ``named``."""
    found = lt.ip_filter()
    for first, last in _NOWHERE:
        found.add_rule(first, last, 1)
    for ip in named:
        found.add_rule(ip, ip, 0)
    return found


def endpoint(alert: Any) -> Peer:
    """Gives the peer of an alert of libtorrent's."""
    host, port = getattr(alert, "endpoint", None) or alert.ip
    return str(host), int(port)


def shown(host: str, port: int) -> str:
    """Gives HOST:PORT, or [IPV6]:PORT."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server(address: str) -> Peer:
    """Gives host, which may be a name, and port of a web seed; port 0 if it is no address."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return address, 0


def literal(host: str) -> str | None:
    """Gives the IP address that a host is, as libtorrent writes it; None if it is a name."""
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return None


class Lookup:
    """Looks up where servers with names are, beside whatever else is done: nobody waits for it, and it may find nothing."""

    def __init__(self, webseeds: Sequence[str]) -> None:
        names = list(dict.fromkeys(found for found in map(server, webseeds) if literal(found[0]) is None))
        self._found: SimpleQueue[tuple[Peer, set[Peer]]] = SimpleQueue()
        if names:
            threading.Thread(target=self._run, args=(names,), daemon=True).start()

    def _run(self, names: Sequence[Peer]) -> None:
        for host, port in names:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):  # libtorrent will not find it either
                continue
            self._found.put(((host, port), {(ip, port) for each in found if (ip := literal(str(each[4][0]))) is not None}))

    def news(self) -> Iterator[tuple[Peer, set[Peer]]]:
        """Gives servers, and where they are, each once."""
        while True:
            try:
                yield self._found.get_nowait()
            except Empty:
                return
