"""The contract of chunkers catches what it is there to catch: for each check there is a chunker that fails it, and no other."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from wherry.chunking import FixedChunker
from wherry.testing.checks import checks, failing
from wherry.testing.chunker import ChunkerContract
from wherry_chunk.fastcdc import FastcdcChunker

SIZE = 1 << 16
MADE = itertools.count()


class Chunker(FixedChunker):
    """Cuts as fixed does; what is wrong with it comes below."""

    def __init__(self, leaf_bytes=SIZE):
        super().__init__(leaf_bytes)


class DropsTheEnd(Chunker):
    def cut(self, data, *, last):
        return super().cut(data, last=False)


class EndsWithAnEmptyLeaf(Chunker):
    def cut(self, data, *, last):
        lengths = super().cut(data, last=last)
        return [*lengths, 0] if last and lengths and lengths[-1] < SIZE else lengths


class AllowsItselfTooMuch(Chunker):
    leaf_bytes_max = (4 << 20) + 1


class MakesALeafOfNothing(Chunker):
    def cut(self, data, *, last):
        return super().cut(data, last=last) or [0] * (not data)


class LeavesTooMuchOver(Chunker):
    def cut(self, data, *, last):
        lengths = super().cut(data, last=last)
        return lengths if last else lengths[:-1]


class CutsWhereTheDataEnds(Chunker):
    """What a library does that takes its buffer for the file."""

    def cut(self, data, *, last):
        return super().cut(data, last=True)


class IsOfItsOwnMind(Chunker):
    def __init__(self):
        super().__init__(SIZE - next(MADE) % 7)

    leaf_bytes_max = SIZE
    name = "mind"


class HasANumber(Chunker):
    def __init__(self):
        super().__init__()
        object.__setattr__(self, "number", next(MADE))

    @property
    def name(self):
        return f"numbered:{self.number}"


class IsCalledAsPeopleWrite(Chunker):
    name = "Fixed, 64 KiB"


class HasNoName(Chunker):
    name = ""


class KeepsAView(Chunker):
    def cut(self, data, *, last):
        object.__setattr__(self, "data", data)
        return super().cut(data, last=last)


class ScribblesOnTheData(Chunker):
    def cut(self, data, *, last):
        if data and not data.readonly:
            data[0] ^= 1
        return super().cut(data, last=last)


class HasOneScratch(Chunker):
    def cut(self, data, *, last):
        object.__setattr__(self, "data", data)
        time.sleep(0.001)
        data = self.data
        object.__setattr__(self, "data", None)
        return super().cut(data, last=last)


class HoldsTheLock(Chunker):
    def cut(self, data, *, last):
        if len(data) >= 1 << 24:
            sum(data)  # in C, from the first byte to the last
        return super().cut(data, last=last)


class Keyed(FastcdcChunker):
    def __init__(self, seed=0):
        super().__init__(SIZE, seed)


class IgnoresTheKey(Keyed):
    def keyed(self, key):
        return self


class HasOneKey(Keyed):
    def keyed(self, key):
        return FastcdcChunker(SIZE).keyed(bytes(32))


class DrawsAnotherKey(Keyed):
    def keyed(self, key):
        return FastcdcChunker(SIZE, random.SystemRandom().randrange(1, 1 << 62))


class SaysThatItIsKeyed(Keyed):
    def keyed(self, key):
        return Renamed(SIZE, super().keyed(key).seed)


class Renamed(FastcdcChunker):
    name = "fastcdc:keyed"


class ForgetsStretchesWithAKey(Keyed):
    def keyed(self, key):
        return TakesDataForTheFile(SIZE, super().keyed(key).seed)


class TakesDataForTheFile(FastcdcChunker):
    def cut(self, data, *, last):
        return super().cut(data, last=True)


BROKEN = [
    (DropsTheEnd, "test_the_leaves_cover_the_file"),
    (EndsWithAnEmptyLeaf, "test_leaves_are_within_bounds"),
    (AllowsItselfTooMuch, "test_leaves_are_within_bounds"),
    (MakesALeafOfNothing, "test_nothing_has_no_leaves"),
    (LeavesTooMuchOver, "test_little_is_left_over"),
    (CutsWhereTheDataEnds, "test_stretches_do_not_matter"),
    (IsOfItsOwnMind, "test_equal_chunkers_cut_alike"),
    (HasANumber, "test_the_name_is_canonical"),
    (IsCalledAsPeopleWrite, "test_the_name_is_canonical"),
    (HasNoName, "test_the_name_is_canonical"),
    (KeepsAView, "test_it_keeps_no_borrowed_memory"),
    (ScribblesOnTheData, "test_it_keeps_no_borrowed_memory"),
    (HasOneScratch, "test_threads_may_share_it"),
    (HoldsTheLock, "test_the_lock_is_let_go"),
    (IgnoresTheKey, "test_a_key_moves_the_cuts"),
    (HasOneKey, "test_a_key_moves_the_cuts"),
    (DrawsAnotherKey, "test_a_key_moves_the_cuts"),
    (SaysThatItIsKeyed, "test_a_key_moves_the_cuts"),
    (ForgetsStretchesWithAKey, "test_a_key_moves_the_cuts"),
]


def suite_of(make):
    return type("Suite", (ChunkerContract,), {"make_chunker": lambda self: make()})()


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(suite_of(broken), tmp_path) == {check}


@pytest.mark.parametrize("sound", [Chunker, Keyed])
def test_what_they_are_made_of_is_sound(sound, tmp_path):
    assert failing(suite_of(sound), tmp_path) == set()


def test_every_check_has_a_broken_chunker():
    assert {check for _, check in BROKEN} == checks(ChunkerContract)
