"""The options of the policies, as written in configuration under ``[policy.NAME]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationOptions:
    """Options of the policy ``reputation``."""

    poor: float = option(
        0.25, minimum=0.0, maximum=1.0, help="peers whose score is below this are asked only for what no better one can give"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """No options."""
