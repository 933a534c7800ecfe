"""The arithmetic of the benchmarks: medians, ratios, bounds, percentiles, whose turn it is."""

from __future__ import annotations

import json
import math

import pytest

from wherry_cli.bench.figure import (
    Arm,
    Bound,
    Figure,
    Report,
    Run,
    all_met,
    faster,
    middle_mean,
    percentile,
    rounds_in_turn,
    slower,
)


def arm(*seconds, name="a", key=None, **options):
    runs = [Run(each) if key is None else Run(99.0, {key: each}) for each in seconds]
    return Arm(name, runs, **options)


@pytest.mark.parametrize(
    ("sense", "below", "on", "above"),
    [("at least", False, True, True), ("at most", True, True, False), ("below", True, False, False)],
)
def test_a_bound_is_kept_on_its_own_side(sense, below, on, above):
    bound = Bound(sense, 1.5)
    assert (bound.met(1.49), bound.met(1.5), bound.met(1.51)) == (below, on, above)
    assert not bound.met(math.nan)


def test_a_figure_without_a_bound_is_neither_met_nor_missed():
    assert Figure("f", 1.0, "x").met is None
    assert Figure("f", 1.0, "x", Bound("at least", 1.0)).met is True
    assert Figure("f", 1.0, "x", Bound("below", 1.0)).met is False


@pytest.mark.parametrize(
    ("seconds", "median"), [((3.0,), 3.0), ((3.0, 1.0, 2.0), 2.0), ((4.0, 1.0, 2.0, 3.0), 2.5), ((1.0, 1.0, 100.0), 1.0)]
)
def test_the_median_of_an_arm(seconds, median):
    assert arm(*seconds).median_seconds == median


def test_what_else_was_seen():
    mixed = Arm("a", [Run(1.0, {"p": 3.0}), Run(1.0), Run(1.0, {"p": 5.0})])
    assert (mixed.median_of("p"), mixed.highest("p")) == (4.0, 5.0)
    assert math.isnan(mixed.median_of("q"))
    assert math.isnan(mixed.highest("q"))


def test_faster_is_the_time_of_the_reference_over_ours():
    ours, reference = arm(1.0, 2.0, 4.0), arm(3.0, 3.0, 8.0)
    figure = faster("rate", ours, reference, Bound("at least", 1.5))
    assert (figure.value, figure.low, figure.high, figure.unit) == (1.5, 1.5, 3.0, "x")
    assert figure.met is True
    assert faster("rate", reference, ours, Bound("at least", 1.5)).met is False


def test_slower_is_our_time_over_that_of_the_reference():
    figure = slower("time", arm(3.0, 6.0), arm(2.0, 3.0), Bound("at most", 1.5))
    assert (figure.value, figure.low, figure.high) == (1.8, 1.5, 2.0)
    assert figure.met is False


def test_a_ratio_of_another_time_than_that_of_the_whole_process():
    figure = faster("rate", arm(1.0, key="engine_seconds"), arm(2.0, key="engine_seconds"), None, key="engine_seconds")
    assert figure.value == 2.0


def test_a_ratio_over_no_time_is_no_number_and_keeps_to_nothing():
    figure = faster("rate", arm(0.0), arm(1.0), Bound("at least", 1.0))
    assert math.isnan(figure.value)
    assert figure.met is False
    assert figure.to_json()["value"] is None


def test_arms_of_unlike_length_are_not_compared():
    with pytest.raises(ValueError, match="argument 2"):
        faster("rate", arm(1.0, 2.0), arm(1.0), None)


def test_arms_take_turns_at_being_first():
    assert list(rounds_in_turn(["a", "b"], 3)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
    assert list(rounds_in_turn(["a", "b"], 0)) == []


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.1, 100), (100, 100)])
def test_percentiles_by_nearest_rank(percent, value):
    assert percentile([float(each) for each in range(100, 0, -1)], percent) == value


def test_percentiles_of_few_and_of_none():
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 9.0], 99) == 9.0
    assert math.isnan(percentile([], 99))


def test_all_bounds_together():
    kept, missed, free = Figure("k", 1, "", Bound("at most", 1)), Figure("m", 2, "", Bound("at most", 1)), Figure("f", 1, "")
    assert all_met([Report("a", "", figures=[kept, free])]) is True
    assert all_met([Report("a", "", figures=[kept]), Report("b", "", figures=[missed])]) is False
    assert all_met([Report("a", "", figures=[free]), Report("b", "", skipped="no tool")]) is None


def test_the_json_form_of_a_report_holds_every_run():
    ours = Arm("ours", [Run(2.0, {"peak_bytes": 5e7}), Run(1.0)], count=300.0)
    figure = Figure("r", 1 / 3, "x", Bound("at least", 2), 0.25, 0.5)
    report = Report("get", "getting", arms=[ours, Arm("none")], figures=[figure])
    assert json.loads(json.dumps(report.to_json())) == {
        "name": "get",
        "summary": "getting",
        "at_full_size": True,
        "skipped": None,
        "arms": [
            {
                "name": "ours",
                "runs": [{"round": 1, "seconds": 2.0, "peak_bytes": 5e7}, {"round": 2, "seconds": 1.0}],
                "median_seconds": 1.5,
                "rate": 200.0,
                "rate_unit": "MB/s",
            },
            {"name": "none", "runs": [], "median_seconds": None, "rate": None, "rate_unit": None},
        ],
        "figures": [
            {
                "name": "r",
                "value": 0.333333,
                "unit": "x",
                "bound": {"sense": "at least", "limit": 2},
                "met": False,
                "range": [0.25, 0.5],
            }
        ],
        "notes": [],
        "table": None,
    }


def test_the_mean_of_the_middle_half():
    assert middle_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert middle_mean([3.0]) == 3.0
    assert math.isnan(middle_mean([]))
