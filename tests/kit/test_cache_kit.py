"""The contract of caches catches what it is there to catch: for each check there is a cache that fails it, and no other."""

from __future__ import annotations

import os
import threading
import time

import pytest
from broken_caches import (
    LEFT,
    FetchesUnknown,
    GoesByAge,
    Hinted,
    KeepsForever,
    LeavesAThread,
    ListsTheExpired,
    LooksUpAtOnce,
    WorksForTheCaller,
)

from wherry.testing.cache import CacheContract, SharedCacheContract
from wherry_cache import memory
from wherry_cache.disk import DiskCache
from wherry_cache.memory import MemoryCache

# These try calls at random, so that they may meet what the others look for; each has a cache that it alone catches.
RANDOM = {"test_threads_may_share_it", "test_two_may_use_it_at_once", "test_any_sequence_of_calls"}


def checks(contract):
    return {name for name in dir(contract) if name.startswith("test_")}


def failing(contract, make, names, folder):
    """Names of those checks that ``make``'s caches fail. ``make`` takes the options of a cache that forgets in time, too."""

    class Suite(contract):
        def make_cache(self, folder, max_bytes):
            return make(folder, max_bytes)

        def make_expiring(self, folder, max_bytes, ttl, clock):
            return make(folder, max_bytes, ttl=ttl, clock=clock)

    suite = Suite()
    failed = set()
    for name in sorted(names):
        place = folder / name
        place.mkdir()
        try:
            getattr(suite, name)(place)
        except pytest.skip.Exception:
            pass
        except Exception:
            failed.add(name)
    return failed


def in_memory(cls):
    return lambda folder, max_bytes, **options: cls(max_bytes, **options)


def with_data(kept, data):
    return None if kept is None else kept._replace(data=data(kept.data))


class HoldsNothing(MemoryCache):
    def put_many(self, blocks):
        pass


class CutsLongBlocks(MemoryCache):
    def get_many(self, cids):
        return [with_data(one, lambda data: data[:-1] if len(data) == 65_537 else data) for one in super().get_many(cids)]


class GivesOtherTypes(MemoryCache):
    def get_many(self, cids):
        found = super().get_many(cids)
        return [with_data(one, bytearray) if one and len(one.data) == 1 and not one.coding else one for one in found]


class DropsTheCoding(MemoryCache):
    def get_many(self, cids):
        return [one and one._replace(coding="") for one in super().get_many(cids)]


class TellsTheKeptSize(MemoryCache):
    def sizes(self, cids):
        found = super().sizes(cids)
        return [None if size is None else len(self._once[cid].kept.data) for cid, size in zip(cids, found, strict=True)]


class AnswersEachQuestionOnce(MemoryCache):
    def get_many(self, cids):
        return super().get_many(list(dict.fromkeys(cids)))


class MixesAnswersUp(MemoryCache):
    def get_many(self, cids):
        answers = super().get_many(cids)
        return answers[::-1] if len(set(cids)) < len(cids) else answers


class KnowsEverything(MemoryCache):
    def has_many(self, cids):
        return [True] * len(cids) if len(set(cids)) < len(cids) else super().has_many(cids)


class RefusesEmptyBatches(MemoryCache):
    def get_many(self, cids):
        if not cids:
            raise ValueError("nothing asked")
        return super().get_many(cids)


class NeverForgets(MemoryCache):
    def put_many(self, blocks):
        for kept in blocks:
            if len(kept.data) <= self._max_bytes:
                self._pop(kept.cid)
                self._push(kept._replace(data=bytes(kept.data)), often=False)


