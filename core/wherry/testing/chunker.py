"""The contract of a chunker as tests (specs/0006 §13). Subclass, say how to make one, and let pytest run it::

    class TestAcmeChunker(ChunkerContract):
        def make_chunker(self):
            return AcmeChunker()

A chunker that cuts one file in two ways makes two datasets of it, and nobody notices: most tests here cut the same bytes
twice, in different circumstances, and compare.
"""

from __future__ import annotations

import random
import re
import threading
import time
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from wherry.abc.chunker import Chunker, SupportsKey
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.expect import expect
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS: Final = 4
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(:[A-Za-z0-9.,=_-]+)*", re.ASCII)
_NAME_CHARS_MAX: Final = 100
_LONG_BYTES: Final = 32 * MiB  # of the data on which the lock must be let go
_LONG_S: Final = 0.05  # who is done sooner may hold it
_TRIES: Final = 5


class ChunkerContract(ABC):
    """What every chunker must do."""

    @abstractmethod
    def make_chunker(self) -> Chunker:
        """Makes a chunker: each time one of the same name."""

    def test_the_leaves_cover_the_file(self) -> None:
        """The lengths of a whole file's leaves sum to it."""
        chunker = self.make_chunker()
        for data in samples(chunker.leaf_bytes_max):
            total = sum(chunker.cut(data, last=True))
            expect(total == len(data), f"the leaves of {len(data)} bytes sum to {total}")

    def test_leaves_are_within_bounds(self) -> None:
        """Each leaf has a byte, and none more than the chunker says, nor than wherry allows."""
        chunker = self.make_chunker()
        most = chunker.leaf_bytes_max
        expect(0 < most <= LEAF_BYTES_MAX, f"leaf_bytes_max is {most}, beyond 1 to {LEAF_BYTES_MAX}")
        for data in samples(most):
            for last in (False, True):
                wrong = [length for length in chunker.cut(data, last=last) if not 0 < length <= most]
                expect(not wrong, f"leaves of {wrong[:3]} bytes; they may have 1 to {most}")

    def test_nothing_has_no_leaves(self) -> None:
        """Empty data gives an empty list, whether the file ends or not."""
        chunker = self.make_chunker()
        for last in (False, True):
            found = chunker.cut(memoryview(b""), last=last)
            expect(found == [], f"empty data gives {found!r} with last={last}")

    def test_little_is_left_over(self) -> None:
        """If more may follow, less than one longest leaf is left to be seen again: a buffer must have room for it."""
        chunker = self.make_chunker()
        for data in samples(chunker.leaf_bytes_max):
            left = len(data) - sum(chunker.cut(data, last=False))
            expect(0 <= left < chunker.leaf_bytes_max, f"{left} of {len(data)} bytes are left over")

    def test_stretches_do_not_matter(self) -> None:
        """A file is cut in the same places however its bytes come."""
        chunker = self.make_chunker()
        for number, data in enumerate(samples(chunker.leaf_bytes_max)):
            whole = chunker.cut(data, last=True)
            for seed in range(4):
                found = list(in_stretches(chunker, data, random.Random(f"{number}/{seed}")))
                expect(found == whole, f"{len(data)} bytes in stretches are cut into {found[:8]}, in one into {whole[:8]} ...")

    def test_equal_chunkers_cut_alike(self) -> None:
        """Another object of the same name, in another process or year, makes the same leaves; so does another call."""
        first, second = self.make_chunker(), self.make_chunker()
        for data in samples(first.leaf_bytes_max):
            once, again, other = (each.cut(data, last=True) for each in (first, first, second))
            expect(once == again, "the same object cuts the same bytes in two ways")
            expect(once == other, "two objects made alike cut the same bytes in two ways")

    def test_the_name_is_canonical(self) -> None:
        """It is short, in plain letters, without spaces, and the same for all that are made alike."""
        first, second = (str(self.make_chunker().name) for _ in range(2))
        plain = len(first) <= _NAME_CHARS_MAX and _NAME.fullmatch(first) is not None
        expect(plain, f"{first!r} is no name such as 'acme.rolling:64KiB'")
        expect(first == second, f"two that are made alike are called {first!r} and {second!r}")

    def test_it_keeps_no_borrowed_memory(self) -> None:
        """Nothing of the data is held when ``cut`` is over, and no byte of it has changed."""
        chunker = self.make_chunker()
        for data in samples(chunker.leaf_bytes_max):
            borrowed = bytearray(data)
            view = memoryview(borrowed)
            chunker.cut(view, last=True)
            del view
            expect(borrowed == data, "the data has changed")
            expect(not _is_held(borrowed), "it still holds the data, which lies in a buffer that core uses again")

    def test_threads_may_share_it(self) -> None:
        """Threads that cut at once get what each would get alone."""
        chunker = self.make_chunker()
        inputs = list(samples(chunker.leaf_bytes_max))
        alone = [chunker.cut(data, last=True) for data in inputs]
        found: list[list[list[int]] | Exception] = [[] for _ in range(THREADS)]
        begin = threading.Barrier(THREADS)

        def work(number: int) -> None:
            begin.wait()
            try:
                found[number] = [chunker.cut(data, last=True) for data in inputs]
            except Exception as problem:  # noqa: BLE001 - whatever it is, the check below says it
                found[number] = problem

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for each in found:
            expect(each == alone, f"cutting in {THREADS} threads at once gave something else: {str(each)[:200]}")

    def test_the_lock_is_let_go(self) -> None:
        """While a chunker works for long, other threads run. One try in which they do is enough: the machine may be busy."""
        chunker = self.make_chunker()
        data = memoryview(random.Random(1).randbytes(_LONG_BYTES))
        stretches = [_longest_pause(chunker, data) for _ in range(_TRIES)]
        fair = any(took < _LONG_S or pause < took / 2 for took, pause in stretches)
        took, pause = stretches[0]
        expect(fair, f"cutting for {took:.2f} s, it let no other thread run for {pause:.2f} s")

    def test_a_key_moves_the_cuts(self) -> None:
        """A keyed chunker of the same key cuts alike, of another key otherwise, in whatever stretches; the name stays."""
        import pytest

        chunker = self.make_chunker()
        if not isinstance(chunker, SupportsKey):
            pytest.skip("it has no `keyed`")
        data = memoryview(random.Random(2).randbytes(8 * chunker.leaf_bytes_max))
        first, again, second = (chunker.keyed(bytes([number]) * 32) for number in (1, 1, 2))
        cuts = first.cut(data, last=True)
        expect(cuts == again.cut(data, last=True), "two of the same key cut otherwise")
        expect(cuts == list(in_stretches(first, data, random.Random(3))), "with a key, stretches matter")
        expect(cuts != second.cut(data, last=True), "another key cuts alike")
        expect(cuts != chunker.cut(data, last=True), "it cuts with a key as without")
        names = {each.name for each in (chunker, first, second)}
        expect(len(names) == 1, f"the key changes the name: {names}")


