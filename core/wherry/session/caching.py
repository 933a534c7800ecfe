"""The verbs about the cache: what it holds, filling it with a dataset, emptying it (specs/0005 §7)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wherry.errors import UsageError
from wherry.observe import Progress
from wherry.offload import in_thread
from wherry.results import CacheCleared, CacheStat, CacheWarmed, SourceReport
from wherry.session.parts import Parts
from wherry.session.telling import told
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.store.cached import Cached


class Caching(Parts):
    """Upkeep of the cache in use."""

    async def cache_stat(self) -> CacheStat:
        """Tells what the cache holds, and how it did in this session."""
        cached = await self._cached()
        usage = await in_thread(cached.usage)
        name = self._wiring.chosen("cache")[0]
        instance = self.config.instances.get(("cache", name))
        return CacheStat(
            name=name, plugin=instance.plugin if instance is not None else name, blocks=usage.blocks, bytes=usage.bytes,
            bytes_max=usage.bytes_max, hits=usage.hits, misses=usage.misses, evictions=usage.evictions,
        )  # fmt: skip

    @told
    async def cache_warm(
        self,
        what: str | CID,
        *,
        sources: Sequence[str] = (),
        max_bytes: int | None = None,
        wait_s: float | None = None,
        observe: Observe | None = None,
    ) -> CacheWarmed:
        """Brings the blocks of a dataset into the cache, in order, so that this node serves them without files.

        What is there already is not fetched, so an interrupted call is simply made again. ``max_bytes`` takes the
        beginning only, of so much. An encrypted dataset needs no key for it, and stays sealed. Raises NoSpace if the dataset
        is larger than the cache may be, or is not kept.
        """
        self._home.must_be_writable()
        from wherry.transfer.running import running
        from wherry.transfer.tree import Nodes
        from wherry.transfer.warm import Warming, content_of

        began = time.monotonic()
        asked, addresses = self._source(await self._unnamed(what, sources, observe), sources)
        if asked.path:
            raise UsageError("cache warm takes a CID without a path", hint="warm the whole dataset, or give the part's own CID")
        cid = asked.cid
        cached = await self._cached()
        fetcher = self._fetcher(cid, addresses, wait_s, observe)
        nodes = Nodes(self._store, fetcher)  # no key is used
        if asked.inline is not None:
            nodes.know(asked.inline)
        run: Warming | None = None

        def progress() -> Progress:
            return Progress(
                verb="cache warm", phase="fetch", bytes_done=run.done_bytes if run else 0,
                bytes_total=run.total_bytes if run else None, wire_bytes=fetcher.wire_bytes,
                sources_alive=sum(source.alive for source in fetcher.sources),
            )  # fmt: skip

        try:
            async with running(fetcher), paced(observe, progress):
                content = await content_of(nodes, cid)
                run = Warming(nodes, fetcher, self._store, cached, self._wiring.pool, bytes_max=max_bytes)
                await run.run(content)
        finally:
            await in_thread(nodes.flush)
        return CacheWarmed(
            cid=str(cid), bytes=run.done_bytes, blocks=run.blocks, held_bytes=run.held_bytes,
            fetched_bytes=fetcher.wire_bytes, complete=run.complete, seconds=time.monotonic() - began,
            sources=[
                SourceReport(address=source.address, bytes=source.bytes, blocks=source.blocks, errors=source.errors)
                for source in fetcher.sources
            ],
        )  # fmt: skip

    async def cache_clear(self) -> CacheCleared:
        """Forgets every block of the cache. Files and manifests stay."""
        self._home.must_be_writable()
        cached = await self._cached()
        return CacheCleared(blocks=await in_thread(cached.clear))

    async def _cached(self) -> Cached:
        cached = await in_thread(lambda: self._store.cache)
        if cached is None:
            self._home.must_be_writable()
            raise UsageError("this node has no cache", hint="choose one in [cache] use")
        return cached
