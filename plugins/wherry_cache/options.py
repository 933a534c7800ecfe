"""The options of the caches, as written in configuration under ``[cache.disk]`` and ``[cache.memory]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from pathlib import Path

from wherry.plugin import Size, option
from wherry.units import GiB, MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """Options of the ``disk`` cache."""

    path: Path | None = option(None, help="the folder; not set: cache, in wherry's home")
    max_bytes: Size = option(Size(10 * GiB), help="bytes of blocks to keep; the least recently used go first", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """Options of the ``memory`` cache."""

    max_bytes: Size = option(Size(64 * MiB), help="bytes of blocks to keep; the least recently used go first", minimum=0)
