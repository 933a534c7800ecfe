"""Background traffic on a virtual link with a queue: it fills an idle one, and gives way on a busy one (specs/0026 §4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.traffic.ledbat import BASE_MINUTES, TARGET_S, WINDOW_MIN, Ledbat


class Bottleneck:
    """A link of ``rate`` bytes a second behind a queue that holds ``depth_s`` of it; others put in ``cross`` a second."""

    def __init__(self, rate, trip_s, depth_s=1.0):
        self.rate, self.trip_s, self.depth_s = rate, trip_s, depth_s
        self.queue, self.now, self.cross = 0.0, 0.0, 0.0
        self.ledbat = Ledbat(0.0)
        self.ledbat.sampled(trip_s, 0, 0.0, lost=False)

    def run(self, seconds):
        """Gives the mean rate of ours, and the longest queue in the last half in seconds."""
        end, gone, longest, half = self.now + seconds, 0.0, 0.0, self.now + seconds / 2
        while self.now < end:
            step = self.trip_s + self.queue / self.rate
            sent = self.ledbat.rate * step
            self.queue = max(0.0, self.queue + sent + (self.cross - self.rate) * step)
            lost = self.queue > self.depth_s * self.rate
            self.queue = min(self.queue, self.depth_s * self.rate)
            self.now += step
            gone += sent
            self.ledbat.sampled(self.trip_s + self.queue / self.rate, int(sent), self.now, lost=lost)
            if self.now > half:
                longest = max(longest, self.queue / self.rate)
        return gone / seconds, longest


@pytest.mark.parametrize(("rate", "trip_s"), [(1e6, 0.02), (1e7, 0.02), (1e7, 0.1)])
def test_it_fills_an_idle_link_and_keeps_the_queue_near_the_target(rate, trip_s):
    link = Bottleneck(rate, trip_s)
    link.run(30)
    mean, queue_s = link.run(60)
    assert mean >= 0.85 * rate
    assert queue_s <= 1.3 * TARGET_S


def test_it_gives_way_to_others_and_comes_back():
    link = Bottleneck(1e6, 0.02)
    link.run(60)
    link.cross = 1e6  # as much as there is: whoever heeds no delay takes it all
    link.run(30)
    mean, _ = link.run(30)
    assert mean <= 0.1 * link.rate
    link.cross = 0.0
    link.run(60)
    mean, _ = link.run(60)
    assert mean >= 0.7 * link.rate


def test_a_loss_halves_it_once_a_round_trip():
    ledbat, now = Ledbat(0.0), 0.0
    for _ in range(8):
        now += 0.05
        ledbat.sampled(0.05, 200_000, now, lost=False)
    before = ledbat.rate
    after = ledbat.sampled(0.05, 100, now + 0.05, lost=True)
    assert after == pytest.approx(before / 2)
    assert ledbat.sampled(0.05, 100, now + 0.06, lost=True) == after
    assert ledbat.sampled(0.05, 100, now + 0.11, lost=True) == pytest.approx(before / 4)


def test_a_window_that_is_not_used_does_not_grow():
    ledbat = Ledbat(0.0)
    first = ledbat.sampled(0.05, 0, 0.05, lost=False)
    for n in range(2, 200):
        rate = ledbat.sampled(0.05, 10, n * 0.05, lost=False)
    assert rate == first == WINDOW_MIN / 0.05


def test_the_shortest_trip_of_long_ago_is_forgotten():
    ledbat = Ledbat(0.0)
    ledbat.sampled(0.01, 1000, 0.0, lost=False)
    for minute in range(1, BASE_MINUTES + 2):
        ledbat.sampled(0.3, 1_000_000, minute * 61.0, lost=False)
    assert min(ledbat._base) == 0.3  # the way is another one, not a queue


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 30), st.booleans()), max_size=80))
def test_the_rate_is_always_one(samples):
    ledbat, now = Ledbat(0.0), 0.0
    for delay_s, gone, lost in samples:
        now += delay_s / 2
        rate = ledbat.sampled(delay_s, gone, now, lost=lost)
        assert 0 < rate <= (1 << 30) / 0.001
        assert rate >= WINDOW_MIN / 10
