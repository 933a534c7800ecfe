"""What is remembered of a peer: how it fades, what is added, who is forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.acquaintance import FIGURES_S, HALF_LIFE_S, Acquaintance, News, faded, is_sane, surplus, told

KEY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
NOW = 1_800_000_000.0


def peer(key=KEY, *, network="10.0.0.0/24", **figures):
    return Acquaintance(key, "://" not in key, "", network, NOW, NOW, **figures)


counts = st.floats(0, 1e9)
news = st.builds(
    News, counts, counts, counts, st.integers(0, 10**9), st.integers(0, 10**15), st.integers(0, 10**15), counts, counts
)


@given(counts, st.floats(0, 1e9), st.floats(0, 1e9))
def test_fading_twice_is_fading_once_for_the_whole_time(count, first, second):
    begun = peer(useful=count, failed=count, wrong=count, useful_at=NOW)
    twice = faded(faded(begun, NOW + first), NOW + first + second)
    once = faded(begun, NOW + first + second)
    assert twice.useful == pytest.approx(once.useful, rel=1e-6, abs=1e-9)
    assert 0 <= once.useful <= count
    assert once.failed == once.wrong == once.useful


def test_a_half_life_halves_and_figures_end():
    begun = peer(useful=8.0, wrong=2.0, rate=5.0, latency_s=0.1, useful_at=NOW)
    later = faded(begun, NOW + HALF_LIFE_S)
    assert (later.useful, later.wrong, later.rate) == (4.0, 1.0, 5.0)
    assert faded(begun, NOW + FIGURES_S + 1)[11:13] == (0.0, 0.0)


@given(news, st.lists(st.floats(-1e10, 1e10), max_size=5), st.booleans())
def test_whatever_the_clock_does_it_stays_sane(done, jumps, proven):
    found = peer(KEY if proven else "http://h:1")
    now = NOW
    for jump in jumps:
        now = max(0.0, now + jump)
        found = told(found, done, now)
        assert is_sane(found)
        assert found.last == now
        assert found.first <= now


@given(news, news)
def test_news_add_up(one, other):
    both = one.plus(other)
    assert both.down == one.down + other.down
    assert both.wrong == one.wrong + other.wrong
    assert both.rate == (other.rate or one.rate)
    assert one.plus(News()) == one


@given(news)
def test_nothing_bad_is_remembered_of_who_proved_nothing(done):
    plain, proven = told(peer("http://h:1"), done, NOW), told(peer(), done, NOW)
    assert (plain.failed, plain.wrong, plain.rejected) == (0, 0, 0)
    assert (proven.failed, proven.wrong, proven.rejected) == (done.failed, done.wrong, done.rejected)
    assert plain.useful == proven.useful == done.useful
    assert plain.useful_at == (NOW if done.useful else 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"useful": math.nan}, {"failed": math.inf}, {"wrong": -1.0}, {"down": "many"}, {"key": 7}, {"address": b"x"},
        {"proven": False}, {"key": "http://h:1"}, {"key": ""},
    ],
)  # fmt: skip
def test_rows_that_make_no_sense(change):
    assert is_sane(peer())
    assert not is_sane(peer()._replace(**change))


def test_who_was_never_of_use_is_forgotten_first_and_then_who_was_longest_ago():
    known = {f"http://{n}:1": peer(f"http://{n}:1", network=f"n{n}", useful_at=float(n)) for n in range(10)}
    assert surplus(known, most=10) == []
    assert surplus(known, most=9) == ["http://0:1"]
    assert surplus(known, most=8) == ["http://0:1", "http://1:1"]


def test_one_network_pushes_out_its_own_and_nobody_else():
    crowd = {f"tcp://10.0.0.{n}": peer(f"tcp://10.0.0.{n}", useful_at=NOW + n) for n in range(20)}
    others = {f"http://h{n}:1": peer(f"http://h{n}:1", network=f"h{n}") for n in range(20)}
    nowhere = {f"k{n}": peer(f"k{n}", network="") for n in range(20)}
    gone = surplus({**crowd, **others, **nowhere}, most=100, of_network=5)
    assert len(gone) == 15
    assert set(gone) == {f"tcp://10.0.0.{n}" for n in range(15)}


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.floats(0, 100)), max_size=60), st.integers(1, 20))
def test_what_is_left_is_within_the_bounds(rows, most):
    known = {f"http://{n}:1": peer(f"http://{n}:1", network=network, useful_at=at) for n, network, at in rows}
    left = known.keys() - set(surplus(known, most, 5))
    assert len(left) <= most
    assert all(sum(known[key].network == network for key in left) <= 5 for network in "ab")
