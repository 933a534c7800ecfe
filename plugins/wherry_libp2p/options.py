"""The options of the ``libp2p`` transport, as written in configuration under ``[transport.libp2p]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is

from wherry.plugin import Duration, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Libp2pOptions:
    """Options of the ``libp2p`` transport."""

    python: Path | None = option(None, help="the interpreter that has py-libp2p installed, if not this one")
    start_timeout: Duration = option(Duration(60.0), help="how long its process may take to start and to test itself")
    connect_timeout: Duration = option(Duration(15.0), help="how long a connection may take to be made")
    idle_timeout: Duration = option(Duration(30.0), help="how long a peer, or the process, may be silent")
    connections: int = option(64, minimum=1, maximum=1024, help="connections of peers that are kept at a time")
    peer_wants: int = option(1024, minimum=1, maximum=65536, help="blocks that one peer may wait for at a time")
