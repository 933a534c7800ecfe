"""The options of acme.compressor, as written in ``wherry.toml`` under ``[compressor."acme.compressor"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the compressor."""

    level: int = option(1, help="from 1, the fastest, to 9, the densest", minimum=1, maximum=9)
