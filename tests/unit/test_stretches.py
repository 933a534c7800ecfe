"""A set of bytes as stretches, against a set of numbers."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from wherry.stretches import Stretches

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=40)


@given(PAIRS)
def test_it_is_the_set_of_what_was_put_in(pairs):
    bytes_in = {at for start, end in pairs for at in range(start, end)}
    found = Stretches(pairs)
    assert {at for start, end in found for at in range(start, end)} == bytes_in
    assert found.total == len(bytes_in)
    assert all(before[1] < after[0] for before, after in zip(list(found), list(found)[1:], strict=False))  # sorted, and apart
    assert all(found.covers(start, end) == bytes_in.issuperset(range(start, end)) for start, end in pairs)


@given(PAIRS, PAIRS)
def test_a_copy_is_another_set(first, more):
    found = Stretches(first)
    copy = found.copy()
    for start, end in more:
        copy.add(start, end)
    assert found == Stretches(first)
    assert found.total == Stretches(first).total
    assert copy == Stretches([*first, *more])
    assert copy.total == Stretches([*first, *more]).total


def test_many_stretches_take_little_memory():
    found = Stretches((at, at + 1) for at in range(0, 20_000, 2))
    assert len(found) == 10_000
    assert sys.getsizeof(found._starts) + sys.getsizeof(found._ends) < 20 * len(found)
    assert all(sys.getsizeof(part) < 64 or part.itemsize == 8 for part in (found._starts, found._ends))
