"""Registers the cache acme.cache. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.cache.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cache import Cache
    from wherry.env import Env


def build(options: Options, env: Env) -> Cache:
    """Makes the cache. One that keeps files keeps them in ``env.home / "acme-cache"``."""
    del env
    from acme_api1.cache.cache import LruCache

    return LruCache(options.max_bytes)


@hookimpl
def wherry_register_caches() -> Iterable[Provider[Cache]]:
    """Offers ``acme.cache``."""
    return [provider("acme.cache", options=Options, build=build, summary="blocks in memory, by least recent use", api=1)]
