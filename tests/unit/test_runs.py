"""Runs: every want is in one run, missing, or left out for want of room, and neighbours are one stretch."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wherry.abc.transport import Want
from wherry.block import EMPTY_LEAF
from wherry.buffers import ROOM
from wherry.cid import CID, RAW
from wherry.runs import planned

SOME = CID.of(RAW, b"some")
WANTS = st.lists(
    st.builds(
        Want, st.sampled_from([SOME, EMPTY_LEAF]), st.none() | st.integers(0, 300), st.sampled_from(["", "a", "b/c"]),
        st.integers(0, 5).map(lambda number: number * 100),
    ),
    max_size=30,
)  # fmt: skip


@given(WANTS, st.integers(ROOM, ROOM + 3000))
def test_every_want_is_accounted_for_once_and_lies_inside(wants, capacity):
    plan = planned(wants, capacity)
    laid = [one for run in plan.runs for one in run.wants]
    numbers = [one.want for one in (*laid, *plan.blocks)] + plan.missing
    assert len(numbers) == len(set(numbers))
    for number in set(range(len(wants))) - set(numbers):
        assert wants[number].size, "only what has bytes may have no room"
    for number in plan.missing:
        assert not wants[number].size
    assert all(wants[one.want] == Want(EMPTY_LEAF, 0, *wants[one.want][2:]) for one in plan.blocks)
    at = ROOM
    for run in plan.runs:
        assert (run.at, run.size) == (at, sum(wants[one.want].size for one in run.wants))
        offset = run.offset
        for one in run.wants:
            want = wants[one.want]
            assert (want.path, want.offset, one.start, one.stop) == (run.path, offset, at, at + want.size)
            at, offset = one.stop, offset + want.size
    assert at <= capacity


@given(WANTS)
def test_neighbours_are_one_run(wants):
    for before, after in pairwise(planned(wants, 1 << 20).runs):
        assert (before.path, before.stop) != (after.path, after.offset)


@given(WANTS, st.integers(0, 400))
def test_of_a_run_that_is_cut_short_whole_wants_count(wants, count):
    for run in planned(wants, 1 << 20).runs:
        blocks, missing = run.arrived(min(count, run.size))
        assert [one.want for one in blocks] + missing == [one.want for one in run.wants]
        assert all(one.stop <= run.at + count for one in blocks)


def test_what_does_not_fit_is_left_out_and_the_rest_is_not():
    wants = [Want(SOME, 100, "a", 0), Want(SOME, 1000, "a", 100), Want(SOME, 50, "b", 0)]
    plan = planned(wants, ROOM + 200)
    assert [one.want for run in plan.runs for one in run.wants] == [0, 2]
    assert not plan.missing
