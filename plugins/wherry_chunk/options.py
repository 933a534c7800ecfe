"""The options of the ``fastcdc`` chunker, as written in configuration under ``[chunker.fastcdc]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from typing import Final

from wherry.plugin import Size, option
from wherry.units import KiB, MiB

SIZE_CHOICES: Final = (256 * KiB, 64 * KiB, 1 * MiB)  # the first is the default; 4 MiB, the limit of a leaf, is 4 of the last


@dataclass(frozen=True, slots=True, kw_only=True)
class FastcdcOptions:
    """Options of the chunker ``fastcdc``."""

    size: Size = option(
        Size(SIZE_CHOICES[0]),
        help="bytes that most leaves are near; none has more than four times as many, only a file's last less than a quarter",
        choices=SIZE_CHOICES,
    )
