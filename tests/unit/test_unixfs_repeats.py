"""A tree that repeats itself: refused out of proportion to what was sent, however many directories there are."""

from __future__ import annotations

import hashlib
from itertools import islice

import pytest
from unixfs_dags import Dag

from wherry.errors import LimitExceeded
from wherry.limits import UNIXFS_REPEATED_FREE, UNIXFS_REPEATED_TIMES
from wherry.unixfs import repeats
from wherry.unixfs.repeats import _FEW_MAX, Repeats
from wherry.unixfs.walk import UnixWalk


def digest(number):
    return hashlib.sha256(b"%d" % number).digest()


def unfold(made, kinds, entries):
    """Comes to the same directories by turns, until the tree is refused; gives how many entries were repeated then."""
    number = 0
    while made.came(digest(number % kinds), entries):
        number += 1
        assert made.repeated <= made.most
    return made.repeated


def test_few_blocks_do_not_unfold_for_long():
    made = Repeats()
    most = UNIXFS_REPEATED_TIMES * 45 * 2
    assert most < UNIXFS_REPEATED_FREE < unfold(made, 45, 2) <= UNIXFS_REPEATED_FREE + 2
    assert made.distinct == 45 * 2


def test_an_archive_of_versions_repeats_itself():
    made = Repeats()
    for version in range(200):
        assert made.came(digest(-version - 1), 100)  # each has a root of its own
        for number in range(100):
            assert made.came(digest(number), 50)
    assert made.repeated == 199 * 100 * 50 > UNIXFS_REPEATED_FREE


@pytest.mark.parametrize("kinds", [_FEW_MAX - 1, _FEW_MAX, _FEW_MAX + 1, 3 * _FEW_MAX])
def test_many_blocks_that_unfold_are_found_out_too(kinds):
    """None is forgotten: where each directory counts as new once it was forgotten, a tree of many would go on for ever."""
    made = Repeats()
    for number in range(kinds):
        assert made.came(digest(number), 1)
    assert made.repeated == 0
    assert made.distinct == kinds
    for number in range(kinds):
        made.came(digest(number), 1)
    assert made.repeated == kinds
    assert made.most == max(UNIXFS_REPEATED_FREE, UNIXFS_REPEATED_TIMES * kinds)


def test_what_is_new_is_nearly_always_seen_as_new():
    made = Repeats()
    for number in range(200_000):
        made.came(digest(number), 1)
    assert made.repeated < 100


@pytest.mark.slow
def test_trees_that_unfold_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(repeats, "UNIXFS_REPEATED_FREE", 400)
    monkeypatch.setattr(repeats, "UNIXFS_REPEATED_TIMES", 1)
    dag = Dag()
    link = dag.directory([("x", dag.raw(b"x"))])
    for _ in range(100):
        link = dag.directory([(str(number), link) for number in range(10)])
    walk = UnixWalk(dag.root(link).entry)
    with pytest.raises(LimitExceeded, match="occurred before"):
        list(islice(dag.drive(walk), 10_000))
    walk = UnixWalk(dag.root(link).entry, entries_max=50)
    with pytest.raises(LimitExceeded, match="more than 50 entries"):
        list(dag.drive(walk))
