"""A run of the benchmarks, with benchmarks of the test's own: what is chosen, refused, printed and cleaned up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.errors import NoSpace, WherryError
from wherry.units import GiB, KiB, MiB
from wherry_cli.app import run
from wherry_cli.bench import bench, data, table
from wherry_cli.bench.figure import Arm, Bound, Figure, Report, Run
from wherry_cli.bench.machine import file_system, first_version, machine_facts
from wherry_cli.bench.report import number, seconds, verdict_line, with_unit
from wherry_cli.bench.scale import Scale
from wherry_cli.bench.workspace import Workspace
from wherry_cli.invocation import Invocation


@pytest.fixture
def spaces(monkeypatch):
    """Puts two benchmarks in the place of all; gives the workspaces that they were given."""
    seen = []

    def good(space):
        seen.append(space)
        (space.folder / "left behind").write_text("x")
        ours, reference = iter([1.0, 3.0, 2.0]), iter([2.0, 6.0, 4.0])
        found = space.compare({"ours": lambda: Run(next(ours)), "plain": lambda: Run(next(reference))}, count=10)
        figures = [
            Figure("rate", 2.0, "x", Bound("at least", 1.5), 1.9, 2.1),
            Figure("memory", 120.4, "MB", Bound("below", 100)),
        ]
        return Report("good", "a good one", list(found.values()), figures, ["it was quiet"], at_full_size=False)

    def absent(space):
        return Report("absent", "one without its reference", skipped="the tool is not installed")

    def broken(space):
        seen.append(space)
        raise WherryError("a process failed")

    benchmarks = {
        "good": table.Benchmark(good, "is good", large=True),
        "absent": table.Benchmark(absent, "is absent"),
        "broken": table.Benchmark(broken, "is broken"),
    }
    for module in (bench, table):
        monkeypatch.setattr(module, "BENCHMARKS", benchmarks)
    return seen


def bench_line(tmp_path, *words):
    return run(["bench", *words, "--dir", str(tmp_path), "--size", "1MiB"], Invocation(environ={}))


def test_people_see_every_run_every_bound_and_what_was_left_out(spaces, tmp_path, capsys):
    assert bench_line(tmp_path, "good", "absent") == 0
    text = capsys.readouterr().out
    report = text[text.index("good:") :]
    assert report.splitlines() == [
        "good: a good one",
        "  ours   1.00s 3.00s 2.00s  median 2.00s  5 MB/s",
        "  plain  2.00s 6.00s 4.00s  median 4.00s  2.5 MB/s",
        "  rate    2x [1.9 .. 2.1], bound at least 1.5x: met (the bound is for the full size)",
        "  memory  120 MB, bound below 100 MB: NOT met (the bound is for the full size)",
        "  note: it was quiet",
        "",
        "absent: one without its reference",
        "  skipped: the tool is not installed",
        "",
        "1 of 2 bounds met; 1 skipped; 1 below the size of their bounds",
    ]
    assert "SQLite" in text
    assert list(tmp_path.iterdir()) == []


def test_programs_get_one_object(spaces, tmp_path, capsys):
    assert bench_line(tmp_path, "good", "absent", "--json", "-q") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["schema"], found["met"], found["quick"]) == ("wherry/bench/1", False, False)
    assert {"processor", "Python", "SQLite", "nginx"} <= set(found["machine"])
    good, absent = found["benchmarks"]
    assert [each["seconds"] for each in good["arms"][0]["runs"]] == [1.0, 3.0, 2.0]
    assert [(each["name"], each["met"]) for each in good["figures"]] == [("rate", True), ("memory", False)]
    assert absent["skipped"] == "the tool is not installed"


def test_the_order_is_that_of_the_table_and_a_slip_is_explained(spaces, tmp_path, capsys):
    assert bench.choose(["absent", "good"]) == ["good", "absent"]
    assert bench.choose([]) == ["good", "absent", "broken"]
    assert bench_line(tmp_path, "goood") == 2
    assert 'did you mean "good"?' in capsys.readouterr().err
    assert bench_line(tmp_path, "zzz") == 2
    assert "there are: good, absent, broken" in capsys.readouterr().err


def test_what_was_made_is_removed_when_a_process_fails(spaces, tmp_path, capsys):
    assert bench_line(tmp_path, "good", "broken") == 1
    captured = capsys.readouterr()
    assert "a process failed" in captured.err
    assert "good: a good one" in captured.out  # what was measured before is not lost
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there_and_rounds_that_make_no_sense(spaces, tmp_path, capsys):
    assert bench_line(tmp_path / "none", "good") == 6
    assert bench_line(tmp_path, "good", "--rounds", "0") == 2
    assert spaces == []


def test_a_disk_without_room_is_refused_before_anything_is_written(spaces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "free_bytes", lambda folder: data.SPARE_BYTES + MiB - 1)
    assert bench_line(tmp_path, "good") == NoSpace.exit_code
    assert "--quick" in capsys.readouterr().err
    assert spaces == []
    monkeypatch.setattr(data, "free_bytes", lambda folder: data.SPARE_BYTES + MiB)
    assert bench_line(tmp_path, "good") == 0


def test_the_list(spaces, capsys):
    assert run(["bench", "--list"], Invocation()) == 0
    assert capsys.readouterr().out == "good    is good\nabsent  is absent\nbroken  is broken\n"
    assert run(["bench", "--list", "--json"], Invocation()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["benchmarks"][0] == {"name": "good", "summary": "is good"}


def test_settings_of_the_user_do_not_reach_what_is_measured(tmp_path):
    environ = {"WHERRY_HOME": "/x", "WHERRY_CACHE__USE": "memory", "PATH": "/bin"}
    space = Workspace(tmp_path, Scale(), config=None, environ=environ, say=print)
    assert space.environ == {"PATH": "/bin"}
    line = space.wherry_line(Path("/h"), "add", "f")
    assert line[-2:] == ["add", "f"]
    assert line[line.index("--config") + 1] == str(tmp_path / "wherry.toml")
    mine = Workspace(tmp_path, Scale(), config=Path("/mine.toml"), environ={}, say=print)
    assert "/mine.toml" in mine.wherry_line(Path("/h"), "add", "f")


def test_homes_are_new_and_do_not_stay(tmp_path):
    space = Workspace(tmp_path, Scale(), config=None, environ={}, say=print)
    with space.home() as first, space.home() as second:
        assert first != second
        assert not first.exists()
        first.mkdir()
        (first / "state").touch()
    assert not first.exists()


def test_a_run_of_an_arm_is_repeated_as_often_as_was_asked(tmp_path):
    said = []
    space = Workspace(tmp_path, Scale(rounds=2), config=None, environ={}, say=said.append)
    order = []
    arms = {name: lambda name=name: (order.append(name), Run(0.6 if name == "b" else 0.1))[1] for name in "ab"}
    found = space.compare(arms, count=5, unit="files")
    assert order == ["a", "b", "b", "a"]
    assert {name: len(arm.runs) for name, arm in found.items()} == {"a": 2, "b": 2}
    assert (found["a"].count, found["a"].unit) == (5, "files")
    assert said == ["round 1: b: 600ms", "round 2: b: 600ms"]


# Sizes


def test_the_scale_of_the_bounds():
    full = Scale.of(synth_named=True)
    assert full == Scale()
    assert (full.large_bytes, full.tree_files, full.synth_bytes, full.transfers) == (4 * GiB, 20_000, 100 * GiB, 1000)
    assert Scale.of(synth_named=False).synth_bytes < 100 * GiB


def test_a_size_sets_every_count_within_that_of_the_bounds():
    small = Scale.of(size_bytes=64 * MiB)
    assert (small.large_bytes, small.synth_bytes, small.tree_files, small.transfers) == (64 * MiB, 64 * MiB, 4096, 16)
    big = Scale.of(size_bytes=200 * GiB)
    assert (big.large_bytes, big.tree_files, big.transfers) == (200 * GiB, 20_000, 1000)
    assert Scale.of(size_bytes=1).large_bytes == MiB
    assert Scale.of(size_bytes=MiB, quick=True, rounds=7).rounds == 7


def test_what_the_disk_must_hold():
    scale = Scale(large_bytes=100 * MiB, tree_files=1000)
    tree = 1000 * 22 * KiB
    assert table.disk_bytes(["startup", "synth"], scale) == 0
    assert table.disk_bytes(["add-large", "latency"], scale) == 100 * MiB
    assert table.disk_bytes(["add-tree"], scale) == tree
    assert table.disk_bytes(["get-large", "add-tree", "memory"], scale) == 200 * MiB + tree
    assert table.disk_bytes(["get-tree"], scale) == 2 * tree


def test_the_tree_is_the_same_each_time_and_of_the_stated_size(tmp_path):
    total = data.make_tree(tmp_path / "a", 300)
    assert data.make_tree(tmp_path / "b", 300) == total
    assert data.count_files(tmp_path / "a") == (300, total)
    assert 14 * KiB < total / 300 < 18 * KiB
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0000", "0001", "0002"]
    assert (tmp_path / "a/0002/000299.bin").read_bytes() == (tmp_path / "b/0002/000299.bin").read_bytes()


def test_the_large_file_has_exactly_its_size(tmp_path):
    data.make_large(tmp_path / "f", 9 * MiB + 5)
    assert (tmp_path / "f").stat().st_size == 9 * MiB + 5
    data.warm(tmp_path / "f")


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [(123.4, "123.4s"), (10.0, "10.0s"), (2.346, "2.35s"), (0.1234, "123ms"), (0.0012, "1.2ms"), (float("nan"), "-")],
)
def test_times_for_people(value, text):
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (100.0, "100"), (1.4999, "1.5"), (0.0, "0"), (float("nan"), "-")]
)
def test_numbers_for_people(value, text):
    assert number(value) == text


def test_units_for_people():
    assert (with_unit(1.5, "x"), with_unit(3.0, ""), with_unit(96.2, "MB")) == ("1.5x", "3", "96.2 MB")


def test_the_last_line_counts_bounds_alone():
    free = Report("a", "", [Arm("x")], [Figure("f", 1.0, "x")])
    assert verdict_line([free]) == "0 of 0 bounds met"


def test_facts_of_the_machine(tmp_path):
    facts = machine_facts(tmp_path)
    named = {"wherry", "processor", "memory", "disk", "load", "open files", "Python", "SQLite", "nginx", "curl", "rsync"}
    assert set(facts) >= named
    assert all(value is None or str(value) for value in facts.values())


def test_the_file_system_is_that_of_the_nearest_mount():
    mounts = [("/", "ext4"), ("/home", "xfs"), ("/home/me/tmp", "tmpfs"), ("/home", "btrfs")]
    assert file_system("/var/tmp", mounts) == "ext4"
    assert file_system("/home/me", mounts) == "btrfs"  # mounted over the other
    assert file_system("/home/me/tmp/x", mounts) == "tmpfs"
    assert file_system("/homes", mounts) == "ext4"
    assert file_system("/x", []) == "an unknown file system"


def test_versions_are_found_in_what_programs_say():
    assert first_version("nginx version: nginx/1.22.1\n") == "1.22.1"
    assert first_version("rsync  version 3.5.0  protocol version 32") == "3.5.0"
    assert first_version("a tool\nof no version") == "a tool"
