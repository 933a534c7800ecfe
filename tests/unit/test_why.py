"""The ledger of a transfer: every second has a reason, and what it says of that is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.transfer.why import DETAIL_CHARS_MAX, INTERVALS_MAX, REASONS, Ledger, lines, words


class Clock:
    def __init__(self, at=100.0):
        self.at = at

    def __call__(self):
        return self.at

    def go(self, seconds):
        self.at += seconds


STEPS = st.lists(
    st.tuples(st.sampled_from((*REASONS, "end", "report")), st.floats(0, 1e4), st.sampled_from(("", "block x"))), max_size=200
)


@given(STEPS)
def test_the_seconds_of_all_reasons_add_up_to_the_time_that_passed(steps):
    clock, running = Clock(), True
    ledger = Ledger(clock)
    passed = 0.0
    for what, seconds, detail in steps:
        if what == "end":
            ledger.end()
            running = False
        elif what == "report":
            ledger.report()
        else:
            ledger.now(what, detail)
            running = True
        clock.go(seconds)
        passed += seconds * running
    report = ledger.report()
    assert math.isclose(report.elapsed, passed, abs_tol=1e-6)
    assert math.isclose(sum(one.seconds for one in report.spent), report.elapsed, abs_tol=1e-6)
    moving = sum(one.seconds for one in report.spent if one.reason == "moving")
    assert math.isclose(report.idle + moving, report.elapsed, abs_tol=1e-6)
    assert len(report.last) <= INTERVALS_MAX
    assert len({one.reason for one in report.spent}) == len(report.spent)
    assert (report.current is None) == (not running)


def test_it_begins_with_planning_and_says_how_long_the_current_reason_lasts():
    clock = Clock()
    ledger = Ledger(clock)
    clock.go(2)
    ledger.now("no-provider", "block bafk")
    ledger.now("no-provider")  # says nothing new: the detail stays
    clock.go(3.25)
    report = ledger.report()
    assert (report.current, report.current_seconds, report.elapsed, report.idle) == ("no-provider", 3.25, 5.25, 5.25)
    assert report.text == "no provider has block bafk"
    assert lines(report) == ["3.2 s: no provider has block bafk", "2.0 s: what to fetch is worked out"]
    assert [(one.reason, one.began, one.seconds) for one in report.last] == [("planning", 0, 2), ("no-provider", 2, 3.25)]
    ledger.now("no-provider", "block bafy")
    assert ledger.report().text == "no provider has block bafy"


def test_an_ended_one_stands_still_and_may_go_on():
    clock = Clock()
    ledger = Ledger(clock, "moving")
    clock.go(1)
    ledger.end()
    ledger.end()
    clock.go(50)
    report = ledger.report()
    assert (report.elapsed, report.current, report.current_seconds, report.text) == (1, None, 0, "it is over")
    assert ledger.reason is None
    ledger.now("class")
    clock.go(2)
    report = ledger.report()
    assert (report.elapsed, report.idle, ledger.reason) == (3, 2, "class")
    assert {one.reason: one.seconds for one in report.spent} == {"moving": 1, "class": 2}


def test_a_clock_that_steps_back_takes_no_time_away():
    clock = Clock()
    ledger = Ledger(clock)
    clock.go(5)
    ledger.now("disk")
    clock.go(-3)
    ledger.now("cpu")
    assert ledger.report().elapsed == 5
    assert min(one.seconds for one in ledger.report().spent) == 0


def test_history_and_details_are_bounded():
    clock = Clock()
    ledger = Ledger(clock)
    for number in range(1000):
        ledger.now("moving" if number % 2 else "choked", "x" * 10_000)
        clock.go(1)
    report = ledger.report()
    assert len(report.last) == INTERVALS_MAX
    assert all(len(one.detail) <= DETAIL_CHARS_MAX for one in report.last)
    assert report.last[-1].began + report.last[-1].seconds == report.elapsed == 1000


def test_every_reason_has_words_and_others_are_refused():
    for reason in REASONS:
        assert "{" not in words(reason)
        assert "some detail" in words(reason, "some detail")
        assert "{x}" in words(reason, "{x}")
    with pytest.raises(ValueError, match="none of moving"):
        Ledger(Clock()).now("sleepy")


def test_a_report_has_a_json_form():
    report = Ledger(Clock()).report().to_json()
    assert report["schema"] == "wherry/why/1"
    assert report["spent"] == [{"reason": "planning", "seconds": 0.0, "text": "what to fetch is worked out"}]
