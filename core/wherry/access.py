"""Who is kept out and who is let in: rules for keys, networks and addresses (specs/0029 §4). Pure: times come in.

Of several rules that fit a peer, the nearest one decides: that of its proven key, then that of the address that is dialled,
then that of the smallest network around it. So one key is let in from a banned network, and banning every network but a few
is a list of those who may come.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from wherry.address import without_multiaddr
from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX, BAN_S_MAX, PEER_ID_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

Gate: TypeAlias = Callable[[str, str], str]  # an IP address as text, a proven peer id or "" -> why not; "" if it is wanted

_KEY: Final = re.compile(rf"[A-Za-z0-9_-]{{16,{PEER_ID_CHARS_MAX}}}", re.ASCII)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/?#@]+)(:[0-9]{1,5})?", re.ASCII)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9.+-]*", re.ASCII)
_HOST_BITS: Final = {4: 32, 6: 64}  # one customer, as far as can be told, has a whole /64 of IPv6 (RFC 6177)
_AROUND_BITS: Final = {4: 24, 6: 48}  # and one organisation a /24, or a /48
_SANE_S: Final = 1_735_689_600.0  # 2025-01-01: a clock before wherry was written is one that was never set


def anybody(ip: str, peer_id: str) -> str:
    """Keeps nobody out."""
    del ip, peer_id
    return ""


class Subject(NamedTuple):
    """Whom a rule is about, in the one form in which it is kept."""

    kind: Literal["key", "network", "address"]
    text: str  # a peer id; a network such as 10.0.0.0/8; an address without path, such as http://10.0.0.1:4290


class Rule(NamedTuple):
    """A ban, or leave."""

    subject: Subject
    allow: bool
    since: float  # seconds since 1970
    lasts_s: float | None  # None: until it is taken back
    why: str
    by: Literal["user", "wherry"]


def ip_of(text: str) -> Address | None:
    """Reads an IP address, without its zone; an IPv4 address mapped into IPv6 is the IPv4 one. None: it is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def around(host: str) -> str:
    """Names the network that ``host`` is taken to share with its neighbours: /24, or /48 of IPv6; a name stands for itself."""
    address = ip_of(host.strip("[]"))
    if address is None:
        return host.lower()
    return str(ipaddress.ip_network((address, _AROUND_BITS[address.version]), strict=False))


def place_of(address: str) -> str:
    """Gives ``scheme://host[:port]`` of an address of a transport; "" for one without a host, such as a file's.

    What may hold a secret or names content (user, path, query) is left out, and ``NAME+`` before it. A multiaddr behind a
    scheme, ``libp2p:/ip4/10.0.0.1/tcp/4001/p2p/PEER``, is the same place: ``libp2p://10.0.0.1:4001``.
    """
    scheme, colon, rest = without_multiaddr(address).partition("://")
    scheme = scheme.rpartition("+")[2].lower()
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].lower()
    if not colon or len(address) > ADDRESS_CHARS_MAX or not _SCHEME.fullmatch(scheme) or not _HOST.fullmatch(host):
        return ""
    return f"{scheme}://{host}"


def host_of(place: str) -> str:
    """Gives the host of a place, without brackets; "" if there is none."""
    found = _HOST.fullmatch(place.partition("://")[2])
    return found[1].strip("[]") if found else ""


def key_of(scheme: str, *, peer_id: str = "", address: str = "", ip: str = "") -> str:
    """Names a peer for what is remembered of it: its proven id; else where it was dialled, or whence it came.

    "": it is nobody that can be told from others, such as a process at a Unix socket.
    """
    if peer_id:
        return peer_id if len(peer_id) <= PEER_ID_CHARS_MAX else ""
    if place := place_of(address):
        return place
    found = ip_of(ip)
    return f"{scheme}://{f'[{found}]' if found.version == 6 else found}" if found is not None else ""


def is_proven(key: str) -> bool:
    """Tells whether a name that `key_of` gave is a proven id."""
    return bool(key) and "://" not in key


