"""How often a user is told that a source fails, and that it is back."""

from __future__ import annotations

import pytest

from wherry.transfer.complaints import bare, recovers, tells
from wherry.transfer.source import Source


def told(reasons, every=0.5):
    """Says when which of the reasons are told, if the source fails for one of them each time."""
    source, found = Source("peer"), []
    for turn, reason in enumerate(reasons):
        if tells(source, reason, turn * every):
            found.append((turn * every, reason))
    return found


def test_a_lasting_failure_is_told_at_once_and_then_with_growing_gaps():
    assert [at for at, _ in told(["refused"] * 2000)] == [0.0, 30.0, 90.0, 210.0, 450.0, 930.0]


def test_seconds_that_are_left_make_no_other_cause():
    assert len(told([f"started again in {left} s" for left in range(50)])) == 1


def test_another_cause_is_told_once_the_first_was_to_be_seen():
    assert told(["hung up"] + ["refused"] * 20) == [(0.0, "hung up"), (5.0, "refused")]


@pytest.mark.parametrize("kinds", [2, 3, 400])
def test_causes_that_take_turns_are_no_news(kinds):
    names = [chr(0x4E00 + kind) for kind in range(kinds)]  # no digits
    assert len(told([names[turn % kinds] for turn in range(1200)])) <= 13  # in ten minutes


def test_that_it_is_back_is_told_once_of_what_was_told():
    source = Source("peer")
    assert not recovers(source)
    assert tells(source, "refused", 0.0)
    assert recovers(source)
    assert not recovers(source)
    assert not tells(source, "refused", 1.0)
    assert not recovers(source)


@pytest.mark.parametrize(
    ("reason", "address", "rest"),
    [
        ("http://h:1: 501", "http://h:1", "501"),
        ("http://h:1: http://h:1: 501", "http://h:1", "501"),
        ("http://h:1: 501", "lab+http://h:1", "501"),
        ("http://h:12: 501", "http://h:1", "http://h:12: 501"),
        ("http://h:1/ answered with status 501", "http://h:1", "answered with status 501"),
        ("http://h:1/ answered with status 501", "http://h:1/", "answered with status 501"),
        ("http://h:1/x answered with status 501", "http://h:1", "http://h:1/x answered with status 501"),
        ("http://h:1 cut its answer short", "http://h:1", "cut its answer short"),
        ("http://h:1: http://h:1 has too much to do", "http://h:1/", "has too much to do"),
        ("http://h:12 is silent", "http://h:1", "http://h:12 is silent"),
        ("refused", "http://h:1", "refused"),
        ("", "http://h:1", ""),
    ],
)
def test_an_address_is_named_once(reason, address, rest):
    assert bare(reason, address) == rest
