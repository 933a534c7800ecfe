"""Registers the caches ``disk``, ``memory`` and ``tiered``. Light: SQLite is imported when a disk cache is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_cache.options import DiskOptions, MemoryOptions, TieredOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cache import Cache
    from wherry.env import Env


def build_disk(options: DiskOptions, env: Env) -> Cache:
    """Opens the cache's folder, making it if need be."""
    from wherry_cache.disk import DiskCache

    return DiskCache(
        options.path or env.home / "cache",
        options.max_bytes,
        ttl=options.ttl,
        min_free=options.min_free,
        eviction=options.eviction,
    )


def build_memory(options: MemoryOptions, env: Env) -> Cache:
    """Makes an empty cache."""
    del env
    from wherry_cache.memory import MemoryCache

    return MemoryCache(options.max_bytes, ttl=options.ttl, eviction=options.eviction)


def build_tiered(options: TieredOptions, env: Env) -> Cache:
    """Builds both caches by their names. Raises ConfigError where the place that wants it builds no others."""
    from wherry.errors import ConfigError
    from wherry_cache.tiered import TieredCache

    if env.cache is None:
        raise ConfigError("the cache tiered cannot be made here: it is made of two others, and nobody builds them")
    over = env.cache(options.over)
    try:
        return TieredCache(over, env.cache(options.under))
    except BaseException:
        over.close()
        raise


@hookimpl
def wherry_register_caches() -> Iterable[Provider[Cache]]:
    """Offers ``disk``, ``memory`` and ``tiered``."""
    return [
        provider(
            "disk", options=DiskOptions, build=build_disk, summary="blocks in a folder, shared by processes, kept between runs"
        ),
        provider("memory", options=MemoryOptions, build=build_memory, summary="blocks in memory, gone when the process ends"),
        provider("tiered", options=TieredOptions, build=build_tiered, summary="a fast cache over a large one"),
    ]
