"""The options of the transport ``libp2p`` and of the locator ``kademlia``, as written in configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is
from typing import Literal

from wherry.plugin import Duration, option

_BOOTSTRAP_MAX = 8  # all asked at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Libp2pOptions:
    """Options of the ``libp2p`` transport."""

    python: Path | None = option(None, help="the interpreter that has py-libp2p installed, if not this one")
    start_timeout: Duration = option(Duration(60.0), help="how long its process may take to start and to test itself")
    connect_timeout: Duration = option(Duration(15.0), help="how long a connection may take to be made")
    idle_timeout: Duration = option(Duration(30.0), help="how long a peer, or the process, may be silent")
    connections: int = option(64, minimum=1, maximum=1024, help="connections of peers that are kept at a time")
    peer_wants: int = option(1024, minimum=1, maximum=65536, help="blocks that one peer may wait for at a time")


@dataclass(frozen=True, slots=True, kw_only=True)
class KademliaOptions:
    """Options of the locator ``kademlia``."""

    bootstrap: tuple[str, ...] = option((), help="peers of the DHT to begin with, as /ip4/HOST/tcp/PORT/p2p/PEER; nobody else")
    network: Literal["auto", "wan", "lan"] = option(
        "auto",
        help="which of the two DHTs that such peers keep is asked: wan of the Internet, lan of a private network; auto: lan if "
        "all of bootstrap are on the own network",
    )
    reach: Literal["auto", "named", "lan", "public"] = option(
        "auto",
        help="where peers that it names may be: anywhere (all of it is yours and you trust it), also on the own network, or on "
        "the Internet only; auto: public, or lan if all of bootstrap are on the own network",
    )
    timeout: Duration = option(
        Duration(20.0), minimum=1.0, maximum=60.0, help="how long a search may take, the start of its process included"
    )
    peers: int = option(60, minimum=1, maximum=200, help="peers of the DHT that one search may connect to")
    python: Path | None = option(None, help="the interpreter that has py-libp2p installed, if not this one")

    def __post_init__(self) -> None:
        """Checks what the types do not."""
        from wherry.errors import UsageError
        from wherry_libp2p.places import parse_place  # every start reads this file, and few configure this

        if len(self.bootstrap) > _BOOTSTRAP_MAX:
            raise ValueError(f"bootstrap: at most {_BOOTSTRAP_MAX}")
        for address in self.bootstrap:
            try:
                place = parse_place(address)
            except UsageError as problem:
                raise ValueError(f"bootstrap: {problem.message}") from problem
            if not place.peer or not place.port:
                raise ValueError(f"bootstrap: {address!a} names no peer and port")