def _is_held(data: bytearray) -> bool:
    try:
        data.append(0)
    except BufferError:  # somebody has a view of it
        return True
    return False


def samples(leaf_bytes_max: int) -> Iterator[memoryview]:
    """Makes the files that are cut: of few bytes, of a leaf and a bit; chance, nothing but zeros, and a table."""
    chance = random.Random(leaf_bytes_max).randbytes(3 * leaf_bytes_max + 1)
    for size in (1, 2, leaf_bytes_max - 1, leaf_bytes_max, leaf_bytes_max + 1, len(chance)):
        yield memoryview(chance)[:size]
    yield memoryview(bytes(2 * leaf_bytes_max + 7))
    rows = b"".join(b"%d,%d\n" % (number, number * number % 9973) for number in range(5000))
    yield memoryview((rows * (2 * leaf_bytes_max // len(rows) + 1))[: 2 * leaf_bytes_max])


def in_stretches(chunker: Chunker, data: memoryview, chance: random.Random) -> Iterator[int]:
    """Cuts ``data`` as it comes from a reader: some bytes more each time, what was left over again before them."""
    start = end = 0
    while start < len(data):
        end = min(len(data), end + chance.randint(1, 2 * chunker.leaf_bytes_max))
        if end < len(data) or chance.random() < 0.5:  # a reader may learn that the file ends without getting more of it
            lengths = chunker.cut(data[start:end], last=False)
            yield from lengths
            start += sum(lengths)
        if end == len(data):
            if start < end:
                yield from chunker.cut(data[start:end], last=True)
            return


def _longest_pause(chunker: Chunker, data: memoryview) -> tuple[float, float]:
    """Cuts while another thread looks at the clock; gives how long that took, and the longest time it could not."""
    running, over = threading.Event(), threading.Event()
    times: list[float] = []

    def look() -> None:
        while not over.is_set():
            times.append(time.perf_counter())
            running.set()
            time.sleep(0.0005)  # lets go of the lock, so that what is cut gets on

    thread = threading.Thread(target=look)
    thread.start()
    try:
        running.wait()
        began = time.perf_counter()
        chunker.cut(data, last=True)
        ended = time.perf_counter()
    finally:
        over.set()
        thread.join()
    seen = [began, *(at for at in times if began < at < ended), ended]
    return ended - began, max(later - earlier for earlier, later in pairwise(seen))
