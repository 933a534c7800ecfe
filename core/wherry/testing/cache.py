"""The contract of a cache as tests (specs/0006 §4). Subclass, say how to make one, and let pytest run it::

    class TestAcmeCache(CacheContract):
        def make_cache(self, folder, max_bytes):
            return AcmeCache(folder, max_bytes)

Take `SharedCacheContract` instead for a cache that lies in its folder, outlives the process and may be opened twice.

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
from typing import TYPE_CHECKING, Any, Final

from wherry.block import Block, named
from wherry.cid import CID, RAW
from wherry.testing.expect import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.abc.cache import Cache

BLOCK_BYTES: Final = 1000  # of the blocks of most tests
LARGE_BYTES: Final = 200_000  # caches may keep large blocks otherwise than small ones
THREADS: Final = 8
ROUNDS: Final = 60  # of each thread


def numbered(number: int, size: int = BLOCK_BYTES) -> Block:
    """Makes the block of that number: always the same bytes."""
    return named(RAW, random.Random(number).randbytes(size))


class CacheContract(ABC):
    """What every cache must do."""

    @abstractmethod
    def make_cache(self, folder: Path, max_bytes: int) -> Cache:
        """Makes a cache of that quota; if it keeps anything on disk, in ``folder``, which exists."""

    def test_it_holds_something(self, tmp_path: Path) -> None:
        """Of a few blocks that fit, some are found again, small or large."""
        for size in (BLOCK_BYTES, LARGE_BYTES):
            folder = tmp_path / str(size)
            folder.mkdir()
            with closing(self.make_cache(folder, 100 * size)) as cache:
                blocks = [numbered(number, size) for number in range(8)]
                cache.put_many(blocks)
                found = cache.get_many([cid for cid, _ in blocks])
                expect(any(data is not None for data in found), f"of 8 blocks of {size} bytes put, none is found")

    def test_it_gives_back_what_was_put(self, tmp_path: Path) -> None:
        """A block that is found has its own bytes, whatever its size; also the empty one."""
        blocks = [numbered(size, size) for size in (0, 1, BLOCK_BYTES, 65_536, 65_537, LARGE_BYTES, 1 << 20)]
        with closing(self.make_cache(tmp_path, 10 << 20)) as cache:
            cache.put_many(blocks)
            for cid, data in blocks:
                found = cache.get_many([cid])[0]
                expect(found is None or found == data, f"a block of {len(data)} bytes came back as others")
                expect(found is None or type(found) is bytes, f"a block came back as {type(found).__name__}, not bytes")

    def test_it_answers_in_the_order_asked(self, tmp_path: Path) -> None:
        """Answers match questions one to one, with unknown blocks and repetitions among them."""
        blocks = [numbered(number) for number in range(6)]
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many(blocks)
            unknown = numbered(99).cid
            asked = [blocks[3].cid, unknown, blocks[0].cid, blocks[3].cid, blocks[5].cid, unknown]
            found, held = cache.get_many(asked), cache.has_many(asked)
            expect(len(found) == len(held) == len(asked), f"{len(asked)} asked, {len(found)} and {len(held)} answered")
            for cid, data in zip(asked, found, strict=True):
                expect(data is None or CID.of(RAW, data) == cid, "the answer to one question was given to another")
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
            put: list[Block] = []
            for step in range(12):
                batch = [numbered(100 * step + n, sizes.randint(1, 3 * BLOCK_BYTES)) for n in range(sizes.randint(1, 9))]
                cache.put_many(batch)
                put += batch
                held = sum(len(data) for data in cache.get_many([cid for cid, _ in put]) if data is not None)
                expect(held <= quota, f"{held} bytes come back, the quota is {quota}")
                expect(cache.usage().bytes <= quota, f"it counts {cache.usage().bytes} bytes, the quota is {quota}")

    def test_a_block_larger_than_the_quota_is_not_kept(self, tmp_path: Path) -> None:
        """It is let go without an error."""
        large = numbered(1, 5 * BLOCK_BYTES)
        with closing(self.make_cache(tmp_path, 2 * BLOCK_BYTES)) as cache:
            cache.put_many([large])
            expect(cache.get_many([large.cid]) == [None], "a block larger than the quota is kept")

    def test_putting_again_changes_nothing(self, tmp_path: Path) -> None:
        """A block counts once, however often it is put."""
        block = numbered(1)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            for _ in range(3):
                cache.put_many([block, block])
            usage = cache.usage()
            expect(usage.blocks <= 1 and usage.bytes <= BLOCK_BYTES, f"one block counts as {usage.blocks}, {usage.bytes} bytes")

    def test_the_least_recently_used_goes_first(self, tmp_path: Path) -> None:
        """A block that was read later outlives one that was not."""
        first, second, third, fourth = (numbered(number) for number in range(4))
        with closing(self.make_cache(tmp_path, 3 * BLOCK_BYTES)) as cache:
            for block in (first, second, third):
                cache.put_many([block])
            read = cache.get_many([first.cid])[0] is not None
            cache.put_many([fourth])
            has_first, has_second = cache.has_many([first.cid, second.cid])
            expect(not read or has_first or not has_second, "it forgot a block just read, and kept an older one")

    def test_asking_is_no_use(self, tmp_path: Path) -> None:
        """``has_many`` makes nothing recently used."""
        first, second, third, fourth = (numbered(number) for number in range(4))
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
                block, other = numbered(1, size), numbered(2, size)
                cache.put_many([block, other])
                before = cache.has_many([other.cid])
                cache.delete_many([numbered(99).cid, block.cid, block.cid])
                expect(cache.get_many([block.cid]) == [None], "a deleted block is found")
                expect(cache.has_many([block.cid]) == [False], "a deleted block is said to be held")
                expect(cache.has_many([other.cid]) == before, "another block went with a deleted one")
                expect(cache.usage().bytes <= size, "a deleted block is still counted")
                cache.put_many([block])
                expect(cache.get_many([block.cid])[0] in (None, block.data), "a block put again came back as others")

    def test_listing_agrees_with_asking(self, tmp_path: Path) -> None:
        """``cids`` lists each block that is held, once, and no other."""
        blocks = [numbered(number) for number in range(700)]
        with closing(self.make_cache(tmp_path, 600 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
            listed = list(cache.cids())
            held = [cid for (cid, _), has in zip(blocks, cache.has_many([cid for cid, _ in blocks]), strict=True) if has]
            expect(all(type(cid) is CID for cid in listed), "it lists something that is no CID")
            expect(sorted(listed) == sorted(held), f"it lists {len(listed)} blocks and holds {len(held)}")

    def test_usage_is_counted(self, tmp_path: Path) -> None:
        """Blocks, bytes, hits and misses are those that the test saw."""
        blocks = [numbered(number, 500 + number) for number in range(20)]
        cids = [cid for cid, _ in blocks]
        with closing(self.make_cache(tmp_path, 6 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
            found = [data for data in cache.get_many(cids) if data is not None]
            usage = cache.usage()
            expect(usage.bytes_max == 6 * BLOCK_BYTES, f"it says that its quota is {usage.bytes_max}")
            expect(
                (usage.blocks, usage.bytes) == (len(found), sum(map(len, found))),
                f"it holds {len(found)} blocks, counts {usage}",
            )
            expect((usage.hits, usage.misses) == (len(found), 20 - len(found)), f"{len(found)} hits of 20, it counts {usage}")

    def test_it_keeps_no_borrowed_memory(self, tmp_path: Path) -> None:
        """Data that is not ``bytes`` is copied: it lies in a buffer that core uses again."""
        block = numbered(1)
        borrowed = bytearray(block.data)
        data: Any = memoryview(borrowed)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many([Block(block.cid, data)])
            data.release()
            borrowed[:] = bytes(BLOCK_BYTES)
            expect(cache.get_many([block.cid])[0] in (None, block.data), "a block changed with the buffer that it came in")

    def test_closing_twice_is_no_error(self, tmp_path: Path) -> None:
        """``close`` may be called again."""
        cache = self.make_cache(tmp_path, 1 << 20)
        cache.put_many([numbered(1)])
        cache.close()
        cache.close()

    def test_threads_may_share_it(self, tmp_path: Path) -> None:
        """Threads put, get and delete at once: nothing is raised, no bytes are wrong, and the quota holds."""
        quota = 40 * BLOCK_BYTES
        with closing(self.make_cache(tmp_path, quota)) as cache:
            in_threads(lambda seed: use(cache, seed))
            held = sum(len(data) for data in cache.get_many([numbered(n).cid for n in range(100)]) if data is not None)
            usage = cache.usage()
            expect(held == usage.bytes <= quota, f"{held} bytes come back, it counts {usage}")

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
        blocks = [numbered(number, size) for number, size in enumerate((BLOCK_BYTES, LARGE_BYTES))]
        cids = [cid for cid, _ in blocks]
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            cache.put_many(blocks)
            before = cache.get_many(cids)
        with closing(self.make_cache(tmp_path, 1 << 20)) as cache:
            expect(cache.get_many(cids) == before, "a block that was found before it was closed is gone")

    def test_use_is_remembered(self, tmp_path: Path) -> None:
        """What was read before closing outlives what was not."""
        first, second, third, fourth = (numbered(number) for number in range(4))
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
        blocks = [numbered(number) for number in range(10)]
        with closing(self.make_cache(tmp_path, 10 * BLOCK_BYTES)) as cache:
            cache.put_many(blocks)
        with closing(self.make_cache(tmp_path, 4 * BLOCK_BYTES)) as cache:
            cache.put_many([numbered(11)])
            held = sum(len(data) for data in cache.get_many([cid for cid, _ in blocks]) if data is not None)
            expect(held <= 4 * BLOCK_BYTES, f"{held} bytes are held, the quota is {4 * BLOCK_BYTES}")

    def test_two_may_have_it_open(self, tmp_path: Path) -> None:
        """Each sees what the other put and deleted."""
        block, other = numbered(1), numbered(2, LARGE_BYTES)
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
            in_threads(lambda seed: use(caches[seed % 2], seed))
            held = sum(len(data) for data in caches[0].get_many([numbered(n).cid for n in range(100)]) if data is not None)
            expect(held <= quota, f"{held} bytes come back, the quota is {quota}")
        finally:
            for cache in caches:
                cache.close()


def use(cache: Cache, seed: int) -> None:
    """Puts, gets and deletes blocks 0 to 99 at random; complains of wrong bytes."""
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        blocks = [numbered(rng.randrange(100)) for _ in range(rng.randint(1, 6))]
        cids = [cid for cid, _ in blocks]
        match rng.randrange(4):
            case 0 | 1:
                cache.put_many(blocks)
            case 2:
                cache.delete_many(cids)
            case _:
                cache.has_many(cids)
        right(cids, cache.get_many(cids))


def right(cids: Iterable[CID], found: Iterable[bytes | None]) -> None:
    """Complains unless each answer is a miss or the block's own bytes."""
    for cid, data in zip(cids, found, strict=True):
        expect(data is None or CID.of(RAW, data) == cid, "a block came back as others")


def in_threads(work: Callable[[int], None]) -> None:
    """Runs ``work`` with the seeds 0 to THREADS - 1 at once; raises the first error of any."""
    errors: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            work(seed)
        except BaseException as problem:  # noqa: BLE001 - raised again below, where the test sees it
            errors.append(problem)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
