"""One bucket on a virtual clock: never over its rate by more than it holds, and never far below it (specs/0026 §2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.traffic.bucket import BURST_S, QUANTA, Bucket
from wherry.traffic.meter import Meter

RATES = st.floats(1e3, 1e10)


@given(RATES, st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_never_over_the_rate_by_more_than_it_holds(rate, pauses):
    bucket, now, gone, windows = Bucket(rate), 0.0, 0, []
    for pause in pauses:
        now += pause
        while bucket.is_open(now):
            bucket.take(bucket.quantum)
            gone += bucket.quantum
        windows.append((now, gone))
    for begin, before in [(0.0, 0), *windows]:
        for end, after in windows:
            if end >= begin:
                assert after - before <= rate * (end - begin) * 1.0001 + bucket.depth + bucket.quantum + 2


def test_a_full_bucket_and_a_quantum_are_less_than_a_quarter_of_a_second():
    for rate in (82e3, 1e6, 1e8, 1e10):
        bucket = Bucket(rate)
        assert bucket.depth == pytest.approx(rate * BURST_S)
        assert bucket.depth + bucket.quantum <= 0.25 * rate
        assert bucket.quantum <= bucket.depth / QUANTA + 1


@given(RATES)
def test_it_opens_when_it_says(rate):
    bucket = Bucket(rate)
    while bucket.is_open(0.0):
        bucket.take(bucket.quantum)
    at = bucket.opens(0.0)
    assert at > 0
    assert bucket.is_open(at + 1e-9)
    assert bucket.opens(at + 1e-9) == at + 1e-9


def test_without_a_rate_it_is_always_open():
    bucket = Bucket()
    bucket.take(1 << 50)
    assert bucket.is_open(0.0)
    assert bucket.opens(5.0) == 5.0
    assert bucket.left(0.0) == float("inf")


def test_a_change_keeps_a_debt_but_none_that_lasts():
    bucket = Bucket(1e8)
    bucket.take(int(bucket.depth) + bucket.quantum)
    bucket.change(1e4, 0.0)
    assert bucket.left(0.0) == -bucket.depth  # a fifth of a second, not a minute
    bucket.change(None, 0.0)
    assert bucket.is_open(0.0)
    bucket.change(1e6, 1.0)
    assert bucket.left(1.0) == bucket.depth


def test_what_is_given_back_is_there_again_but_no_more_than_fits():
    bucket = Bucket(1e6)
    bucket.take(100_000)
    bucket.give(50_000)
    assert bucket.left(0.0) == bucket.depth - 50_000
    bucket.give(1 << 40)
    assert bucket.left(0.0) == bucket.depth


def test_a_meter_tells_the_rate_of_late():
    meter, now = Meter(0.0), 0.0
    for _ in range(1000):
        now += 0.01
        meter.add(10_000, now)
    assert meter.rate(now) == pytest.approx(1e6, rel=0.05)
    assert meter.rate(now + 20) < 1e4
    assert meter.total == 10_000_000
    meter.add(-10_000, now + 20)
    assert meter.total == 9_990_000
    assert meter.rate(now + 20) >= 0
