"""The options of acme.chunker, as written in ``wherry.toml`` under ``[chunker."acme.chunker"]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from typing import Final

from wherry.plugin import Size, option

SIZE_CHOICES: Final = (1 << 20, 64 << 10, 256 << 10)  # the first is the default


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the chunker. ``add --chunker acme.chunker:256KiB`` sets ``size``: keep its name."""

    size: Size = option(Size(SIZE_CHOICES[0]), help="bytes after which the next end of a line is a cut", choices=SIZE_CHOICES)
