"""Addresses: ``libp2p:`` and a multiaddr of a TCP endpoint (specs/0035 §2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.multibase import decode_base58

_PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,64}", re.ASCII)
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.ASCII | re.IGNORECASE
)
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
# Numbers of the binary form: https://github.com/multiformats/multicodec
_IPS: Final = {0x04: 4, 0x29: 16}  # and the bytes of the address
_NAMES: Final = {0x35: "dns", 0x36: "dns4", 0x37: "dns6"}
_TCP: Final = b"\x06"
_P2P: Final = b"\xa5\x03"
_BINARY_BYTES_MAX: Final = 192  # a name of 127 bytes, and what follows


class Place(NamedTuple):
    """A TCP endpoint where libp2p is spoken."""

    kind: str  # ip4, ip6, dns, dns4, dns6
    host: str
    port: int
    peer: str  # base58; "" if not said

    def multiaddr(self, ip: str | None = None) -> str:
        """Writes it as a multiaddr, with ``ip`` for its host if a name was resolved."""
        kind, host = (self.kind, self.host) if ip is None else (f"ip{ipaddress.ip_address(ip).version}", ip)
        return f"/{kind}/{host}/tcp/{self.port}" + (f"/p2p/{self.peer}" if self.peer else "")


def parse_place(address: str) -> Place:
    """Reads an address. Raises UsageError, with the form that is taken."""
    hint = "write libp2p:/ip4/HOST/tcp/PORT/p2p/PEER"
    if len(address) > ADDRESS_CHARS_MAX:
        raise UsageError("the address is too long", hint=hint)
    parts = address.removeprefix("libp2p:").removesuffix("/").split("/")
    if len(parts) in (5, 7) and parts[0] == "" and parts[3] == "tcp":
        kind, host, port = parts[1], parts[2], parts[4]
        peer = parts[6] if len(parts) == 7 and parts[5] == "p2p" else ""
        right = _right(kind, host) and _PORT.fullmatch(port) and int(port) < 65_536
        if right and (len(parts) == 5 or _PEER.fullmatch(peer)):
            return Place(kind, host, int(port), peer)
    raise UsageError(f"{address!a} is not the address of a libp2p peer over TCP", hint=hint)


def place_of(data: bytes, peer: str) -> Place | None:
    """Reads a multiaddr in its binary form, of the peer ``peer``; None unless it is of a TCP endpoint, and of no other peer."""
    kind, host, at = "", "", 0
    if len(data) > _BINARY_BYTES_MAX or not data:
        return None
    if (size := _IPS.get(data[0])) is not None:
        at = 1 + size
        if len(data) < at:
            return None
        ip = ipaddress.ip_address(data[1:at])
        kind, host = f"ip{ip.version}", str(ip)
    elif (name := _NAMES.get(data[0])) is not None and len(data) > 1 and data[1] < 0x80:
        at = 2 + data[1]
        kind, host = name, data[2:at].decode("ascii", "replace").lower()
        if len(data) < at or not _right(kind, host):
            return None
    port = int.from_bytes(data[at + 1 : at + 3], "big")
    end = data[at + 3 :]
    if not kind or data[at : at + 1] != _TCP or len(data) < at + 3 or not port:
        return None
    own = decode_base58(peer)
    if end and end != _P2P + bytes((len(own),)) + own:
        return None
    return Place(kind, host, port, peer)


def _right(kind: str, host: str) -> bool:
    if kind in ("dns", "dns4", "dns6"):
        return _HOST.fullmatch(host) is not None
    try:
        if kind == "ip4":
            ipaddress.IPv4Address(host)
        else:
            return kind == "ip6" and "%" not in host and ipaddress.IPv6Address(host) is not None
    except ValueError:
        return False
    return True
