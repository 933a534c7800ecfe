"""The options of the caches, as written in configuration under ``[cache.disk]``, ``[cache.memory]`` and ``[cache.tiered]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wherry.plugin import Duration, Size, option
from wherry.units import GiB, MiB

_TTL = "forget blocks that were not used for so long; 0: never"
_EVICTION = "what goes first when it is full: lru, the least recently used; 2q, what was used once, so that scans sweep nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """Options of the ``disk`` cache."""

    path: Path | None = option(None, help="the folder; not set: cache, in wherry's home")
    max_bytes: Size = option(Size(10 * GiB), help="bytes of blocks to keep, as coded", minimum=0)
    min_free: Size = option(Size(0), help="bytes to leave free on the disk: it forgets, or keeps nothing more", minimum=0)
    ttl: Duration = option(Duration(0.0), help=_TTL, minimum=0)
    eviction: Literal["lru", "2q"] = option("lru", help=_EVICTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """Options of the ``memory`` cache."""

    # Small, so that a process with this cache stays within 100 MB (specs/0023 §2); whoever gives it more knows what for.
    max_bytes: Size = option(Size(8 * MiB), help="bytes of blocks to keep, as coded", minimum=0)
    ttl: Duration = option(Duration(0.0), help=_TTL, minimum=0)
    eviction: Literal["lru", "2q"] = option("lru", help=_EVICTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class TieredOptions:
    """Options of the ``tiered`` cache."""

    over: str = option("memory", help="the cache that is asked first: the name of an instance")
    under: str = option("disk", help="the cache that keeps everything: the name of an instance")

    def __post_init__(self) -> None:
        if self.over == self.under:
            raise ValueError(f"over and under are both {self.over!r}; name two caches")
