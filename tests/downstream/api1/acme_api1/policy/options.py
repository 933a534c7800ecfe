"""The options of acme.policy, as written in ``wherry.toml`` under ``[policy."acme.policy"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import Size, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the policy."""

    newcomer_rate: Size = option(Size(16 << 20), help="bytes a second that a peer is thought to give until it has", minimum=1)
