"""The options of acme.observer, as written in ``wherry.toml`` under ``[observer."acme.observer"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from pathlib import Path

from wherry.plugin import Duration, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the observer."""

    file: Path | None = option(None, help="where the counts are; by default acme-observer/counts.json in wherry's home")
    every: Duration = option(Duration(10.0), help="how often it is written while something happens", minimum=0)
