"""The vectors of specs/0010: what a journal says, what of it counts after what, and how it is written."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from wherry.transfer import journal
from wherry.transfer.journal import Journal

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/journal.json").read_text())


def open_journal(path, case):
    return Journal(str(path), {"cid": case["cid"], "selection": case["selection"]})


def assert_says(opened, done):
    assert opened.done.total == sum(end - start for start, end in done)
    assert all(opened.done.covers(start, end) for start, end in done)


@pytest.fixture
def booted(monkeypatch):
    """Makes this boot another one."""
    return lambda boot: monkeypatch.setattr(journal, "_boot", lambda: boot)


@pytest.mark.parametrize("case", VECTORS["read"], ids=lambda case: case["name"])
def test_what_counts(case, tmp_path, booted):
    booted(case["boot"])
    path = tmp_path / "journal"
    path.write_bytes(bytes.fromhex(case["journal"]))
    with closing(open_journal(path, case)) as found:
        assert (found.found, found.intact) == (case["found"], case["intact"])
        assert_says(found, case["done"])
        found.begin()
    # Whatever it was, the next run finds in it what counted in this one, and can go on.
    with closing(open_journal(path, case)) as again:
        assert again.found
        assert again.intact is bool(case["boot"])
        if case["boot"]:
            assert_says(again, case["done"])


@pytest.mark.parametrize("case", [case for case in VECTORS["read"] if case["boot"]], ids=lambda case: case["name"])
def test_what_a_power_cut_left_outlives_the_next_one(case, tmp_path, booted):
    """A journal that is written anew keeps its mark: what was on disk still is."""
    path = tmp_path / "journal"
    path.write_bytes(bytes.fromhex(case["journal"]))
    booted("the second boot")
    with closing(open_journal(path, case)) as found:
        kept = found.done.total
        found.begin()
    booted("the third boot")
    with closing(open_journal(path, case)) as again:
        assert again.done.total == kept
        assert not again.intact


@pytest.mark.parametrize("case", VECTORS["write"], ids=lambda case: case["name"])
def test_how_it_is_written(case, tmp_path, booted):
    booted(case["boot"])
    path = tmp_path / "journal"
    with closing(open_journal(path, case)) as made:
        made.begin()
        for call, *values in case["calls"]:
            if call == "append":
                made.append([tuple(values)])
            else:
                made.mark_synced(made.position())
    header, _, records = path.read_bytes().partition(b"\n")
    assert json.loads(header) == json.loads(case["header"])
    assert records.hex() == case["records"]
    assert path.stat().st_mode & 0o077 == 0
