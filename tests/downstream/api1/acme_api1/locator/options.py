"""The options of acme.locator, as written in ``wherry.toml`` under ``[locator."acme.locator"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from pathlib import Path

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the locator."""

    file: Path | None = option(None, help="the list of addresses; by default acme-locator/addresses.txt in wherry's home")
