"""Who is kept out: rules of the user and of wherry, on disk and at once, whatever the clock does and whoever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.abc.exchange import PeerInfo
from wherry.access import subject_of
from wherry.errors import UsageError, WherryError
from wherry.store import state as state_module
from wherry.store.state import StateDB
from wherry.transfer.door import Door

KEY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
OTHER = "12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj"
DAY_S = 86400.0


class World:
    """A home, its clocks, and as many processes as a test opens."""

    def __init__(self, home):
        self.home = home
        self.wall, self.steady = 1_800_000_000.0, 1000.0
        self._opened = []

    def door(self, ban_s=DAY_S):
        """Another process on this home."""
        db = StateDB(self.home)
        self._opened.append(db)
        return Door(db, ban_s=ban_s, wall=lambda: self.wall, steady=lambda: self.steady)

    def wait(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def close(self):
        for db in self._opened:
            db.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def info(ip="10.0.0.7", peer_id="", address="", *, incoming=True):
    return PeerInfo("tcp", peer_id, address, ip, incoming)


def test_who_is_banned_is_told_why_and_for_how_long(world):
    door = world.door()
    assert door.gate("10.0.0.7", "") == ""
    door.put(subject_of("10.0.0.7"), lasts_s=90.0, why="a test")
    assert door.gate("10.0.0.7", "") == "is banned for 1m30s more: a test"
    assert door.gate("10.0.0.8", "") == "", "not its neighbours"
    assert door.judge(info()) == door.place("http://10.0.0.7:1/x") == door.gate("10.0.0.7", "")
    door.put(subject_of("10.0.0.7"))
    assert door.gate("10.0.0.7", "") == "is banned"
    door.put(subject_of("10.0.0.7"), lasts_s=30 * DAY_S)
    assert "for 30 days more" in door.gate("10.0.0.7", "")
    world.wait(30 * DAY_S + 1)
    assert door.gate("10.0.0.7", "") == ""
    assert door.rules() == []


def test_what_an_incoming_peer_says_of_its_address_counts_for_nothing(world):
    door = world.door()
    door.put(subject_of("10.0.0.0/8"))
    door.put(subject_of("http://friend:1"), allow=True)
    door.put(subject_of("http://foe:1"))
    assert door.judge(info(address="http://friend:1"))
    assert not door.judge(info(address="http://friend:1", incoming=False))
    assert not door.judge(info("192.0.2.1", address="http://foe:1"))
    assert door.judge(info("192.0.2.1", address="http://foe:1", incoming=False))


def test_a_rule_is_taken_back_once(world):
    door = world.door()
    door.put(subject_of(KEY))
    assert door.gate("10.0.0.7", KEY)
    assert door.drop(subject_of(KEY))
    assert not door.drop(subject_of(KEY))
    assert not door.gate("10.0.0.7", KEY)


def test_another_process_sees_it_at_its_next_look(world):
    here, there = world.door(), world.door()
    seen = []
    there.changed = lambda: seen.append(True)
    assert not there.gate("10.0.0.7", "")
    assert not there.refresh()
    here.put(subject_of("10.0.0.7"))
    assert there.refresh()
    assert there.gate("10.0.0.7", "")
    assert seen == [True]
    here.drop(subject_of("10.0.0.7"))
    assert there.refresh()
    assert not there.gate("10.0.0.7", "")
    assert not there.refresh()


def test_a_wrong_block_bans_its_proven_sender_at_once_and_on_disk_soon(world):
    door = world.door()
    assert door.caught(KEY, "sent a wrong block")
    assert "a wrong block" in door.gate("10.0.0.7", KEY)
    assert not door.gate("10.0.0.7", "")
    assert not door.gate("10.0.0.7", OTHER)
    assert world.door().rules() == []
    assert door.refresh()
    [(rule, left)] = world.door().rules()
    assert (rule.subject.text, rule.by, left) == (KEY, "wherry", DAY_S)


def test_who_proved_nothing_is_not_banned_nor_where_the_user_says_never(world):
    assert not world.door().caught("", "sent a wrong block")
    assert not world.door(ban_s=0.0).caught(KEY, "sent a wrong block")
    assert world.door().rules() == []


def test_what_the_user_said_of_a_key_stays(world):
    door, other = world.door(), world.door()
    door.put(subject_of(KEY), allow=True)
    assert not door.caught(KEY, "sent a wrong block")
    assert other.caught(OTHER, "sent a wrong block")
    door.put(subject_of(OTHER), lasts_s=5.0, why="mine")
    other.refresh()
    assert {rule.why for rule, _ in world.door().rules()} == {"", "mine"}


def test_a_key_that_was_banned_again_is_out_for_the_whole_time(world):
    door = world.door()
    door.caught(KEY, "one")
    world.wait(DAY_S / 2)
    door.caught(KEY, "two")
    door.refresh()
    world.wait(DAY_S * 0.75)
    assert door.gate("", KEY)
    assert world.door().gate("", KEY)
    world.wait(DAY_S)
    assert not door.gate("", KEY)


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S, 10 * 365 * DAY_S, -10 * 365 * DAY_S, -1_799_999_000.0])
def test_setting_the_clock_ends_no_ban_and_makes_none_eternal(world, jump):
    """F-49: in the process that runs, and for those that start later."""
    door = world.door()
    door.put(subject_of("10.0.0.7"), lasts_s=3600.0)
    world.wait(600)
    world.wall += jump
    assert door.refresh()
    for process in (door, world.door()):
        assert process.gate("10.0.0.7", "")
    world.wait(2990)
    assert door.gate("10.0.0.7", "")
    if world.wall > 1_735_689_600:  # a clock that was never set says nothing
        assert world.door().gate("10.0.0.7", "")
        world.wait(20)
        assert not world.door().gate("10.0.0.7", "")
    world.wait(3600)
    assert not door.gate("10.0.0.7", "")


def test_a_clock_that_was_set_back_while_no_wherry_ran_gives_the_whole_time_and_not_more(world):
    world.door().put(subject_of("10.0.0.7"), lasts_s=3600.0)
    world.wall -= 365 * DAY_S
    door = world.door()
    assert door.rules()[0].left_s == 3600.0
    world.wait(3601)
    assert not door.gate("10.0.0.7", "")


def test_two_processes_that_see_the_clock_set_agree(world):
    one, two = world.door(), world.door()
    one.put(subject_of("10.0.0.7"), lasts_s=3600.0)
    two.refresh()
    two.gate("10.0.0.7", "")
    world.wait(600)
    world.wall += DAY_S
    one.refresh()
    two.refresh()
    one.refresh()
    assert one.rules()[0].left_s == pytest.approx(3000, abs=1)
    assert two.rules()[0].left_s == pytest.approx(3000, abs=1)
    assert world.door().rules()[0].left_s == pytest.approx(3000, abs=1)


def test_rules_that_have_ended_leave_the_disk(world):
    door = world.door()
    for n in range(10):
        door.put(subject_of(f"10.0.0.{n}"), lasts_s=60.0)
    world.wait(61)
    world.door().put(subject_of("10.0.1.1"))
    with closing(sqlite3.connect(world.home / "state.db")) as db:
        assert db.execute("SELECT what FROM rules").fetchall() == [("10.0.1.1/32",)]


@pytest.mark.parametrize("lasts_s", [0.0, -1.0, 11 * 365 * DAY_S])
def test_times_that_make_no_sense(world, lasts_s):
    with pytest.raises(UsageError):
        world.door().put(subject_of("10.0.0.7"), lasts_s=lasts_s)


def test_a_reason_has_a_bound(world):
    with pytest.raises(UsageError):
        world.door().put(subject_of("10.0.0.7"), why="x" * 501)
    door = world.door()
    door.caught(KEY, "x" * 5000)
    door.refresh()
    assert len(door.rules()[0].rule.why) == 500


def test_there_are_bounds_on_how_many(world, monkeypatch):
    monkeypatch.setattr(state_module, "RULES_MAX", 3)
    monkeypatch.setattr(state_module, "AUTO_BANS_MAX", 3)
    door = world.door()
    for n in range(3):
        door.put(subject_of(f"10.0.0.{n}"))
    with pytest.raises(UsageError) as caught:
        door.put(subject_of("10.0.0.9"))
    assert "unban" in caught.value.hint
    assert len(world.door().rules()) == 3
    for n in range(6):
        door.caught(f"{KEY[:-1]}{n}", "lies")
        world.wait(1)
    door.refresh()
    own = [rule.subject.text[-1] for rule, _ in world.door().rules() if rule.by == "wherry"]
    assert own == ["3", "4", "5"], "those that end soonest go"


def test_what_cannot_be_written_is_written_later(world):
    door = world.door()
    door.caught(KEY, "lies")
    with door._state._db.reading() as run:
        run.execute("PRAGMA query_only=ON")
    with pytest.raises(WherryError):
        door.refresh()
    assert door.gate("", KEY)
    with door._state._db.reading() as run:
        run.execute("PRAGMA query_only=OFF")
    door.refresh()
    assert len(world.door().rules()) == 1


def test_rows_that_no_wherry_wrote_are_passed_over(world):
    door = world.door()
    door.put(subject_of("10.0.0.7"))
    with closing(sqlite3.connect(world.home / "state.db")) as db:
        for row in (("network", "10.0.0.7", 0), ("key", "x", 0), ("odd", KEY, 0)):
            db.execute("INSERT INTO rules VALUES (?,?,?,1.8e9,NULL,'','user')", row)
        db.commit()
    assert len(world.door().rules()) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from wherry.access import subject_of
from wherry.store.state import StateDB
from wherry.transfer.door import Door
door = Door(StateDB(Path(sys.argv[1])), ban_s=3600.0)
for n in range(5):
    door.put(subject_of(f"10.0.0.{n}"), why="acknowledged")
    print(n, flush=True)
door.caught(sys.argv[2], "lies")
door.refresh()
print("caught", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_bans_that_were_acknowledged_outlive_kill_9(world):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(world.home), KEY], capture_output=True, env=dict(os.environ), check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [b"0", b"1", b"2", b"3", b"4", b"caught"], done.stderr
    world.wall = time.time()
    door = world.door()
    assert all(door.gate(f"10.0.0.{n}", "") for n in range(5))
    assert {rule.subject.text for rule, _ in door.rules()} == {f"10.0.0.{n}/32" for n in range(5)} | {KEY}


OLD = """
CREATE TABLE roots (
    cid BLOB NOT NULL, path TEXT NOT NULL, how TEXT NOT NULL, options TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (cid, path)
) WITHOUT ROWID;
INSERT INTO roots VALUES (x'01551220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '/x', 'add', '{}', 1);
PRAGMA user_version=1;
"""


def test_the_state_of_an_older_wherry_gets_its_table_and_keeps_its_roots(world):
    with closing(sqlite3.connect(world.home / "state.db")) as db:
        db.executescript(OLD)
    world.door().put(subject_of("10.0.0.7"))
    state = StateDB(world.home)
    with closing(state):
        assert [row.path for row in state.roots()] == ["/x"]
        assert len(state.rules()) == 1
        assert state.transfers() == []


@settings(deadline=None, max_examples=40)  # each writes to the disk
@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "wait", "jump", "refresh"]), st.integers(0, 3)), max_size=25))
def test_a_process_that_runs_keeps_to_the_time_that_was_said_whatever_happens(tmp_path_factory, steps):
    world = World(tmp_path_factory.mktemp("door"))
    door, ends = world.door(), {}
    try:
        for step, n in steps:
            what = f"10.0.0.{n}"
            if step == "put":
                door.put(subject_of(what), lasts_s=100.0)
                ends[what] = world.steady + 100.0
            elif step == "drop":
                assert door.drop(subject_of(what)) or ends.get(what, 0) <= world.steady
                ends.pop(what, None)
            elif step == "wait":
                world.wait(30.0 * n)
            elif step == "jump":
                world.wall += (-DAY_S, 1e9, -1e9, 3600.0)[n]
                door.refresh()
            else:
                door.refresh()
            for ip in (f"10.0.0.{n}" for n in range(4)):
                assert bool(door.gate(ip, "")) == (ends.get(ip, 0) > world.steady), (step, ip)
    finally:
        world.close()
