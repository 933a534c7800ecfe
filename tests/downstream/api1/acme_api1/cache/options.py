"""The options of acme.cache, as written in ``wherry.toml`` under ``[cache."acme.cache"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import Size, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the cache. `wherry plugins check` sets ``max_bytes``: keep its name."""

    max_bytes: Size = option(Size(256 << 20), help="bytes of blocks to keep", minimum=0)
