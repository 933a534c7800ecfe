"""Addresses: ``libp2p:`` and a multiaddr of a TCP endpoint (specs/0035 §2)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.multibase import decode_base58

if TYPE_CHECKING:
    from collections.abc import Sequence

_PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,64}", re.ASCII)
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.ASCII | re.IGNORECASE
)
_KINDS: Final = ("ip4", "ip6", "dns", "dns4", "dns6")
_FORM: Final = "write libp2p:/ip4/HOST/tcp/PORT/p2p/PEER"
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
    """Reads an address. Raises UsageError, with what is wrong in it and the form that is taken."""
    if len(address) > ADDRESS_CHARS_MAX:
        raise UsageError("the address is too long", hint=_FORM)
    parts = address.removeprefix("libp2p:").removesuffix("/").split("/")
    if why := _wrong(parts):
        raise UsageError(f"{address!a} is not the address of a libp2p peer over TCP: {why}", hint=_FORM)
    return Place(parts[1], parts[2], int(parts[4]), parts[6] if len(parts) == 7 else "")


def _wrong(parts: Sequence[str]) -> str:
    """Says what is wrong with the parts of a multiaddr; "" if nothing is."""
    kind, host, over, port = (*parts[1:5], "", "", "", "")[:4]
    if parts[0] or kind not in _KINDS:
        return f"it begins with none of {', '.join(f'/{one}/' for one in _KINDS)}"
    if not _right(kind, host):
        return f"{host!a} is no {'IP address of version ' + kind[2:] if kind.startswith('ip') else 'host name'}"
    if over == "udp":
        return "QUIC and all else over UDP is not spoken"
    if over != "tcp":
        return "/tcp/PORT must follow the host"
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        return f"{port!a} is no port"
    if len(parts) > 5 and parts[5] != "p2p":
        return f"/{parts[5]} is not spoken"
    if len(parts) == 6 or (len(parts) > 6 and not _is_peer(parts[6])):
        return f"{''.join(parts[6:7])!a} is no peer id in base 58, such as 12D3KooW..."
    return "" if len(parts) in (5, 7) else f"/{parts[7]} is not spoken: no relay is"


def _is_peer(text: str) -> bool:
    """Whether a text is a peer id: a multihash, of a key or the key itself."""
    if not _PEER.fullmatch(text):
        return False
    raw = decode_base58(text)
    return raw[1:2] == bytes((len(raw) - 2,)) and (raw[:2] == b"\x12\x20" or raw[:1] == b"\0")


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
