"""The options of acme.transport, as written in ``wherry.toml`` under ``[transport."acme.transport"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import Duration, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the transport."""

    connect_timeout: Duration = option(Duration(10.0), help="how long a connection may take to be made", minimum=0.1)
    idle_timeout: Duration = option(Duration(30.0), help="a peer that sends nothing for so long is given up", minimum=0.1)
    connections: int = option(4, help="connections to one source", minimum=1, maximum=64)
