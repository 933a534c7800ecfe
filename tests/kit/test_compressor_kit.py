"""The contract of compressors catches what it is there to catch: for each check there is one that fails it, and no other."""

from __future__ import annotations

import itertools
import random
import time
import zlib

import pytest

from wherry.abc.compressor import Compressor
from wherry.errors import DecodeError
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.checks import checks, failing
from wherry.testing.compressor import CompressorContract

MADE = itertools.count(1)


class Sound(Compressor):
    """Codes by zlib; what is wrong with it comes below."""

    levels = (1, 6)
    variant = ""

    def compress(self, data, *, level=None):
        return zlib.compress(data, 1 if level is None else level)

    def decompress_into(self, coded, view):
        made = zlib.decompressobj()
        try:
            plain = made.decompress(coded, len(view) + 1)
        except zlib.error as problem:
            raise DecodeError("no stream of zlib") from problem
        self.judge(plain, made, view)

    def judge(self, plain, made, view):
        if not made.eof or made.unused_data or len(plain) != len(view):
            raise DecodeError("not one whole stream of that size")
        view[:] = plain


class HasNoLevels(Sound):
    levels = ()


class SaysALevelTwice(Sound):
    levels = (1, 1)


class LosesTheEndOfLargeBlocks(Sound):
    def compress(self, data, *, level=None):
        coded = super().compress(data, level=level)
        large = len(data) == LEAF_BYTES_MAX and len(coded) > LEAF_BYTES_MAX // 2
        return super().compress(bytes(data[:-1]) + b"\0") if large else coded


class HasALevelThatIsNone(Sound):
    levels = (1, 6, 10)

    def compress(self, data, *, level=None):
        return b"?" if level == 10 else super().compress(data, level=level)


class TakesNothingButBytes(Sound):
    def compress(self, data, *, level=None):
        return super().compress(b"".join([data]) if isinstance(data, bytes) else b"", level=level)


class GivesABytearray(Sound):
    def compress(self, data, *, level=None):
        coded = super().compress(data, level=level)
        return bytearray(coded) if isinstance(data, memoryview) else coded


class ReadsNobodyElse(Sound):
    def __init__(self):
        self.key = next(MADE) % 251 + 1

    def turned(self, data):
        return bytes(byte ^ self.key for byte in data[:1]) + bytes(data[1:])

    def compress(self, data, *, level=None):
        return self.turned(super().compress(data, level=level))

    def decompress_into(self, coded, view):
        super().decompress_into(self.turned(coded), view)


class FillsUpWhatIsCutShort(Sound):
    """What a stream's reader does that knows no end."""

    def judge(self, plain, made, view):
        if made.eof:
            super().judge(plain, made, view)
        elif len(plain) > len(view):
            raise DecodeError("too much")
        else:
            view[: len(plain)] = plain


class DropsWhatFollows(Sound):
    """What a decoder in one call does."""

    def judge(self, plain, made, view):
        if not made.eof or len(plain) != len(view):
            raise DecodeError("not one whole stream of that size")
        view[:] = plain


class IsContentWithLess(Sound):
    def judge(self, plain, made, view):
        if not made.eof or made.unused_data or len(plain) > len(view):
            raise DecodeError("not one whole stream of that size")
        view[: len(plain)] = plain


class RaisesItsLibrarysErrors(Sound):
    def decompress_into(self, coded, view):
        made = zlib.decompressobj()
        self.judge(made.decompress(coded, len(view) + 1), made, view)


class BelievesWhatIsClaimed(Sound):
    """Decodes all there is, and looks at its size then."""

    def decompress_into(self, coded, view):
        made = zlib.decompressobj()
        try:
            plain = made.decompress(coded)
        except zlib.error as problem:
            raise DecodeError("no stream of zlib") from problem
        self.judge(plain, made, view)


class WritesBesideTheView(Sound):
    def judge(self, plain, made, view):
        whole = memoryview(view.obj)
        if whole.nbytes > len(view):
            whole[-1] = 0
        super().judge(plain, made, view)


class KeepsTheView(Sound):
    def judge(self, plain, made, view):
        super().judge(plain, made, view)
        self.view = view


class KeepsTheData(Sound):
    def compress(self, data, *, level=None):
        if isinstance(data, memoryview):
            self.data = data
        return super().compress(data, level=level)


class HasOneScratch(Sound):
    def compress(self, data, *, level=None):
        self.data = data
        time.sleep(0.0005)
        data, self.data = self.data, None
        return super().compress(data, level=level) if data is not None else b"?"


class HoldsTheLockWhileCoding(Sound):
    def compress(self, data, *, level=None):
        if len(data) == LEAF_BYTES_MAX:
            sum(bytes(data) * 6)  # in C, from the first byte to the last
        return super().compress(data, level=level)


class HoldsTheLockWhileDecoding(Sound):
    def judge(self, plain, made, view):
        if len(plain) == LEAF_BYTES_MAX:
            sum(plain * 6)
        super().judge(plain, made, view)


class HasAVariantByChance(Sound):
    @property
    def variant(self):
        return f"v{random.SystemRandom().getrandbits(60)}"


class HasAVariantAsPeopleWrite(Sound):
    variant = "My Dictionary"


BROKEN = [
    (HasNoLevels, "test_it_says_its_levels"),
    (SaysALevelTwice, "test_it_says_its_levels"),
    (LosesTheEndOfLargeBlocks, "test_what_is_coded_comes_back"),
    (HasALevelThatIsNone, "test_every_level_works"),
    (TakesNothingButBytes, "test_any_kind_of_memory"),
    (GivesABytearray, "test_any_kind_of_memory"),
    (ReadsNobodyElse, "test_one_reads_what_another_wrote"),
    (FillsUpWhatIsCutShort, "test_what_is_cut_short_is_refused"),
    (DropsWhatFollows, "test_what_goes_on_is_refused"),
    (IsContentWithLess, "test_another_size_is_refused"),
    (RaisesItsLibrarysErrors, "test_changed_bytes_raise_nothing_else"),
    (BelievesWhatIsClaimed, "test_bombs_are_bounded"),
    (WritesBesideTheView, "test_it_writes_where_it_is_told"),
    (KeepsTheView, "test_it_keeps_no_borrowed_memory"),
    (KeepsTheData, "test_it_keeps_no_borrowed_memory"),
    (HasOneScratch, "test_threads_may_share_it"),
    (HoldsTheLockWhileCoding, "test_the_lock_is_let_go"),
    (HoldsTheLockWhileDecoding, "test_the_lock_is_let_go"),
    (HasAVariantByChance, "test_its_variant_is_plain"),
    (HasAVariantAsPeopleWrite, "test_its_variant_is_plain"),
]


def suite_of(make):
    return type("Suite", (CompressorContract,), {"make_compressor": lambda self: make()})()


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(suite_of(broken), tmp_path) == {check}


def test_what_they_are_made_of_is_sound(tmp_path):
    assert failing(suite_of(Sound), tmp_path) == set()


def test_every_check_has_a_broken_compressor():
    assert {check for _, check in BROKEN} == checks(CompressorContract)
