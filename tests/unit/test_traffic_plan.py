"""What is asked of the link: the timetable with its edges, and plans that are refused (specs/0026 §1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.config import check, load
from wherry.errors import ConfigError, UsageError
from wherry.traffic import CLASSES, ClassPlan, Pair, Plan, Row, plan_of
from wherry.traffic.peers import host_of, peer_name, read_peer_limits

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


def at(day, clock):
    hours, minutes = clock.split(":")
    return MONDAY + timedelta(days=day, hours=int(hours), minutes=int(minutes))


def test_a_line_is_read():
    row = Row.parse("mon-fri 08:00-18:00 up 2 MB/s down none")
    assert row == Row(frozenset(range(5)), 480, 1080, up=2e6, down=None, sets_up=True, sets_down=True)
    assert Row.parse(" SAT,sun  00:00-24:00  down 100Mbit/s ").down == 12.5e6
    assert Row.parse("fri-mon 00:00-01:00 up 1MiB/s").days == {4, 5, 6, 0}
    assert Row.parse("daily 22:00-06:00 up 500 kB/s").days == set(range(7))


@pytest.mark.parametrize(
    "text",
    [
        "", "mon", "mon 08:00-18:00", "mon 8:00-18:00 up 1 MB/s", "mon 08:00-25:00 up 1 MB/s", "mon 08:61-09:00 up 1 MB/s",
        "noday 08:00-18:00 up 1 MB/s", "mon-tue-wed 08:00-18:00 up 1 MB/s", "mon 08:00-18:00 up fast",
        "mon 08:00-24:01 up 1 MB/s",
        "mon 08:00-18:00 up 1 MB/s sideways 1 MB/s", "mon, 08:00-18:00 up 1 MB/s", "mon 08:00-18:00 up -1 MB/s",
    ],
)  # fmt: skip
def test_what_is_no_line_is_refused(text):
    with pytest.raises(ValueError):
        Row.parse(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text):
    try:
        Row.parse(text)
    except ValueError:
        return


def test_it_holds_from_the_first_minute_to_before_the_last():
    row = Row.parse("mon-fri 08:00-18:00 up 2 MB/s")
    held = {(day, clock): row.holds(at(day, clock)) for day in (0, 4, 5) for clock in ("07:59", "08:00", "17:59", "18:00")}
    assert [key for key, holds in held.items() if holds] == [(0, "08:00"), (0, "17:59"), (4, "08:00"), (4, "17:59")]


def test_a_night_belongs_to_the_day_on_which_it_begins():
    row = Row.parse("sun 22:00-06:00 up none")
    assert row.holds(at(6, "22:00"))
    assert row.holds(at(0, "05:59"))
    assert not row.holds(at(0, "06:00"))
    assert not row.holds(at(6, "05:59"))
    assert not row.holds(at(0, "23:00"))


def test_the_first_line_that_says_something_goes_for_that_direction():
    plan = Plan(
        node=Pair(1e6, 2e6),
        timetable=(Row.parse("mon 08:00-12:00 up 5 MB/s"), Row.parse("daily 00:00-24:00 up none down 9 MB/s")),
    )
    assert plan.at(at(0, "08:00")) == Pair(5e6, 9e6)
    assert plan.at(at(0, "12:00")) == Pair(None, 9e6)
    assert Plan(node=Pair(1e6, None)).at(MONDAY) == Pair(1e6, None)


def test_what_no_plan_can_be():
    with pytest.raises(UsageError, match="below 1 kB/s"):
        Plan(node=Pair(up=999))
    with pytest.raises(UsageError, match="below"):
        Plan(peer=Pair(down=float("nan")))
    with pytest.raises(UsageError, match="below"):
        Plan(timetable=(Row.parse("mon 08:00-12:00 up 1 kbit/s"),))
    with pytest.raises(UsageError, match="classes"):
        Plan(classes={"bulk": ClassPlan()})
    with pytest.raises(UsageError, match="share"):
        Plan(classes={name: ClassPlan(share=0) for name in CLASSES})


def test_the_configuration_becomes_a_plan(tmp_path):
    file = tmp_path / "wherry.toml"
    file.write_text(
        '[limits]\npeers = ["[2001:DB8::1] up 1 MB/s", "12D3KooWx up 3kB/s down 2 Mbit/s"]\n'
        'up = "16 Mbit/s"\ndown = 5000000\npeer_up = "1.5 MB/s"\nbulk_share = 5\nhigh_down = "9 MB/s"\n'
        'background = ["bulk", "normal"]\ntimetable = ["daily 22:00-06:00 up none"]\n'
    )
    plan = plan_of(load(file, tmp_path, {"WHERRY_LIMITS__TRANSFER_DOWN": "2MB/s"}).limits)
    assert plan.node == Pair(2e6, 5e6)
    assert plan.peer == Pair(1.5e6, None)
    assert plan.transfer == Pair(None, 2e6)
    assert plan.peers == {"2001:db8::1": Pair(1e6, None), "12D3KooWx": Pair(3e3, 2.5e5)}
    assert plan.classes["bulk"] == ClassPlan(share=5, background=True)
    assert plan.classes["high"] == ClassPlan(share=30, limit=Pair(down=9e6))
    assert plan.classes["normal"].background
    assert plan.at(at(0, "23:00")) == Pair(None, 5e6)
    empty = tmp_path / "empty"
    assert plan_of(load(None, empty, {}).limits) == Plan()
    shown = load(file, tmp_path, {}).to_toml()
    assert 'up = "2 MB/s"' in shown
    (tmp_path / "again.toml").write_text(shown)
    assert load(tmp_path / "again.toml", tmp_path, {}).limits == load(file, tmp_path, {}).limits


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('up = "fast"', "is not a rate"), ("up = 10", "too small"), ("up = true", "is true or false"), ("up = -1", "negative"),
        ("bulk_share = 0", "too small"), ('background = ["slow"]', "'slow'"),
        ('timetable = ["noon"]', "no line of a timetable"),
        ('timetable = ["mon 08:00-09:00 up 1 B/s"]', "below 1 kB/s"), ("fastest = 1", "unknown option"),
        (f'timetable = {["mon 08:00-09:00 up 1 MB/s"] * 65}', "too many"),
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_problems(line, said, tmp_path):
    (tmp_path / "wherry.toml").write_text(f"[limits]\n{line}\n")
    (problem,) = check(None, tmp_path, {})
    assert said in str(problem)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("192.0.2.7", "192.0.2.7"), ("[::ffff:192.0.2.7]", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"),
        ("Lab.Example", "lab.example"), ("12D3KooWAbC", "12D3KooWAbC"),
    ],
)  # fmt: skip
def test_the_name_of_a_peer(text, name):
    assert peer_name(text) == name


@pytest.mark.parametrize("text", ["", "a b", "http://host", "host:80", "x" * 256, "h/st", "hö"])
def test_what_names_no_peer(text):
    with pytest.raises(UsageError, match="names no peer"):
        peer_name(text)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("tcp://192.0.2.7:1", "192.0.2.7"), ("tcps://12D3KooW@[2001:db8::1]:1", "2001:db8::1"),
        ("web+https://u:p@Lab.Example/x:y", "lab.example"),
        ("unix:///run/w", "unix:///run/w"), ("libp2p:/ip4/x", "libp2p:/ip4/x"),
    ],
)  # fmt: skip
def test_whom_a_limit_is_for_of_an_address(address, host):
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["192.0.2.7"], "limits no peer"), (["192.0.2.7 up"], "limits no peer"), (["a up 1MB/s", "a down 1MB/s"], "two lines"),
        (["h:1 up 1MB/s"], "names no peer"), (["h up 1 x"], "h up 1 x"), ([f"h{n} up 1MB/s" for n in range(257)], "too many"),
    ],
)  # fmt: skip
def test_what_is_no_limit_of_a_peer(lines, word):
    with pytest.raises(UsageError, match=word):
        read_peer_limits(lines)


def test_a_limit_of_a_peer_that_is_none_is_refused_with_the_configuration(tmp_path):
    file = tmp_path / "wherry.toml"
    file.write_text('[limits]\npeers = ["lab up fast"]\n')
    with pytest.raises(ConfigError, match="limits no peer"):
        load(file, tmp_path, {})
    with pytest.raises(UsageError, match="below 1 kB/s"):
        Plan(peers={"a": Pair(up=10)})
