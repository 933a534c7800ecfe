"""The options of the compressors, as written in configuration under ``[compressor.zstd]`` and ``[compressor.lz4]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from pathlib import Path

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ZstdOptions:
    """Options of ``zstd``."""

    level: int = option(
        3, minimum=1, maximum=19, help="from 1, fast, to 19, dense; above 9 a block of 4 MiB takes 50 MB of memory to code"
    )
    dictionary: Path | None = option(
        None, help="a trained dictionary (zstd --train), for many small blocks that are alike; every reader needs the same one"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lz4Options:
    """Options of ``lz4``."""

    level: int = option(1, minimum=1, maximum=12, help="1 is fast; from 3 on it is dense and slow (LZ4 HC)")