class CountsPlainBytes(MemoryCache):
    """Holds the quota by the bytes of the blocks themselves, which a coding may make more of."""

    def put_many(self, blocks):
        super().put_many([kept for kept in blocks if kept.coding])
        for kept in blocks:
            if not kept.coding and len(kept.data) <= self._max_bytes:
                self._pop(kept.cid)
                self._push(kept._replace(data=bytes(kept.data)), often=False)
                while sum(held.kept.size // 4 for held in self._once.values()) > self._max_bytes:
                    self._pop(next(iter(self._once)))


class TakesAnySize(MemoryCache):
    def put_many(self, blocks):
        for kept in blocks:
            if len(kept.data) > self._max_bytes:
                self._once[kept.cid] = memory._Held(kept, 0.0)
        super().put_many(blocks)


class RefusesLargeBlocks(MemoryCache):
    def put_many(self, blocks):
        if any(len(kept.data) > self._max_bytes for kept in blocks):
            raise ValueError("too large")
        super().put_many(blocks)


class CountsTwice(MemoryCache):
    def put_many(self, blocks):
        again = sum(len(kept.data) for kept in blocks if kept.cid in self._once)
        super().put_many(blocks)
        self._once_bytes += again


class FirstInFirstOut(MemoryCache):
    def get_many(self, cids):
        before = list(self._once)
        found = super().get_many(cids)
        for cid in before:
            if cid in self._once and not self._ttl:  # what goes in time is found by its order
                self._once.move_to_end(cid)
        return found


class TakesAskingForUse(MemoryCache):
    def has_many(self, cids):
        for cid in cids:
            if cid in self._once:
                self._once.move_to_end(cid)
        return super().has_many(cids)


class NeverDeletes(MemoryCache):
    def delete_many(self, cids):
        pass


class MindsUnknownBlocks(MemoryCache):
    def delete_many(self, cids):
        for cid in cids:
            if self._pop(cid) is None:
                raise KeyError(cid)


class ListsOnePage(MemoryCache):
    def cids(self):
        return iter(list(super().cids())[:512])


class ListsTwice(MemoryCache):
    def cids(self):
        return iter([*super().cids(), *list(super().cids())[:1]])


class CountsNoMisses(MemoryCache):
    def usage(self):
        return super().usage()._replace(misses=0)


class CountsTooFewBytes(MemoryCache):
    def usage(self):
        usage = super().usage()
        return usage._replace(bytes=usage.bytes // 2)


class KeepsBorrowedMemory(MemoryCache):
    def put_many(self, blocks):
        super().put_many(blocks)
        for kept in blocks:
            if kept.cid in self._once and type(kept.data) is not bytes:
                self._once[kept.cid] = memory._Held(kept, 0.0)


@pytest.fixture(autouse=True)
def _end_threads():
    yield
    for thread, over in LEFT:
        over.set()
        thread.join()
    LEFT.clear()


class ClosesOnce(MemoryCache):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        super().close()


BROKEN = [
    (HoldsNothing, "test_it_holds_something"),
    (CutsLongBlocks, "test_it_gives_back_what_was_put"),
    (GivesOtherTypes, "test_it_gives_back_what_was_put"),
    (DropsTheCoding, "test_what_is_coded_stays_coded"),
    (TellsTheKeptSize, "test_what_is_coded_stays_coded"),
    (AnswersEachQuestionOnce, "test_it_answers_in_the_order_asked"),
    (MixesAnswersUp, "test_it_answers_in_the_order_asked"),
    (KnowsEverything, "test_it_answers_in_the_order_asked"),
    (RefusesEmptyBatches, "test_it_takes_empty_batches"),
    (NeverForgets, "test_the_quota_holds"),
    (CountsPlainBytes, "test_the_quota_holds"),
    (TakesAnySize, "test_a_block_larger_than_the_quota_is_not_kept"),
    (RefusesLargeBlocks, "test_a_block_larger_than_the_quota_is_not_kept"),
    (CountsTwice, "test_putting_again_changes_nothing"),
    (FirstInFirstOut, "test_the_least_recently_used_goes_first"),
    (TakesAskingForUse, "test_asking_is_no_use"),
    (NeverDeletes, "test_deleted_blocks_are_gone"),
    (MindsUnknownBlocks, "test_deleted_blocks_are_gone"),
    (ListsOnePage, "test_listing_agrees_with_asking"),
    (ListsTwice, "test_listing_agrees_with_asking"),
    (CountsNoMisses, "test_usage_is_counted"),
    (CountsTooFewBytes, "test_usage_is_counted"),
    (KeepsForever, "test_what_is_not_used_goes_in_time"),
    (GoesByAge, "test_what_is_not_used_goes_in_time"),
    (ListsTheExpired, "test_what_is_not_used_goes_in_time"),
    (LooksUpAtOnce, "test_hints_are_only_hints"),
    (WorksForTheCaller, "test_hints_are_only_hints"),
    (FetchesUnknown, "test_hints_are_only_hints"),
    (LeavesAThread, "test_hints_are_only_hints"),
    (KeepsBorrowedMemory, "test_it_keeps_no_borrowed_memory"),
    (ClosesOnce, "test_closing_twice_is_no_error"),
]


@pytest.mark.parametrize("sound", [MemoryCache, Hinted])
def test_a_sound_cache_fails_none(sound, tmp_path):
    assert failing(CacheContract, in_memory(sound), checks(CacheContract) - RANDOM, tmp_path) == set()


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(CacheContract, in_memory(broken), checks(CacheContract) - RANDOM, tmp_path) == {check}


class ForgetsWhenClosed(DiskCache):
    def close(self):
        if not self._closed:
            self.delete_many(list(self.cids()))
        super().close()


class ForgetsUseWhenClosed(DiskCache):
    def close(self):
        self._used.clear()
        super().close()


class KeepsItsFirstQuota(DiskCache):
    def __init__(self, folder, max_bytes, **options):
        note = folder / "quota"
        if not note.exists():
            note.write_text(str(max_bytes))
        super().__init__(folder, int(note.read_text()), **options)


class LooksOnlyWhenOpened(DiskCache):
    def __init__(self, folder, max_bytes, **options):
        super().__init__(folder, max_bytes, **options)
        self.seen = set(self.cids())

    def put_many(self, blocks):
        super().put_many(blocks)
        self.seen.update(kept.cid for kept in blocks)

    def get_many(self, cids):
        return [kept if cid in self.seen else None for cid, kept in zip(cids, super().get_many(cids), strict=True)]


class WaitsForNobody(DiskCache):
    """Gives up if another has the folder, where it should wait."""

    def __init__(self, folder, max_bytes, **options):
        super().__init__(folder, max_bytes, **options)
        self.mine = threading.Lock()

    def put_many(self, blocks):
        with self.mine:
            os.close(os.open(self._folder / "busy", os.O_CREAT | os.O_EXCL))
            try:
                time.sleep(0.0005)
                super().put_many(blocks)
            finally:
                os.unlink(self._folder / "busy")


SHARED_BROKEN = [
    (ForgetsWhenClosed, "test_it_is_there_when_opened_again"),
    (ForgetsUseWhenClosed, "test_use_is_remembered"),
    (KeepsItsFirstQuota, "test_a_lower_quota_holds"),
    (LooksOnlyWhenOpened, "test_two_may_have_it_open"),
]


@pytest.mark.parametrize(("broken", "check"), SHARED_BROKEN, ids=[cls.__name__ for cls, _ in SHARED_BROKEN])
def test_exactly_its_check_fails_of_shared_caches(broken, check, tmp_path):
    assert failing(SharedCacheContract, broken, checks(SharedCacheContract) - RANDOM, tmp_path) == {check}


class NotForThreads(MemoryCache):
    inside = 0

    def put_many(self, blocks):
        self.inside += 1
        time.sleep(0.0005)
        if self.inside > 1:
            self.inside -= 1
            raise RuntimeError("two at once")
        super().put_many(blocks)
        self.inside -= 1


class DeletesOnce(MemoryCache):
    """A block that was deleted and put again cannot be deleted any more."""

    def __init__(self, max_bytes, **options):
        super().__init__(max_bytes, **options)
        self.deleted = set()

    def delete_many(self, cids):
        held = {cid for cid in cids if cid in self._once}
        super().delete_many(held - self.deleted)
        self.deleted |= held


RANDOM_BROKEN = [
    (CacheContract, in_memory(NotForThreads), "test_threads_may_share_it"),
    (CacheContract, in_memory(DeletesOnce), "test_any_sequence_of_calls"),
    (SharedCacheContract, WaitsForNobody, "test_two_may_use_it_at_once"),
]


@pytest.mark.parametrize(("contract", "make", "check"), RANDOM_BROKEN, ids=[check for _, _, check in RANDOM_BROKEN])
def test_only_the_random_check_finds_it(contract, make, check, tmp_path):
    assert failing(contract, make, checks(contract), tmp_path) == {check}


def test_every_check_has_a_broken_cache():
    covered = {check for _, check in BROKEN + SHARED_BROKEN} | {check for _, _, check in RANDOM_BROKEN}
    assert covered == checks(SharedCacheContract)
