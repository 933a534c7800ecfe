"""``boundary``: what it costs that a part is a plugin. Plugins are chosen once, at wiring; a call goes straight to the part."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

from wherry.block import named
from wherry.cid import RAW
from wherry.config import Config, load, resolve
from wherry.env import Env
from wherry.plugin.manager import Manager
from wherry.units import MiB
from wherry_cache.memory import MemoryCache
from wherry_cli.bench.figure import Bound, Figure, Report, Run

if TYPE_CHECKING:
    from wherry.abc.cache import Cache
    from wherry.cid import CID
    from wherry_cli.bench.workspace import Workspace

SHARE_BOUND: Final = Bound("at most", 1.0)  # per cent of the time that hashing a leaf takes
CALLS: Final = 100_000
PLUGIN: Final = "chosen by configuration"
DIRECT: Final = "made directly"
_HASHES: Final = 32


def boundary(space: Workspace) -> Report:
    """Times a look-up in a cache that configuration chose, beside the same class made by hand."""
    block = named(RAW, os.urandom(MiB))
    began = time.perf_counter()
    chosen = _chosen(space)
    wired = time.perf_counter() - began
    direct = MemoryCache(64 * MiB)
    try:
        for cache in (chosen, direct):
            cache.put_many([block])
        arms = {PLUGIN: lambda: _timed(chosen, block.cid), DIRECT: lambda: _timed(direct, block.cid)}
        found = space.compare(arms, rounds=max(5, space.scale.rounds), count=CALLS, unit="calls")
    finally:
        chosen.close()
        direct.close()
    hashing = _hash_seconds(block.data)
    over = (found[PLUGIN].median_seconds - found[DIRECT].median_seconds) / CALLS
    return Report(
        "boundary",
        f"{CALLS:,} look-ups in the memory cache, through the plugin manager's choice and without it",
        arms=[found[PLUGIN], found[DIRECT]],
        figures=[
            Figure("share of the boundary in hashing a leaf", over / hashing * 100, "%", SHARE_BOUND),
            Figure("a call of a plugin", found[PLUGIN].median_seconds / CALLS * 1e6, "us"),
            Figure("hashing a leaf", hashing * 1e6, "us"),
            Figure("choosing and building the plugin, once", wired * 1e3, "ms"),
        ],
    )


def _chosen(space: Workspace) -> Cache:
    environ = {**space.environ, "WHERRY_CACHE__USE": "memory"}
    config: Config = load(None, space.folder, environ)
    manager = Manager.from_environ(environ)
    instance = config.selected("cache")[0]
    options = resolve(config, "cache", instance.name, manager, environ)
    return manager.build("cache", instance.plugin, options, Env(space.folder, environ))


def _timed(cache: Cache, cid: CID) -> Run:
    wants, get = [cid], cache.get_many
    began = time.perf_counter()
    for _ in range(CALLS):
        get(wants)
    return Run(time.perf_counter() - began)


def _hash_seconds(data: bytes) -> float:
    times = []
    for _ in range(_HASHES):
        began = time.perf_counter()
        hashlib.sha256(data).digest()
        times.append(time.perf_counter() - began)
    return sorted(times)[_HASHES // 2]
