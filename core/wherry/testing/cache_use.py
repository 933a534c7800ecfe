"""What the contract of caches is tested with: blocks known by numbers, a clock, and threads that use a cache at random."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final, NoReturn

from wherry.abc.cache import Kept
from wherry.block import Block, named
from wherry.cid import CID, RAW
from wherry.testing.expect import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.cache import Cache

BLOCK_BYTES: Final = 1000  # of the blocks of most tests
LARGE_BYTES: Final = 200_000  # caches may keep large blocks otherwise than small ones
THREADS: Final = 16
ROUNDS: Final = 30  # of each thread
TTL_S: Final = 100.0  # of a virtual clock
PREFETCH_S: Final = 2.0  # a hint is taken within this, and closing behind one ends within it too: it is no work of the caller's


def numbered(number: int, size: int = BLOCK_BYTES) -> Block:
    """Makes the block of that number: always the same bytes."""
    return named(RAW, random.Random(number).randbytes(size))


def kept(number: int, size: int = BLOCK_BYTES) -> Kept:
    """Gives the block of that number as a cache keeps it, plain."""
    cid, data = numbered(number, size)
    return Kept(cid, data, size)


def coded(number: int, length: int = BLOCK_BYTES) -> Kept:
    """Gives a block as a cache keeps it, coded into ``length`` bytes: no compressor made them, for a cache knows none."""
    data = random.Random(-1 - number).randbytes(length)
    return Kept(numbered(number).cid, data, 3 * length + 7, "acme.coding-9")


class VirtualClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Tells the time."""
        return self.now


def held_bytes(cache: Cache, blocks: Sequence[Kept]) -> int:
    """Counts the bytes of what comes back of ``blocks``."""
    found = cache.get_many([block.cid for block in blocks])
    return sum(len(one.data) for one in found if one is not None)


def use(cache: Cache, seed: int, quota: int) -> None:
    """Puts, gets and deletes blocks 0 to 99 at random; complains of wrong bytes, and of more than ``quota`` of them."""
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        blocks = [kept(rng.randrange(100)) for _ in range(rng.randint(1, 6))]
        cids = [block.cid for block in blocks]
        match rng.randrange(4):
            case 0 | 1:
                cache.put_many(blocks)
            case 2:
                cache.delete_many(cids)
            case _:
                cache.has_many(cids)
        for cid, one in zip(cids, cache.get_many(cids), strict=True):
            expect(one is None or CID.of(RAW, one.data) == cid, "a block came back as others")
        expect((counted := cache.usage().bytes) <= quota, f"it counts {counted} bytes, the quota is {quota}")


def skip(reason: str) -> NoReturn:
    """Leaves a check out that does not apply."""
    import pytest

    pytest.skip(reason)


def timed(work: Callable[[], object]) -> float:
    """Runs ``work``; gives the seconds it took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


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
