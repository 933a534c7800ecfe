"""``wherry sim``: what is printed of a simulated swarm, for people and for programs (specs/0030)."""

from __future__ import annotations

import json

import pytest

from wherry.testing.fanout.world import World
from wherry_cli.verbs.sim import policy_of

SMALL = ("sim", "fanout", "--nodes", "4", "--size", "6MiB", "--seed", "3")


def test_the_curve_and_the_figures_are_printed(capsys, go, fake_session):
    assert go(fake_session(), *SMALL, "--liars", "1", "--freeloaders", "1", "--shorten", "2") == 0
    out = capsys.readouterr().out
    assert "of which 1/2 is simulated, 3 blocks" in out
    assert "100 % complete after" in out
    for line in ("complete       4 of 4", "last finisher", "origin sent", "fairness", "waste", "liars", "freeloaders", "trace"):
        assert line in out


def test_quiet_prints_the_figures_alone(capsys, go, fake_session):
    assert go(fake_session(), *SMALL, "-q", "--policy", "none") == 0
    out = capsys.readouterr().out
    assert out.startswith("complete ")
    assert "trace" not in out


def test_json_is_one_object_and_a_seed_gives_the_same_run(capsys, go, fake_session):
    traces = []
    for _ in range(2):
        assert go(fake_session(), *SMALL, "--json") == 0
        value = json.loads(capsys.readouterr().out)
        assert value["schema"] == "wherry/sim-fanout/1"
        assert value["plan"]["nodes"] == value["complete"] == 4
        assert value["policy"] == "reputation"
        traces.append(value["trace"])
    assert traces[0] == traces[1]


def test_what_makes_no_sense_is_refused(capsys, go, fake_session):
    assert go(fake_session(), *SMALL, "--freeloaders", "5") == 2
    assert "freeloaders" in capsys.readouterr().err


def test_an_invariant_that_does_not_hold_is_an_error(capsys, go, fake_session, monkeypatch):
    monkeypatch.setattr(World, "accepts", lambda self, *, right, asked, block: True)
    assert go(fake_session(), *SMALL, "--liars", "3") == 1
    err = capsys.readouterr().err
    assert "wrong blocks" in err
    assert "the seed 3 gives the same run again" in err


@pytest.mark.parametrize("name", ["reputation", "fastest", "round-robin", "random", "local-first"])
def test_each_policy_can_be_tried(name):
    assert policy_of(name) is not None
    assert policy_of("none") is None


def test_figures_of_a_run_in_which_nothing_came(capsys, go, fake_session):
    assert go(fake_session(), "sim", "fanout", "--nodes", "2", "--size", "4MiB", "--latency", "1h") == 0
    assert "complete       0 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--nodes", "abc"), "no whole number"), (("--nodes", "0"), "at least 1"), (("--rate", "0.5"), "less than")],
)
def test_numbers_that_are_none(words, why, capsys, go, fake_session):
    assert go(fake_session(), "sim", "fanout", *words) == 2
    assert why in capsys.readouterr().err
