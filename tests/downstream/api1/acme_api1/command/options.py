"""The options of acme.command, as written in ``wherry.toml`` under ``[command."acme.command"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the command."""

    rows: int = option(50, help="how many are shown at most", minimum=1)
