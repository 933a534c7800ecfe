"""The contract of a compressor as tests (specs/0006 §8, specs/0015 §4). Subclass, say how to make one, and let pytest run it::

    class TestAcmeCompressor(CompressorContract):
        def make_compressor(self):
            return AcmeCompressor()

What is decoded comes from strangers, so most tests here give a decoder what no coder made, and look at three things: that it
is refused, by what error, and what memory was spent on it.
"""

from __future__ import annotations

import os
import random
import re
import resource
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from wherry.abc.compressor import SupportsVariant
from wherry.errors import DecodeError
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.expect import ContractBroken, expect
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.abc.compressor import Compressor

SIZES: Final = (1, 2, 3, 100, 4095, 4096, 65_535, 65_537, MiB + 1, LEAF_BYTES_MAX)
MEMORY_MAX: Final = 24 * MiB  # a window of 8 MiB, the plain size once more, and what an allocator does
THREADS: Final = 6
_BOMB_BYTES: Final = 64 * MiB
_CHANGES: Final = 400
_LONG_S: Final = 0.05  # who is done sooner may hold the lock
_TRIES: Final = 5
_VARIANT: Final = re.compile(r"[a-z0-9.-]{1,40}", re.ASCII)


def text(size: int, seed: int = 0) -> bytes:
    """Makes bytes that shrink as text does: always the same."""
    rng = random.Random(f"text {seed}")
    rows = [b"%d,%s,%d\n" % (n, rng.choice((b"north", b"south", b"east", b"west")), rng.getrandbits(9)) for n in range(4000)]
    once = b"".join(rows)
    return (once * (size // len(once) + 1))[:size]


class CompressorContract(ABC):
    """What every compressor must do."""

    @abstractmethod
    def make_compressor(self) -> Compressor:
        """Makes a compressor: each time one that is configured alike."""

    def bombs(self) -> Iterator[tuple[bytes, int]]:
        """Yields coded bytes that claim more than they may, with the size that they are decoded into. Override to add some."""
        yield from ()

    def test_it_says_its_levels(self) -> None:
        """At least one, each once, whole numbers."""
        levels: object = self.make_compressor().levels
        good = isinstance(levels, tuple) and len(set(levels)) == len(levels) > 0 and all(type(one) is int for one in levels)
        expect(good, f"its levels are {levels!r}, must be a tuple of different whole numbers, at least one")

    def test_what_is_coded_comes_back(self) -> None:
        """Blocks of every size and kind: text, chance, nothing but zeros; and what Hypothesis thinks of, if it is installed."""
        compressor = self.make_compressor()
        for size in SIZES:
            for data in (text(size), random.Random(size).randbytes(size), bytes(size)):
                comes_back(compressor, data)
        if find_spec("hypothesis") is not None:
            _hypothesise(compressor)

    def test_every_level_works(self) -> None:
        """Each level that it says codes what it decodes."""
        compressor = self.make_compressor()
        for level in compressor.levels:
            for data in (text(100_000), random.Random(level).randbytes(1000)):
                comes_back(compressor, data, level)

    def test_any_kind_of_memory(self) -> None:
        """Plain and coded bytes may lie in ``bytes``, a ``bytearray`` or a ``memoryview``."""
        compressor = self.make_compressor()
        data = text(50_000)
        for kind in (bytes, bytearray, memoryview):
            coded = compressor.compress(kind(data))
            expect(type(coded) is bytes, f"{kind.__name__} is coded into {type(coded).__name__}, must be bytes")
            view = memoryview(bytearray(len(data)))
            compressor.decompress_into(kind(coded), view)
            expect(view == data, f"coded bytes in a {kind.__name__} came back as others")

    def test_one_reads_what_another_wrote(self) -> None:
        """An object that is made alike, in another process or year, reads it."""
        first, second = self.make_compressor(), self.make_compressor()
        data = text(10_000)
        view = memoryview(bytearray(len(data)))
        refused = _raised(second, first.compress(data), view)
        expect(refused is None and view == data, f"one that is made alike cannot read it: {refused!r}")

    def test_what_is_cut_short_is_refused(self) -> None:
        """Coded bytes of which some are missing at the end, be it all of them, are a DecodeError."""
        compressor = self.make_compressor()
        for data in samples():
            coded = compressor.compress(data)
            for kept in sorted({0, len(coded) // 2, *range(len(coded))[:2], *range(len(coded))[-12:]}):
                self._refuses(compressor, coded[:kept], len(data), f"{kept} of {len(coded)} coded bytes")

    def test_what_goes_on_is_refused(self) -> None:
        """Coded bytes behind which more follows, be it the same once more, are a DecodeError."""
        compressor = self.make_compressor()
        for data in samples():
            coded = compressor.compress(data)
            for more in (b"\0", b"\xff" * 7, coded, bytes(5000)):
                self._refuses(compressor, coded + more, len(data), f"coded bytes with {len(more)} behind them")

    def test_another_size_is_refused(self) -> None:
        """Coded bytes that stand for more or fewer bytes than were asked for are a DecodeError."""
        compressor = self.make_compressor()
        for data in samples():
            coded = compressor.compress(data)
            for size in {1, len(data) // 2, len(data) - 1, len(data) + 1, 2 * len(data)} - {0, len(data)}:
                self._refuses(compressor, coded, size, f"{len(data)} coded bytes that were said to be {size}")

    def test_changed_bytes_raise_nothing_else(self) -> None:
        """Whatever bytes come, a DecodeError leaves it, or nothing: then core finds by the hash that they are wrong."""
        compressor = self.make_compressor()
        rng = random.Random(1)
        pieces = [(compressor.compress(data), len(data)) for data in (text(3000), rng.randbytes(500), bytes(70_000))]
        for number in range(_CHANGES):
            coded, size = pieces[number % len(pieces)]
            changed = bytearray(coded)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(min(len(changed), 40) if rng.random() < 0.5 else len(changed))] = rng.randrange(256)
            _raised(compressor, bytes(changed), memoryview(bytearray(size)))
            _raised(compressor, rng.randbytes(rng.randint(1, 60)), memoryview(bytearray(rng.randint(1, 5000))))

    def test_bombs_are_bounded(self) -> None:
        """A few bytes that stand for very many are refused, and cost no memory. Where the system tells, it is looked at."""
        compressor = self.make_compressor()
        bombs = list(self.bombs())
        for size in (_BOMB_BYTES, LEAF_BYTES_MAX):
            with suppress(Exception):  # more than a leaf is more than it has to take
                bombs.append((compressor.compress(bytes(size)), 1000))
        for coded, size in bombs:
            grown = grown_by(partial(self._refuses, compressor, coded, size, "a bomb"))
            expect(grown <= MEMORY_MAX, f"{len(coded)} coded bytes for a block of {size} took {grown >> 20} MiB")

    def test_it_writes_where_it_is_told(self) -> None:
        """Bytes before and behind ``view`` stay as they are, also when it is refused in the middle."""
        compressor = self.make_compressor()
        data = text(5000)
        coded = compressor.compress(data)
        for given in (coded, coded[:-1], coded + b"x"):
            around = bytearray(b"\xa5" * (len(data) + 200))
            _raised(compressor, given, memoryview(around)[100:-100])
            expect(around[:100] + around[-100:] == b"\xa5" * 200, "it wrote outside of the memory that it was given")

    def test_it_keeps_no_borrowed_memory(self) -> None:
        """Nothing of its arguments is held when a call is over, and no byte of what it reads has changed."""
        compressor = self.make_compressor()
        for size in (100, 100_000):
            data, coded, out = bytearray(text(size)), bytearray(compressor.compress(text(size))), bytearray(size)
            before = bytes(coded)
            compressor.compress(memoryview(data))
            compressor.decompress_into(memoryview(coded), memoryview(out))
            expect(data == text(size) and coded == before, "bytes that it was given to read have changed")
            held = [name for name, memory in (("plain", data), ("coded", coded), ("view", out)) if _is_held(memory)]
            expect(not held, f"it still holds its arguments ({', '.join(held)}), which lie in buffers that core uses again")

    def test_threads_may_share_it(self) -> None:
        """Threads that code and decode at once get what each would get alone."""
        compressor = self.make_compressor()
        found: list[Exception | None] = [None] * THREADS
        begin = threading.Barrier(THREADS)
        fastest = next(iter(compressor.levels), None)

        def work(number: int) -> None:
            begin.wait()
            try:
                for turn in range(12):
                    comes_back(compressor, text(20_000 + 1000 * turn, seed=number), fastest if turn % 2 else None)
            except Exception as problem:  # noqa: BLE001 - whatever it is, the check below says it
                found[number] = problem

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        problems = [problem for problem in found if problem is not None]
        expect(not problems, f"in {THREADS} threads at once: {str(problems[:1])[:300]}")

    def test_the_lock_is_let_go(self) -> None:
        """While it works for long, other threads run. One try in which they do is enough: the machine may be busy."""
        compressor = self.make_compressor()
        data = text(LEAF_BYTES_MAX)
        coded = compressor.compress(data)
        view = memoryview(bytearray(len(data)))
        works: Sequence[Callable[[], object]] = (
            lambda: compressor.compress(data),
            lambda: compressor.decompress_into(coded, view),
        )
        for name, work in zip(("coding", "decoding"), works, strict=True):
            for left in reversed(range(_TRIES)):
                took, pause = _longest_pause(work)
                if took < _LONG_S or pause < took / 2:
                    break
                expect(left > 0, f"{name} for {took:.2f} s, it let no other thread run for {pause:.2f} s")

    def test_its_variant_is_plain(self) -> None:
        """It is short, in plain letters, and the same for all that are configured alike."""
        first, second = self.make_compressor(), self.make_compressor()
        if not isinstance(first, SupportsVariant) or not isinstance(second, SupportsVariant):
            import pytest

            pytest.skip("it has no `variant`")
        expect(not first.variant or _VARIANT.fullmatch(first.variant) is not None, f"{first.variant!r} is no plain variant")
        expect(first.variant == second.variant, f"two that are made alike have the variants {first.variant}, {second.variant}")

    def _refuses(self, compressor: Compressor, coded: bytes, size: int, what: str) -> None:
        expect(_raised(compressor, coded, memoryview(bytearray(size))) is not None, f"{what}: decoded without an error")


def samples() -> Iterator[bytes]:
    """Makes the blocks whose coded bytes are spoiled."""
    yield text(5000)
    yield random.Random(1).randbytes(3000)
    yield bytes(200_000)
    yield b"x"


def comes_back(compressor: Compressor, data: bytes, level: int | None = None) -> None:
    """Complains unless ``data`` is coded and decoded again."""
    coded = compressor.compress(data) if level is None else compressor.compress(data, level=level)
    view = memoryview(bytearray(len(data)))
    refused = _raised(compressor, coded, view)
    expect(refused is None and view == data, f"{len(data)} bytes, level {level}, came back as others, or not: {refused!r}")


def _raised(compressor: Compressor, coded: bytes, view: memoryview) -> DecodeError | None:
    """Decodes; gives the DecodeError that leaves it. Any other exception breaks the contract."""
    try:
        compressor.decompress_into(coded, view)
    except DecodeError as problem:
        return problem
    except Exception as problem:
        raise ContractBroken(f"{len(coded)} coded bytes give {problem!r:.200}, must be a DecodeError") from problem
    return None


def _hypothesise(compressor: Compressor) -> None:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    pieces = st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 300)).map(lambda pair: pair[0] * pair[1])

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(pieces, min_size=1, max_size=6).map(b"".join))
    def check(data: bytes) -> None:
        comes_back(compressor, data)

    check()


def _is_held(data: bytearray) -> bool:
    try:
        data.append(0)
    except BufferError:  # somebody has a view of it
        return True
    return False


def grown_by(call: Callable[[], None]) -> int:
    """Gives by how many bytes this process was larger, at most, while ``call`` ran; 0 where the system does not tell."""
    if sys.platform != "linux":
        call()
        return 0
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak is now what is used now (proc_pid_clear_refs(5))
    except OSError:  # not allowed here: only what goes beyond an older peak is seen
        before = _peak()
    else:
        before = _used()
    call()
    return max(0, _peak() - before)


def _used() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KiB


def _longest_pause(work: Callable[[], object]) -> tuple[float, float]:
    """Works while another thread looks at the clock; gives how long that took, and the longest time it could not."""
    running, over = threading.Event(), threading.Event()
    times: list[float] = []

    def look() -> None:
        while not over.is_set():
            times.append(time.perf_counter())
            running.set()
            time.sleep(0.0005)  # lets go of the lock, so that the work gets on

    thread = threading.Thread(target=look)
    thread.start()
    try:
        running.wait()
        began = time.perf_counter()
        work()
        ended = time.perf_counter()
    finally:
        over.set()
        thread.join()
    seen = [began, *(at for at in times if began < at < ended), ended]
    return ended - began, max(later - earlier for earlier, later in pairwise(seen))
