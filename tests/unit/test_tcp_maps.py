"""What is kept of the have-maps of strangers: never more than they said, and never too much."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wherry.cid import CID, RAW
from wherry.limits import (
    HAVE_SPANS_FAIR,
    HAVE_SPANS_MAX,
    HAVE_SPANS_NODE_MAX,
    SWARM_FOLLOWS_MAX,
    SWARM_PEERS_MAX,
    WIRE_SPANS_MAX,
)
from wherry.units import MiB
from wherry.wire.messages import Have, HaveFlag
from wherry_tcp import maps as maps_module
from wherry_tcp.maps import Maps

ROOT = CID.of(RAW, b"root")
GAINED = HaveFlag.GAINED


@pytest.fixture
def engine():
    return SimpleNamespace(spans=0)


def follows(engine, *roots):
    maps = Maps(engine, 0.0)
    assert all(maps.follow(root) for root in roots or (ROOT,))
    return maps


def holes(count, *, first=0):
    return tuple((2 * at, 2 * at + 1) for at in range(first, first + count))


def told(maps, have, size=0):
    found, gained = maps.took(have, size)
    return list(found.spans), gained


def fill(maps, root, count):
    """Tells ``count`` single bytes of a dataset; gives how many are kept."""
    for first in range(0, count, WIRE_SPANS_MAX):
        found, _ = maps.took(Have(root, holes(min(WIRE_SPANS_MAX, count - first), first=first), GAINED), 0)
    return len(found.spans)


def test_what_is_new_is_put_beside_what_is_known(engine):
    maps = follows(engine)
    assert told(maps, Have(ROOT, ((0, 4), (8, 9)), HaveFlag(0))) == ([(0, 4), (8, 9)], None)
    assert told(maps, Have(ROOT, ((4, 6),), GAINED)) == ([(0, 6), (8, 9)], [(4, 6)])
    assert told(maps, Have(ROOT, ((3, 5),), HaveFlag(0))) == ([(3, 5)], None)


def test_what_lies_beyond_the_end_is_not_kept(engine):
    maps = follows(engine)
    assert told(maps, Have(ROOT, ((0, 1), (2, 9), (10, 11)), GAINED), size=3) == ([(0, 1), (2, 3)], [(0, 1), (2, 3)])
    assert told(maps, Have(ROOT, holes(WIRE_SPANS_MAX), HaveFlag(0)), size=3) == ([(0, 1), (2, 3)], None)
    assert engine.spans == 2


def test_all_maps_of_one_peer_have_so_many_stretches(engine):
    roots = [CID.of(RAW, b"%d" % number) for number in range(3)]
    maps = follows(engine, *roots)
    assert fill(maps, roots[0], HAVE_SPANS_MAX - 10) == HAVE_SPANS_MAX - 10
    assert fill(maps, roots[1], 100) == 10
    assert fill(maps, roots[2], 100) == 0
    assert told(maps, Have(roots[1], ((1, 2),), GAINED))[1] == [(1, 2)]  # what makes no stretch more is kept all the same
    maps.nothing(roots[0])
    assert fill(maps, roots[2], 100) == 100


def test_where_others_told_very_much_each_has_its_part_still(engine, monkeypatch):
    for name, most in {"HAVE_SPANS_MAX": 64, "HAVE_SPANS_NODE_MAX": 256, "HAVE_SPANS_FAIR": 4}.items():
        monkeypatch.setattr(maps_module, name, most)
    greedy = [follows(engine) for _ in range(4)]
    assert {fill(maps, ROOT, 70) for maps in greedy} == {64}
    assert [fill(follows(engine), ROOT, 70) for _ in range(2)] == [4, 4]
    for maps in greedy[:2]:
        maps.close()
    assert fill(follows(engine), ROOT, 70) == 64


def test_what_strangers_tell_takes_little_memory():
    assert 32 * MiB >= 16 * (HAVE_SPANS_NODE_MAX + SWARM_PEERS_MAX * HAVE_SPANS_FAIR)


def test_what_is_forgotten_leaves_its_place_to_others(engine):
    maps = follows(engine)
    fill(maps, ROOT, 100)
    maps.took(Have(ROOT, holes(7), HaveFlag(0)), 0)
    assert engine.spans == 7
    maps.took(Have(ROOT, ((0, 20),), GAINED), 0)
    assert engine.spans == 1
    assert maps.unfollow(ROOT)
    assert not maps.unfollow(ROOT)
    assert engine.spans == 0
    maps.follow(ROOT)
    fill(maps, ROOT, 100)
    maps.close()
    assert engine.spans == 0


def test_so_many_are_followed(engine):
    roots = [CID.of(RAW, b"%d" % number) for number in range(SWARM_FOLLOWS_MAX + 1)]
    maps = follows(engine, *roots[:-1])
    assert not maps.follow(roots[-1])
    assert not maps.follow(roots[0])
    maps.unfollow(roots[0])
    assert maps.follow(roots[-1])


def test_who_says_much_is_not_listened_to_for_a_while(engine):
    maps = follows(engine)
    many, one = Have(ROOT, holes(WIRE_SPANS_MAX), GAINED), Have(ROOT, ((0, 1),), GAINED)
    at_once = int(maps_module._AT_ONCE) // (WIRE_SPANS_MAX + maps_module._MESSAGE)
    assert [maps.pause_s(many, 0.0) for _ in range(at_once)] == [0.0] * at_once  # a whole map
    assert maps.pause_s(many, 0.0) < 0.01
    assert maps.pause_s(many, 0.0) == pytest.approx(1.0, abs=0.02)
    assert maps.pause_s(many, 1.0) == pytest.approx(1.0, abs=0.02)
    now = 1000.0
    for _ in range(10_000):  # news of many datasets, each second
        assert maps.pause_s(one, now) == 0.0
        now += 1 / 800
