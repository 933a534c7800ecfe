"""The score of a source: its ends, its middle, and that it fades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.transfer.standing import HALF_LIFE_S, Standing


def after(*jobs, now=0.0):
    """A standing after jobs: "good", "failed" or "wrong", one a second."""
    made = Standing()
    for job in jobs:
        if job == "good":
            made.answered(now, 4 << 20, 0.4, 0.1)
        elif job == "failed":
            made.failed(now)
        else:
            made.wrong(now, 1)
        now += 1
    return made


def test_a_newcomer_is_in_the_middle():
    assert Standing().score(0.0, 0.0) == pytest.approx(0.5)
    assert Standing().score(1e6, 1e9) == pytest.approx(0.5)


def test_a_flawless_source_comes_near_one():
    made = after(*["good"] * 100)
    made.answered(100.0, 1000, 0.001, 0.001)
    assert made.score(100.0, made.rate) > 0.95


def test_failures_and_a_low_rate_lower_it():
    good = after(*["good"] * 10)
    assert after(*["good"] * 10, *["failed"] * 5).score(15.0, 1e7) < good.score(15.0, 1e7)
    assert good.score(10.0, 1e9) < good.score(10.0, 1e7)


def test_proven_corruption_weighs_more_than_failure():
    assert after(*["good"] * 20, "wrong").score(21.0, 1e7) < after(*["good"] * 20, "failed").score(21.0, 1e7)
    assert after("wrong").score(1.0, 0.0) == 0.0
    assert after(*["good"] * 9, "wrong").score(10.0, 1e7) < 0.25 < after(*["good"] * 300, "wrong").score(301.0, 1e7)


def test_it_fades_towards_the_middle():
    worst = after(*["wrong"] * 10, *["failed"] * 10)
    scores = [worst.score(20.0 + n * HALF_LIFE_S, 0.0) for n in range(12)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[-1] == pytest.approx(0.5, abs=0.05)


def test_latency_is_that_of_small_answers_alone():
    made = Standing()
    made.answered(0.0, 4 << 20, 2.0, 2.0)
    assert made.latency_s == 0.0
    made.answered(0.0, 100, 0.02, 0.02)
    assert made.latency_s == pytest.approx(0.02)


def test_the_rate_moves_towards_what_is_new_and_small_jobs_move_it_little():
    made = Standing()
    made.answered(0.0, 4 << 20, 1.0, 0.1)
    assert made.rate == 4 << 20
    made.answered(0.0, 4 << 20, 4.0, 0.1)
    assert 1 << 20 < made.rate < 4 << 20
    before = made.rate
    made.answered(0.0, 100, 10.0, 10.0)
    assert made.rate == pytest.approx(before, rel=0.001)


@given(
    st.lists(st.tuples(st.sampled_from(["good", "failed", "wrong"]), st.floats(0, 1000)), max_size=50),
    st.floats(0, 1e12), st.floats(0, 1e6),
)  # fmt: skip
def test_it_stays_between_nothing_and_one(jobs, best, later):
    made, now = Standing(), 0.0
    for job, pause in jobs:
        now += pause
        if job == "good":
            made.answered(now, int(pause * 1000), pause, pause / 2)
        elif job == "failed":
            made.failed(now)
        else:
            made.wrong(now, 3)
    assert 0.0 <= made.score(now + later, best or 1.0) <= 1.0
