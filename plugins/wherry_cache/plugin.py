"""Registers the caches ``disk`` and ``memory``. Light: SQLite is imported when a disk cache is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_cache.options import DiskOptions, MemoryOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cache import Cache
    from wherry.env import Env


def build_disk(options: DiskOptions, env: Env) -> Cache:
    """Opens the cache's folder, making it if need be."""
    from wherry_cache.disk import DiskCache

    return DiskCache(options.path or env.home / "cache", options.max_bytes)


def build_memory(options: MemoryOptions, env: Env) -> Cache:
    """Makes an empty cache."""
    del env
    from wherry_cache.memory import MemoryCache

    return MemoryCache(options.max_bytes)


@hookimpl
def wherry_register_caches() -> Iterable[Provider[Cache]]:
    """Offers ``disk`` and ``memory``."""
    return [
        provider(
            "disk", options=DiskOptions, build=build_disk, summary="blocks in a folder, shared by processes, kept between runs"
        ),
        provider("memory", options=MemoryOptions, build=build_memory, summary="blocks in memory, gone when the process ends"),
    ]
