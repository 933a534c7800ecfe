"""The contract of a cache as tests (specs/0006 §4). Subclass, say how to make one, and let pytest run it::

    class TestAcmeCache(CacheContract):
        def make_cache(self, folder, max_bytes):
            return AcmeCache(folder, max_bytes)

Take `SharedCacheContract` instead for a cache that lies in its folder, outlives the process and may be opened twice. For a
cache that forgets what was not used for some time, override `make_expiring` besides.

The tests know what was put without asking the cache: each block is made from its number. A cache may forget anything, so
no test takes a miss for a fault, save that one which holds nothing at all is no cache.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from wherry.abc.cache import Kept, SupportsPrefetch
from wherry.cid import CID, RAW
from wherry.testing.cache_use import (
    BLOCK_BYTES,
    LARGE_BYTES,
    PREFETCH_S,
    TTL_S,
    VirtualClock,
    coded,
    held_bytes,
    in_threads,
    kept,
    skip,
    timed,
    use,
)
from wherry.testing.expect import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.cache import Cache


class CacheContract(ABC):
    """What every cache must do."""

    @abstractmethod
    def make_cache(self, folder: Path, max_bytes: int) -> Cache:
        """Makes a cache of that quota; if it keeps anything on disk, in ``folder``, which exists."""

    def make_expiring(self, folder: Path, max_bytes: int, ttl: float, clock: Callable[[], float]) -> Cache | None:
        """Makes a cache that forgets what was not used for ``ttl`` seconds of ``clock``; None: it has no such option."""
        del folder, max_bytes, ttl, clock
        return None

    def test_it_holds_something(self, tmp_path: Path) -> None:
        """Of a few blocks that fit, some are found again, small or large."""
        for size in (BLOCK_BYTES, LARGE_BYTES):
            folder = tmp_path / str(size)
            folder.mkdir()
            with closing(self.make_cache(folder, 100 * size)) as cache:
                blocks = [kept(number, size) for number in range(8)]
                cache.put_many(blocks)
                found = cache.get_many([cid for cid, *_ in blocks])
                expect(any(one is not None for one in found), f"of 8 blocks of {size} bytes put, none is found")

    def test_it_gives_back_what_was_put(self, tmp_path: Path) -> None:
        """A block that is found has its own bytes, whatever its size; also the empty one."""
        blocks = [kept(size, size) for size in (0, 1, BLOCK_BYTES, 65_536, 65_537, LARGE_BYTES, 1 << 20)]
        with closing(self.make_cache(tmp_path, 10 << 20)) as cache:
            cache.put_many(blocks)
            for block in blocks:
                found = cache.get_many([block.cid])[0]
                if found is not None:
                    expect(found.data == block.data, f"a block of {block.size} bytes came back as others")
                    expect(type(found.data) is bytes, f"a block came back as {type(found.data).__name__}, not bytes")
                    expect(found == block, f"a plain block of {block.size} bytes came back as {found[2:]}")

    def test_what_is_coded_stays_coded(self, tmp_path: Path) -> None:
        """Coded data are opaque: they come back as put, with the block's size, which ``sizes`` tells, and the coding's name."""
        blocks = [coded(length, length) for length in (1, BLOCK_BYTES, 70_000, LARGE_BYTES)]
        with closing(self.make_cache(tmp_path, 10 << 20)) as cache:
            cache.put_many(blocks)
            cids = [block.cid for block in blocks]
            for block, found, size in zip(blocks, cache.get_many(cids), cache.sizes(cids), strict=True):
                expect(found is None or found == block, f"{len(block.data)} coded bytes did not come back as they were put")
                expect(size in (None, block.size), f"a block of {block.size} bytes, coded, is said to have {size}")

    def test_it_answers_in_the_order_asked(self, tmp_path: Path) -> None:
        """Answers match questions one to one, with unknown blocks and repetitions among them."""
        blocks = [kept(number) for number in range(6)]
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many(blocks)
            unknown = kept(99).cid
            asked = [blocks[3].cid, unknown, blocks[0].cid, blocks[3].cid, blocks[5].cid, unknown]
            found, held = cache.get_many(asked), cache.has_many(asked)
            expect(len(found) == len(held) == len(asked), f"{len(asked)} asked, {len(found)} and {len(held)} answered")
            for cid, one in zip(asked, found, strict=True):
                right = one is None or (one.cid == cid and CID.of(RAW, one.data) == cid)
                expect(right, "the answer to one question was given to another")
            expect(found[1] is None and found[5] is None, "an unknown block was found")
            expect(not held[1] and not held[5], "an unknown block is said to be held")

    def test_it_takes_empty_batches(self, tmp_path: Path) -> None:
        """Nothing asked, nothing answered."""
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many([])
            cache.delete_many([])
            expect(list(cache.get_many([])) == [] == list(cache.has_many([])), "an empty question has an answer")

    def test_the_quota_holds(self, tmp_path: Path) -> None:
        """After each put, what is held is within the quota: by its own count, and by what comes back."""
        quota = 10 * BLOCK_BYTES
        sizes = random.Random(1)
        with closing(self.make_cache(tmp_path, quota)) as cache:
            put: list[Kept] = []
            for step in range(12):
                make = (kept, coded)[step % 2]  # of a coded block, the quota counts its coded bytes
                batch = [make(100 * step + n, sizes.randint(1, 3 * BLOCK_BYTES)) for n in range(sizes.randint(1, 9))]
                cache.put_many(batch)
                put += batch
                held = held_bytes(cache, put)
                expect(held <= quota, f"{held} bytes come back, the quota is {quota}")
                expect(cache.usage().bytes <= quota, f"it counts {cache.usage().bytes} bytes, the quota is {quota}")

    def test_a_block_larger_than_the_quota_is_not_kept(self, tmp_path: Path) -> None:
        """It is let go without an error."""
        large = kept(1, 5 * BLOCK_BYTES)
        with closing(self.make_cache(tmp_path, 2 * BLOCK_BYTES)) as cache:
            cache.put_many([large])
            expect(cache.get_many([large.cid]) == [None], "a block larger than the quota is kept")

    def test_putting_again_changes_nothing(self, tmp_path: Path) -> None:
        """A block counts once, however often it is put."""
        block = kept(1)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            for _ in range(3):
                cache.put_many([block, block])
            usage = cache.usage()
            expect(usage.blocks <= 1 and usage.bytes <= BLOCK_BYTES, f"one block counts as {usage.blocks}, {usage.bytes} bytes")

    def test_the_least_recently_used_goes_first(self, tmp_path: Path) -> None:
        """A block that was read later outlives one that was not."""
        first, second, third, fourth = (kept(number) for number in range(4))
        with closing(self.make_cache(tmp_path, 3 * BLOCK_BYTES)) as cache:
            for block in (first, second, third):
                cache.put_many([block])
            read = cache.get_many([first.cid])[0] is not None
            cache.put_many([fourth])
            has_first, has_second = cache.has_many([first.cid, second.cid])
            expect(not read or has_first or not has_second, "it forgot a block just read, and kept an older one")

    def test_asking_is_no_use(self, tmp_path: Path) -> None:
        """``has_many`` makes nothing recently used."""
        first, second, third, fourth = (kept(number) for number in range(4))
        with closing(self.make_cache(tmp_path, 3 * BLOCK_BYTES)) as cache:
            for block in (first, second, third):
                cache.put_many([block])
            cache.has_many([first.cid])
            cache.put_many([fourth])
            has_first, has_second = cache.has_many([first.cid, second.cid])
            expect(has_second or not has_first, "it kept a block because somebody asked for it")

    def test_deleted_blocks_are_gone(self, tmp_path: Path) -> None:
        """Also from the count; others stay; deleting what is unknown is no error."""
        for size in (BLOCK_BYTES, LARGE_BYTES):
            folder = tmp_path / str(size)
            folder.mkdir()
            with closing(self.make_cache(folder, 100 * size)) as cache:
                block, other = kept(1, size), kept(2, size)
                cache.put_many([block, other])
                before = cache.has_many([other.cid])
                cache.delete_many([kept(99).cid, block.cid, block.cid])
                expect(cache.get_many([block.cid]) == [None], "a deleted block is found")
                expect(cache.has_many([block.cid]) == [False], "a deleted block is said to be held")
                expect(cache.has_many([other.cid]) == before, "another block went with a deleted one")
                expect(cache.usage().bytes <= size, "a deleted block is still counted")
                cache.put_many([block])
                expect(cache.get_many([block.cid])[0] in (None, block), "a block put again came back as others")

    def test_listing_agrees_with_asking(self, tmp_path: Path) -> None:
        """``cids`` lists each block that is held, once, and no other."""
        blocks = [kept(number) for number in range(700)]
        with closing(self.make_cache(tmp_path, 600 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
            listed = list(cache.cids())
            held = [cid for (cid, *_), has in zip(blocks, cache.has_many([cid for cid, *_ in blocks]), strict=True) if has]
            expect(all(type(cid) is CID for cid in listed), "it lists something that is no CID")
            expect(sorted(listed) == sorted(held), f"it lists {len(listed)} blocks and holds {len(held)}")

    def test_usage_is_counted(self, tmp_path: Path) -> None:
        """Blocks, bytes, hits and misses are those that the test saw."""
        blocks = [(coded if number % 3 else kept)(number, 500 + number) for number in range(20)]
        cids = [cid for cid, *_ in blocks]
        with closing(self.make_cache(tmp_path, 6 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
            found = [one.data for one in cache.get_many(cids) if one is not None]
            usage = cache.usage()
            expect(usage.bytes_max == 6 * BLOCK_BYTES, f"it says that its quota is {usage.bytes_max}")
            expect(
                (usage.blocks, usage.bytes) == (len(found), sum(map(len, found))),
                f"it holds {len(found)} blocks, counts {usage}",
            )
            expect((usage.hits, usage.misses) == (len(found), 20 - len(found)), f"{len(found)} hits of 20, it counts {usage}")

    def test_it_keeps_no_borrowed_memory(self, tmp_path: Path) -> None:
        """Data that is not ``bytes`` is copied: it lies in a buffer that core uses again."""
        block = kept(1)
        borrowed = bytearray(block.data)
        data: Any = memoryview(borrowed)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many([Kept(block.cid, data, block.size)])
            data.release()
            borrowed[:] = bytes(BLOCK_BYTES)
            expect(cache.get_many([block.cid])[0] in (None, block), "a block changed with the buffer that it came in")

    def test_closing_twice_is_no_error(self, tmp_path: Path) -> None:
        """``close`` may be called again."""
        cache = self.make_cache(tmp_path, 1 << 20)
        cache.put_many([kept(1)])
        cache.close()
        cache.close()

    def test_what_is_not_used_goes_in_time(self, tmp_path: Path) -> None:
        """Of a cache that forgets in time: what was used since stays, what was not is gone, also from lists and counts."""
        clock = VirtualClock()
        cache = self.make_expiring(tmp_path, 1 << 20, TTL_S, clock)
        if cache is None:
            skip("it does not forget in time: make_expiring gives None")
        with closing(cache):
            used, idle, large = kept(1), kept(2), kept(3, LARGE_BYTES)
            cids = [block.cid for block in (used, idle, large)]
            cache.put_many([used, idle, large])
            before = cache.has_many(cids)
            clock.now += 0.9 * TTL_S
            expect(cache.has_many(cids) == before, "blocks went before their time")
            read = cache.get_many([used.cid])[0] is not None
            clock.now += 0.9 * TTL_S
            expect(cache.has_many([used.cid]) == [read], "a block that was read went as if it had not been")
            expect(cache.has_many(cids[1:]) == [False, False], "blocks are said to be held behind their time")
            expect(cache.get_many(cids[1:]) == [None, None], "blocks are found behind their time")
            listed, usage = list(cache.cids()), cache.usage()
            expect(set(listed) == set(cids[:1] * read), f"it lists {len(listed)} blocks, of which {int(read)} should be there")
            right = usage.blocks == read and usage.bytes <= BLOCK_BYTES * read
            expect(right, f"it counts {usage.blocks} blocks and {usage.bytes} bytes, and should have {int(read)} blocks")
            cache.put_many([idle])
            expect(cache.get_many([idle.cid])[0] in (None, idle), "a block put again came back as others")

    def test_hints_are_only_hints(self, tmp_path: Path) -> None:
        """Of a cache that takes hints: it returns at once, changes nothing that can be seen, and closing ends its work."""
        before = threading.active_count()
        cache = self.make_cache(tmp_path, 100 * BLOCK_BYTES)
        blocks = [kept(number) for number in range(50)]
        cids = [block.cid for block in blocks]
        with closing(cache):
            if not isinstance(cache, SupportsPrefetch):
                skip("it takes no hints")
            cache.put_many(blocks)
            held = cache.has_many(cids)
            unknown = [kept(number).cid for number in range(1000, 4000)]
            seconds = timed(lambda: cache.prefetch([*cids, *cids[::-1], *unknown, *cids]))
            cache.prefetch([])
            expect(seconds < PREFETCH_S, f"taking a hint kept the caller for {seconds:.1f} s")
            expect(cache.has_many(cids) == held, "a hint changed what is held")
            usage = cache.usage()
            expect((usage.hits, usage.misses) == (0, 0), "a hint counts as a look-up")
            found = cache.get_many(cids)
            expect(all(one in (None, block) for one, block in zip(found, blocks, strict=True)), "a block came back as others")
            cache.delete_many(cids)
            expect(cache.has_many(cids) == [False] * 50, "a hint brought back what was deleted")
            cache.put_many(blocks)
            cache.prefetch(cids * 20)
            seconds = timed(cache.close)
            expect(seconds < PREFETCH_S, f"closing behind a hint took {seconds:.1f} s")
            expect(threading.active_count() <= before, "a thread is left when the cache is closed")

    def test_threads_may_share_it(self, tmp_path: Path) -> None:
        """Threads put, get and delete at once: nothing is raised, no bytes are wrong, and the quota holds all the while."""
        quota = 40 * BLOCK_BYTES
        with closing(self.make_cache(tmp_path, quota)) as cache:
            in_threads(lambda seed: use(cache, seed, quota))
            blocks = [kept(n) for n in range(100)]
            sized = sum(filter(None, cache.sizes([block.cid for block in blocks])))
            usage = cache.usage()
            expect(sized == usage.bytes <= quota, f"it has {sized} bytes, and counts {usage}")
            held, usage = held_bytes(cache, blocks), cache.usage()  # reads may move blocks between tiers, and others out of one
            expect(sized >= held >= usage.bytes, f"{held} bytes of {sized} come back, and then it counts {usage}")

    def test_any_sequence_of_calls(self, tmp_path: Path) -> None:
        """Hypothesis, if it is installed, looks for a sequence of calls that breaks the contract."""
        if find_spec("hypothesis") is None:
            return
        from wherry.testing.cache_machine import run_machine

        def make() -> tuple[Cache, Callable[[], None]]:
            folder = TemporaryDirectory(dir=tmp_path)
            return self.make_cache(Path(folder.name), 8 * BLOCK_BYTES), folder.cleanup

        run_machine(make, 8 * BLOCK_BYTES)


class SharedCacheContract(CacheContract):
    """What a cache must do besides, if it lies in a folder that outlives it and may be opened by several at once."""

    def test_it_is_there_when_opened_again(self, tmp_path: Path) -> None:
        """What one found before closing, the next one finds, with the same bytes."""
        blocks = [kept(number, size) for number, size in enumerate((BLOCK_BYTES, LARGE_BYTES))]
        cids = [cid for cid, *_ in blocks]
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many(blocks)
            before = cache.get_many(cids)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            expect(cache.get_many(cids) == before, "a block that was found before it was closed is gone")

    def test_use_is_remembered(self, tmp_path: Path) -> None:
        """What was read before closing outlives what was not."""
        first, second, third, fourth = (kept(number) for number in range(4))
        with closing(self.make_cache(tmp_path, 3 * BLOCK_BYTES)) as cache:
            for block in (first, second, third):
                cache.put_many([block])
            read = cache.get_many([first.cid])[0] is not None
        with closing(self.make_cache(tmp_path, 3 * BLOCK_BYTES)) as cache:
            cache.put_many([fourth])
            has_first, has_second = cache.has_many([first.cid, second.cid])
            expect(not read or has_first or not has_second, "it forgot over closing what had been read")

    def test_a_lower_quota_holds(self, tmp_path: Path) -> None:
        """Opened with a smaller quota, it is within it after the next put."""
        blocks = [kept(number) for number in range(10)]
        with closing(self.make_cache(tmp_path, 10 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
        with closing(self.make_cache(tmp_path, 4 * BLOCK_BYTES)) as cache:
            cache.put_many([kept(11)])
            held = held_bytes(cache, blocks)
            expect(held <= 4 * BLOCK_BYTES, f"{held} bytes are held, the quota is {4 * BLOCK_BYTES}")

    def test_two_may_have_it_open(self, tmp_path: Path) -> None:
        """Each sees what the other put and deleted."""
        block, other = kept(1), kept(2, LARGE_BYTES)
        one, two = self.make_cache(tmp_path, 1 << 20), self.make_cache(tmp_path, 1 << 20)
        with closing(one), closing(two):
            one.put_many([block, other])
            expect(
                two.get_many([block.cid, other.cid]) == one.get_many([block.cid, other.cid]),
                "one does not find what the other put",
            )
            two.delete_many([block.cid, other.cid])
            expect(one.get_many([block.cid, other.cid]) == [None, None], "one finds what the other deleted")

    def test_two_may_use_it_at_once(self, tmp_path: Path) -> None:
        """As threads do, each with a cache of its own; the quota is that of the folder."""
        quota = 40 * BLOCK_BYTES
        caches = [self.make_cache(tmp_path, quota) for _ in range(2)]
        try:
            in_threads(lambda seed: use(caches[seed % 2], seed, quota))
            held = held_bytes(caches[0], [kept(n) for n in range(100)])
            expect(held <= quota, f"{held} bytes come back, the quota is {quota}")
        finally:
            for cache in caches:
                cache.close()
