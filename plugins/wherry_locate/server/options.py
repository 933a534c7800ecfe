"""What a tracker allows: its bounds, each with its reason (specs/0028 §4)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from wherry.errors import UsageError
from wherry_locate.server.vouched import plain_ip

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerServerOptions:
    """How one tracker is run. Times in seconds."""

    allow_public: bool = False  # listen on an address that others can reach
    reach: Literal["auto", "named", "lan", "public"] = "auto"  # whom it lists; auto: by the address that it listens on
    proxies: tuple[str, ...] = ()  # IP addresses of front servers whose X-Forwarded-For is believed
    tls_cert: Path | None = None
    tls_key: Path | None = None

    ttl_s: float = 1800.0  # where an announcement does not say; half an hour, as BitTorrent trackers have it
    ttl_s_min: float = 60.0  # shorter ones would only be load
    ttl_s_max: float = 86_400.0  # who does not renew within a day is gone
    skew_s_behind: float = 600.0  # an announcement that is older is refused: it may be a copy
    skew_s_ahead: float = 120.0  # likewise one from the future: it would lock its node out until then

    answer_peers: int = 20  # in an answer: what a node keeps (HEARSAY_MAX), and more would make a weapon of it
    records_max: int = 1_000_000  # (CID, node) pairs in all: 150 MB of disk
    places_max: int = 100_000  # nodes in all, each at one set of addresses
    places_per_peer: int = 8  # processes of one node, or networks that it moves between
    places_per_network: int = 256  # nodes in a /24 or /48: one attacker has one of these
    records_per_place: int = 10_000  # datasets of one node
    records_per_network: int = 100_000
    records_per_cid: int = 256  # of which an answer is a sample
    records_per_cid_and_network: int = 16  # so that one network cannot crowd a dataset's list

    names_max: int = 50_000  # records of IPNS names, each of at most 10 KiB; usual ones take 500 bytes
    names_per_network: int = 1000  # keys cost nothing, networks do
    names_s_max: float = 7 * 86_400.0  # one that is not put again is forgotten then, however long it says that it is valid
    # Whether pages of browsers may ask. None: they may read, as the public specification has it, where all the Internet may;
    # on loopback and in a private network a page could use its visitor to look where it cannot reach itself.
    web_pages: bool | None = None

    announces_per_minute: float = 60.0  # of one IP address: 60,000 CIDs
    queries_per_minute: float = 600.0
    connections_max: int = 1024
    connections_per_ip: int = 32
    requests_max: int = 256  # at a time; beyond, 503
    keepalive_s: float = 15.0  # also the deadline for a request's header: aiohttp has no other
    body_s: float = 10.0  # for 128 KB
    sweep_s: float = 60.0  # between two removals of what has expired

    def __post_init__(self) -> None:
        """Takes each proxy in the one form in which peers are seen. Raises UsageError: a name would never be met, unsaid."""
        object.__setattr__(self, "proxies", tuple([_address(text) for text in self.proxies]))


def _address(text: str) -> str:
    try:
        return plain_ip(str(ip_address(text)))
    except ValueError as problem:
        raise UsageError(
            f"the proxy {text!r} is no IP address", hint="write --proxy IP, once for each front server"
        ) from problem
