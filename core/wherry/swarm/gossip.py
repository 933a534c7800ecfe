"""Peers that tell each other of further peers, and how little of it is believed (specs/0025 §5). Pure: times come in."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from wherry.address import ADDRESS, split_address
from wherry.dial import is_near
from wherry.limits import ADDRESS_CHARS_MAX, GOSSIP_ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIRST_S: Final = 0.1  # until a new peer is told first, then twice as long each time: a swarm begins with everybody knowing
#                      the seed only, and whoever knows nobody gives nothing
EARLY_S: Final = 1.0  # between two messages, at the most, while a peer is new
EARLY_UNTIL_S: Final = 10.0
LATER_S: Final = 30.0
PER_NETWORK: Final = 2  # addresses of one network (/24, /48) a minute: hearsay must not make this node knock at one door
_MINUTE_S: Final = 60.0
_PER_PEER: Final = 60  # addresses a minute that one peer may name: three messages
_KNOWN_MAX: Final = 1024  # addresses, networks and peers of the last minute that are remembered


class Told:
    """What one peer was told of others in one dataset."""

    __slots__ = ("_addresses", "_first", "_next", "_wait_s")

    def __init__(self, now: float) -> None:
        self._addresses: set[str] = set()
        self._first = now
        self._next = now + FIRST_S  # whoever comes at the same time is told of together
        self._wait_s = FIRST_S

    def due(self, now: float) -> bool:
        """Tells whether it is time to tell more."""
        return now >= self._next

    def news(self, addresses: Iterable[str], now: float) -> list[str]:
        """Gives those that it was not told of, as many as one message takes, and takes them for told."""
        fresh = []
        for address in addresses:
            if address not in self._addresses:
                fresh.append(address)
                if len(fresh) == GOSSIP_ADDRESSES_MAX:
                    break
        if len(self._addresses) + len(fresh) > _KNOWN_MAX:
            self._addresses.clear()
        self._addresses.update(fresh)
        self._wait_s = min(2 * self._wait_s, EARLY_S)
        self._next = now + (self._wait_s if now - self._first < EARLY_UNTIL_S else LATER_S)
        return fresh


class Hearsay:
    """What was heard of further peers: bounded, each once in a while, few of one network."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, float] = OrderedDict()  # address -> when it was passed on
        self._networks: dict[str, deque[float]] = {}
        self._by: dict[str, tuple[float, int]] = {}  # peer -> beginning of its minute, addresses that it named in it

    def heard(self, addresses: Sequence[str], by: str, own: Iterable[str], now: float, *, near: bool) -> list[str]:
        """Gives those of ``addresses``, named by the peer ``by``, that are worth a try; ``own`` are this node's.

        ``near``: the peer is on this machine or in a private network.
        """
        mine = set(own)
        kept = []
        for address in addresses[:GOSSIP_ADDRESSES_MAX]:
            if not self._allowed(by, now):
                break
            if address in mine or now - self._known.get(address, float("-inf")) < _MINUTE_S:
                continue
            if len(address) > ADDRESS_CHARS_MAX or ADDRESS.fullmatch(address) is None or split_address(address)[0]:
                continue
            if not (near if is_near(address) else self._few(address, now)):
                continue
            self._known.pop(address, None)
            if len(self._known) >= _KNOWN_MAX:
                self._known.popitem(last=False)
            self._known[address] = now
            kept.append(address)
        return kept

    def forget(self, by: str, now: float) -> None:
        """Forgets a peer that is gone, but not in its minute: coming again gives it no second one."""
        if now - self._by.get(by, (now, 0))[0] >= _MINUTE_S:
            del self._by[by]

    def _allowed(self, by: str, now: float) -> bool:
        began, count = self._by.get(by, (now, 0))
        if now - began >= _MINUTE_S:
            began, count = now, 0
        if by not in self._by and len(self._by) >= _KNOWN_MAX:
            self._by = {name: minute for name, minute in self._by.items() if now - minute[0] < _MINUTE_S}
            if len(self._by) >= _KNOWN_MAX:
                return False
        self._by[by] = (began, count + 1)
        return count < _PER_PEER

    def _few(self, address: str, now: float) -> bool:
        """Whether an address of the Internet may be dialled as far as its network goes.

        What lies in a private network is not counted so: there all peers are of one, and only those who are near themselves
        are heard of it. Whether it is dialled is for the address policy to judge (specs/0018 §4).
        """
        network = _network(address)
        times = self._networks.get(network)
        if times is None:
            if len(self._networks) >= _KNOWN_MAX:
                self._networks = {name: old for name, old in self._networks.items() if now - old[-1] < _MINUTE_S}
            if len(self._networks) >= _KNOWN_MAX:
                return False
            times = self._networks[network] = deque(maxlen=PER_NETWORK)
        if len(times) == PER_NETWORK and now - times[0] < _MINUTE_S:
            return False
        times.append(now)
        return True


def _network(address: str) -> str:
    """Gives the network of an address: /24 of IPv4, /48 of IPv6, or the host's name."""
    rest = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host = rest[1:].partition("]")[0] if rest.startswith("[") else rest.partition(":")[0]
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower()
    return str(ipaddress.ip_network(f"{ip}/{24 if ip.version == 4 else 48}", strict=False))