def subject_of(text: str) -> Subject:
    """Reads what a user calls a peer: a key, an IP address or a network, an address of a transport. Raises UsageError.

    A single IPv6 address stands for its /64, for one machine changes it at will; write /128 to mean the one.
    """
    text = text.strip()
    if text.startswith(("/ip4/", "/ip6/", "/dns")):  # as `--from` takes it, too
        text = "libp2p:" + text
    hint = "write a peer's id, an IP address, a network such as 10.0.0.0/8, or an address such as http://10.0.0.1:4290"
    if "://" in without_multiaddr(text):
        place = place_of(text)
        if place:
            return Subject("address", place)
    elif (address := ip_of(text.strip("[]"))) is not None:
        return Subject("network", str(ipaddress.ip_network((address, _HOST_BITS[address.version]), strict=False)))
    elif "/" in text:
        try:
            return Subject("network", str(_plain(ipaddress.ip_network(text, strict=False))))
        except ValueError:
            raise UsageError(f"{text!r} is no network", hint=hint) from None
    elif _KEY.fullmatch(text):
        return Subject("key", text)
    raise UsageError(f"{text!r} names no peer", hint=hint)


def _plain(network: Network) -> Network:
    """Gives the IPv4 network that is mapped into one of IPv6."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)
    return network


def remaining(rule: Rule, wall: float) -> float:
    """Gives the seconds that a rule holds yet, by a clock that may be wrong: from 0 to all that it was to last.

    A clock that was set back, or never set, makes a ban last its whole time anew from now, and not longer; so none is
    eternal. One that stands ahead of the time of writing by more than the ban lasts has ended it.
    """
    if rule.lasts_s is None:
        return math.inf
    lasts = min(max(0.0, rule.lasts_s), BAN_S_MAX)
    if not rule.since >= _SANE_S or not wall >= rule.since:  # also for what is no number
        return lasts
    return max(0.0, lasts - (wall - rule.since))


class Rules:
    """Rules to be asked, each with the time of a steady clock at which it ends. One thread adds; any ask."""

    def __init__(self, rules: Iterable[tuple[Rule, float]] = ()) -> None:
        self._named: dict[Subject, tuple[Rule, float]] = {}
        # By version, and then by length of the prefix, the longest first: prefix -> rule
        self._networks: dict[int, dict[int, dict[int, tuple[Rule, float]]]] = {4: {}, 6: {}}
        for rule, ends in rules:
            self.add(rule, ends)

    def add(self, rule: Rule, ends: float) -> None:
        """Takes a rule, instead of any about the same."""
        if rule.subject.kind != "network":
            self._named[rule.subject] = rule, ends
            return
        network = ipaddress.ip_network(rule.subject.text)
        prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found = self._networks[network.version]
        if network.prefixlen not in found:
            self._networks[network.version] = found = dict(sorted([*found.items(), (network.prefixlen, {})], reverse=True))
        found[network.prefixlen][prefix] = rule, ends

    def decisive(self, now: float, *, peer_id: str = "", address: str = "", ip: str = "") -> tuple[Rule, float] | None:
        """Gives the rule that decides about a peer, and the seconds that it holds yet; None: there is none."""
        for rule, ends in self._fitting(peer_id, address, ip):
            if ends > now:
                return rule, ends - now
        return None

    def _fitting(self, peer_id: str, address: str, ip: str) -> Iterable[tuple[Rule, float]]:
        """Gives the rules that are about a peer, the nearest first."""
        named = self._named
        if named and peer_id and (found := named.get(Subject("key", peer_id))) is not None:
            yield found
        place = place_of(address) if address and (named or not ip) else ""
        if place and (found := named.get(Subject("address", place))) is not None:
            yield found
        where = ip_of(ip or host_of(place)) if any(self._networks.values()) else None
        if where is not None:
            for bits, prefixes in self._networks[where.version].items():
                if (found := prefixes.get(int(where) >> (where.max_prefixlen - bits))) is not None:
                    yield found

    def __len__(self) -> int:
        return len(self._named) + sum(len(prefixes) for found in self._networks.values() for prefixes in found.values())
