"""The choice of a level: the most plain bytes a second, nothing on a fast or unknown link, less when the processor is busy."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wherry.coding_choice import LevelChooser

LEVELS = (1, 3, 9)
MB = 1_000_000
SPEEDS = {1: 400 * MB, 3: 150 * MB, 9: 40 * MB}
RATIOS = {1: 0.45, 3: 0.38, 9: 0.33}
RATE = st.floats(10_000, 20_000 * MB)


def knowing(speeds=SPEEDS, ratios=RATIOS, share=1.0):
    """A chooser that has measured each level often."""
    chooser = LevelChooser(LEVELS)
    for _ in range(30):
        for level, speed in speeds.items():
            chooser.measured(level, MB, int(ratios[level] * MB), MB / speed, share * MB / speed)
    return chooser


def reach(level, link, speeds=SPEEDS, ratios=RATIOS):
    return min(link / ratios[level], speeds[level]) if level is not None else link


def used(chooser, link, turns, speeds=SPEEDS, ratios=RATIOS):
    """Chooses so many times, and lets what is chosen be measured; gives the choices."""
    choices = []
    for _ in range(turns):
        level = chooser.choose(link)
        choices.append(level)
        if level is not None:
            chooser.measured(level, MB, int(ratios[level] * MB), MB / speeds[level], MB / speeds[level])
    return choices


def test_an_unknown_link_gets_none():
    for link in (None, 0, -1.0):
        assert LevelChooser(LEVELS).choose(link) is None
        assert knowing().choose(link) is None


def test_without_levels_there_is_no_choice():
    assert {LevelChooser(()).choose(MB) for _ in range(100)} == {None}


def test_the_right_level_for_each_link():
    chooser = knowing()
    assert [chooser.choose(rate * MB) for rate in (1, 10, 30, 100, 300, 380, 1000, 5000)] == [9, 9, 3, 1, 1, None, None, None]


def test_before_anything_was_measured_only_a_link_that_is_slow_is_tried():
    assert LevelChooser(LEVELS).choose(1000 * MB) is None
    assert LevelChooser(LEVELS).choose(150 * MB) is None
    assert LevelChooser(LEVELS).choose(100 * MB) == 1


def test_it_climbs_a_level_at_a_time_and_stays_where_it_is_best():
    choices = used(LevelChooser(LEVELS), 5 * MB, 20)
    assert choices[0] == 1
    assert choices[-1] == 9
    assert all(later <= LEVELS[min(LEVELS.index(before) + 1, 2)] for before, later in pairwise(choices))
    assert used(LevelChooser(LEVELS), 60 * MB, 20)[-1] == 3
    assert used(LevelChooser(LEVELS), 200 * MB, 20)[-1] is None


def test_data_that_does_not_shrink_is_tried_now_and_then():
    flat = dict.fromkeys(LEVELS, 1.0)
    chooser = LevelChooser(LEVELS)
    choices = used(chooser, 5 * MB, 200, ratios=flat)
    assert choices[0] == 1
    assert 5 <= sum(choice is not None for choice in choices[20:]) <= 20
    assert used(chooser, 5 * MB, 100)[-1] == 9  # text again


def test_on_a_fast_link_it_is_not_tried_at_all():
    for ratios in (RATIOS, dict.fromkeys(LEVELS, 1.0)):
        assert set(used(knowing(ratios=ratios), 2000 * MB, 200, ratios=ratios)) == {None}


def test_a_busy_processor_is_left_to_others():
    choices = [knowing(share=share).choose(60 * MB) for share in (1.0, 0.4, 0.1)]
    assert choices == [3, 1, None]


def test_it_forgets_what_the_processor_no_longer_gives():
    chooser = knowing()
    slow = {level: speed / 50 for level, speed in SPEEDS.items()}
    assert used(chooser, 100 * MB, 40, speeds=slow)[-1] is None


def test_nonsense_is_not_counted():
    chooser = knowing()
    for plain, seconds in ((0, 1.0), (-5, 1.0), (MB, 0.0), (MB, -1.0)):
        chooser.measured(1, plain, 10, seconds, 0.0)
    assert chooser.choose(100 * MB) == 1


@given(RATE, st.tuples(*[st.floats(MB, 5000 * MB)] * 3), st.tuples(*[st.floats(0.01, 1.2)] * 3))
def test_it_is_nearly_the_best_and_never_worse_than_plain(link, speeds, ratios):
    speeds, ratios = dict(zip(LEVELS, speeds, strict=True)), dict(zip(LEVELS, ratios, strict=True))
    got = reach(knowing(speeds, ratios).choose(link), link, speeds, ratios)
    best = max(reach(level, link, speeds, ratios) for level in (None, *LEVELS))
    assert got >= best / 1.1 / 1.04 / 1.001
    assert got >= link


@given(RATE, RATE)
def test_a_slower_link_never_gets_a_lower_level(one, other):
    slow, fast = sorted((one, other))
    order = [None, *LEVELS]
    assert order.index(knowing().choose(slow)) >= order.index(knowing().choose(fast))


@given(RATE, st.floats(0, 1), st.floats(0, 1))
def test_a_busier_processor_never_gets_a_higher_level(link, one, other):
    busy, idle = sorted((one, other))
    order = [None, *LEVELS]
    assert order.index(knowing(share=busy).choose(link)) <= order.index(knowing(share=idle).choose(link))


@given(st.lists(st.tuples(RATE, st.floats(0.001, 2), st.floats(1000, 10**10)), max_size=60))
def test_whatever_is_measured_it_gives_a_level_or_none(turns):
    chooser = LevelChooser(LEVELS)
    for link, ratio, speed in turns:
        level = chooser.choose(link)
        assert level is None or level in LEVELS
        if level is not None:
            chooser.measured(level, MB, int(ratio * MB), MB / speed, MB / speed)
