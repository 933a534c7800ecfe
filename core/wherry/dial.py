"""Which machines may be dialled: the address policy, asked at each connect (specs/0001 T24; specs/0018 §4).

An address that the user wrote may lead anywhere. One that a stranger named (a tracker, a redirect) must not send this node
into its own network: there it would knock at doors that the stranger cannot reach. What counts is the resolved IP address at
the moment of connecting, so neither a name that resolves inwards nor one that changes its mind passes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wherry.address import multiaddr_host
from wherry.errors import DialDenied

if TYPE_CHECKING:
    from wherry.access import Gate

    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
# Where clouds give credentials to whoever asks from inside; link-local and private, and never a peer.
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")))


@dataclass(frozen=True, slots=True)
class Dial:
    """What may be dialled: "named", everything; "lan", also private and link-local networks; "public", the Internet only."""

    reach: Literal["named", "lan", "public"]

    def allows(self, ip: str) -> bool:
        """Tells whether a connection to ``ip`` (as text, resolved) may be made. False for what is no IP address."""
        if self.reach == "named":
            return True
        try:
            address = _plain(ipaddress.ip_address(ip.partition("%")[0]))
        except ValueError:
            return False
        if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_reserved:
            return False
        if address in _METADATA:
            return False
        return address.is_global or (self.reach == "lan" and (address.is_private or address.is_link_local))

    def check(self, ip: str, peer: str) -> None:
        """Raises DialDenied, naming ``peer``, unless `allows`."""
        if not self.allows(ip):
            where = "this machine or a private network" if self.reach == "public" else "this machine, or where no peer is"
            hint = "if you trust it, name it yourself with --from"
            raise DialDenied(f"{peer} was named by others and leads to {where} ({ip}); it is not dialled", peer=peer, hint=hint)

    def gated(self, gate: Gate) -> Dial:
        """Gives the same policy for a node that keeps some out: whom ``gate`` does not want is not dialled (specs/0029 §4)."""
        return _Gated(self.reach, self, gate)

    def onward(self, ip: str) -> Dial:
        """Gives the policy for where a peer at ``ip`` may send us on: to the Internet, or within its own kind of network.

        A server of the Internet that the user named must not reach into his network by a redirect; one of this machine may
        send us elsewhere on this machine, but to no other one of the private network.
        """
        return _Onward(self.reach, _network(ip))


@dataclass(frozen=True, slots=True)
class _Onward(Dial):
    """Where a redirect may lead."""

    network: Literal["loopback", "link-local", "private"] | None

    def allows(self, ip: str) -> bool:
        """See `Dial.allows`."""
        if not Dial.allows(self, ip):  # no super(): a dataclass with slots is another class than the one it was written as
            return False
        return PUBLIC.allows(ip) or (self.network is not None and _network(ip) == self.network)

    def check(self, ip: str, peer: str) -> None:
        """See `Dial.check`."""
        if not self.allows(ip):
            text = f"a redirect leads to {peer} ({ip}), nearer to this machine than it came from"
            raise DialDenied(text, peer=peer, hint="if you trust where it leads, name that yourself with --from")


@dataclass(frozen=True, slots=True)
class _Gated(Dial):
    """What may be dialled by a node that bans."""

    inner: Dial
    gate: Gate

    def allows(self, ip: str) -> bool:
        """See `Dial.allows`."""
        return self.inner.allows(ip) and not self.gate(ip, "")

    def check(self, ip: str, peer: str) -> None:
        """See `Dial.check`."""
        self.inner.check(ip, peer)
        if why := self.gate(ip, ""):
            raise DialDenied(
                f"{peer} ({ip}) {why}", peer=peer, hint="`wherry peers bans` lists who is, `wherry peers unban` ends it"
            )

    def onward(self, ip: str) -> Dial:
        """See `Dial.onward`."""
        return self.inner.onward(ip).gated(self.gate)


NAMED: Final = Dial("named")
LAN: Final = Dial("lan")
PUBLIC: Final = Dial("public")


def is_near(address: str) -> bool:
    """Tells whether an address of a transport, such as ``http://10.0.0.1:4290``, leads to this machine or a private network.

    Nothing is looked up: a name is far, but for ``localhost`` and those under ``.local`` (RFC 6762). An address without a host
    is a path of this machine. What is behind a scheme may be a multiaddr too, ``libp2p:/ip4/10.0.0.1/tcp/4001``.
    """
    rest = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host = rest[1:].partition("]")[0] if rest.startswith("[") else rest.partition(":")[0]
    host = host or multiaddr_host(address)
    if not host or host.lower() == "localhost" or host.lower().rstrip(".").endswith(".local"):
        return True
    try:
        ip = _plain(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False
    return ip.is_private or ip.is_loopback or ip.is_link_local


def network_of(ip: str) -> str:
    """Names the network that an IP address is in, for counting: its /24, or its /48 of IPv6; "" for what is no IP address.

    On this machine and in private networks each machine counts alone: there are few, and they are the user's own.
    """
    try:
        address = _plain(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return ""
    if address.is_private or address.is_loopback or address.is_link_local:
        return str(ipaddress.ip_network(address))
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _network(ip: str) -> Literal["loopback", "link-local", "private"] | None:
    """Tells what kind of network that is not the Internet ``ip`` is in; None for no such, and for what is no peer."""
    try:
        address = _plain(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return None
    if address.is_loopback:  # first: "::1" counts as reserved too
        return "loopback"
    if address in _METADATA or address.is_multicast or address.is_unspecified or address.is_reserved:
        return None
    if address.is_link_local:
        return "link-local"
    return "private" if address.is_private else None


def _plain(address: Address) -> Address:
    """Gives the IPv4 address that an IPv6 one stands for (mapped, NAT64, 6to4): ``is_global`` takes those for public."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return address
