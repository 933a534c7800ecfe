"""What a node shows to its peers, and whom it serves, as a whole (specs/0025 §4)."""

from __future__ import annotations

import pytest
from links import ROOT, Listens, World, cid, have

from wherry.abc.exchange import HaveMap
from wherry.errors import PeerBusy, StoreError
from wherry.limits import SWARM_REQUESTS_MAX
from wherry.stretches import Stretches
from wherry.swarm.options import SwarmOptions
from wherry.swarm.reveal import Reveal
from wherry.transfer.node import stretches_of
from wherry.units import GiB, MiB

SIZE = 64 * MiB
SEEDS = {ROOT: (SIZE, True)}


# Super-seeding


def test_a_seed_shows_each_follower_something_else():
    world = World(held=SEEDS)
    links = [world.meet(number) for number in range(1, 5)]
    for link in links:
        link.peer.follows(ROOT)
    maps = [link.told[ROOT][-1] for link in links]
    assert all(told.choosy and told.complete for told in maps)
    assert sum(told.spans.total for told in maps) == Stretches(span for told in maps for span in told.spans).total


def test_who_brings_what_it_was_shown_is_shown_more():
    world = World(held=SEEDS)
    links = [world.meet(number) for number in (1, 2)]
    for link in links:
        link.peer.follows(ROOT)
    a = links[0]
    shown = a.told[ROOT][-1].spans
    a.peer.has(ROOT, HaveMap(shown.copy()))
    assert a.told[ROOT][-1].spans.total > shown.total
    assert sum(end - start for start, end in a.gained[-1]) == a.told[ROOT][-1].spans.total - shown.total


def test_maps_are_looked_at_when_they_changed_and_some_in_each_tick(monkeypatch):
    looked = []
    monkeypatch.setattr(Reveal, "refresh", lambda _self, shown, _have, _now: looked.append(shown))
    world = World(held={ROOT: (4 * GiB, True)})
    links = [world.meet(number) for number in range(1, 6)]
    for link in links:
        link.peer.follows(ROOT)
    dataset = next(iter(world.swarm._shared))
    world.after(2.0)
    looked.clear()
    for link in links[:4]:
        link.peer.has(ROOT, HaveMap(Stretches((at, at + 1) for at in range(0, 10_000, 2))))
    most = 0
    for _ in range(25):
        before = len(looked)
        world.after(0.1)
        most = max(most, len(looked) - before)
    assert most == 2  # 5,000 stretches each
    assert looked[:4] == [dataset.shown[link.peer] for link in links[:4]]
    assert dataset.shown[links[4].peer] not in looked  # it said nothing new


def test_what_was_looked_at_is_not_looked_at_again():
    world = World(held=SEEDS)
    links = [world.meet(number) for number in (1, 2)]
    for link in links:
        link.peer.follows(ROOT)
    dataset = next(iter(world.swarm._shared))
    links[0].peer.has(ROOT, have(40, 41))
    assert dataset.stale() == [(dataset, links[0].peer)]
    world.after(1.1)
    assert dataset.stale() == []
    assert [dataset.reveal._had[unit] for unit in (39, 40, 41)] == [0, 1, 1]


def test_a_follower_that_is_alone_is_shown_everything():
    world = World(held=SEEDS)
    link = world.meet()
    link.peer.follows(ROOT)
    assert not link.told[ROOT][-1].choosy


def test_one_that_takes_and_says_nothing_is_shown_everything():
    world = World(held=SEEDS)
    links = [world.meet(number) for number in (1, 2)]
    for link in links:
        link.peer.follows(ROOT)
    mute = links[0]
    for request in range(2):
        mute.peer.asked(request, [cid(request)])
        mute.answered()
    world.after(4.0)
    assert not mute.told[ROOT][-1].choosy
    assert links[1].told[ROOT][-1].choosy


def test_without_super_seeding_everything_is_shown_at_once():
    world = World(held=SEEDS, options=SwarmOptions(reveal=False))
    for number in (1, 2):
        link = world.meet(number)
        link.peer.follows(ROOT)
        assert not link.told[ROOT][-1].choosy


def test_swarms_end_with_everything_everywhere_and_about_one_copy_sent():
    """Four that take what they are shown and pass on to each other; the seed counts what it gave."""
    world = World(held={ROOT: (16 * MiB, True)})
    links = [world.meet(number) for number in range(1, 5)]
    owned = [set() for _ in links]
    for link in links:
        link.peer.follows(ROOT)
    sent = 0
    for turn in range(400):
        for link, mine in zip(links, owned, strict=True):
            told = link.told[ROOT][-1]
            offered = [unit for unit in range(16) if unit not in mine and told.spans.covers(unit * MiB, unit * MiB + 1)]
            theirs = set().union(*owned) - mine
            if offered and (turn % 2 or not theirs):
                link.peer.asked(turn, [cid(offered[0])])
                if link.answering:
                    link.answered()
                    sent += 1
                    mine.add(offered[0])
            elif theirs:
                mine.add(min(theirs))
            link.peer.has(ROOT, have(*mine, complete=len(mine) == 16))
        world.after(0.1)
        if all(len(mine) == 16 for mine in owned):
            break
    assert all(len(mine) == 16 for mine in owned)
    assert 16 <= sent <= 1.2 * 16
    assert world.swarm.stats().datasets[0].copies == sent / 16


# Requests and choking


def test_requests_are_answered_as_many_at_a_time_as_there_are_slots():
    world = World(held=SEEDS)
    link = world.meet()
    for request in range(10):
        link.peer.asked(request, [cid(request)])
    assert link.answering == [0, 1, 2, 3]
    link.answered()
    assert link.answering == [1, 2, 3, 4]
    link.peer.cancelled(9)
    for _ in range(8):
        link.answered()
    assert link.answering == []
    assert world.swarm.stats().peers[0].uploaded == 9 * MiB


def test_an_empty_request_is_answered_at_once():
    world = World()
    link = world.meet()
    link.peer.asked(5, [])
    assert link.answering == [5]


def test_a_flood_of_wants_ends_the_connection_and_leaves_nothing():
    world = World()
    link = world.meet()
    for request in range(2 * SWARM_REQUESTS_MAX):
        link.peer.asked(request, [cid(request)])
        if link.reason:
            break
    assert link.reason == "has too many requests waiting"
    assert world.swarm._service.idle


def test_of_many_that_want_something_those_that_give_are_served():
    world = World()
    entry = world.swarm.enter(ROOT, SIZE, have(*range(32)), Listens())
    links = [world.meet(number) for number in range(1, 13)]
    for number, link in enumerate(links):
        link.peer.follows(ROOT)
        link.peer.has(ROOT, have())
        entry.credit(link, number)
    for link in links:  # the link is not idle
        for request in range(3):
            link.peer.asked(request, [cid(request)])
    world.after(10.5)
    choked = [link for link in links if link.choked and link.choked[-1]]
    assert len(choked) == len(links) - 5
    assert not set(choked) & set(links[-4:])
    choked[0].answering.clear()
    choked[0].peer.asked(77, [cid(1)])
    assert choked[0].answering == []  # it had not heard yet
    assert world.swarm.stats().peers[-1].downloaded == 11


def test_an_idle_link_chokes_nobody_for_long():
    world = World()
    world.swarm.enter(ROOT, SIZE, have(*range(32)), Listens())
    links = [world.meet(number) for number in range(1, 13)]
    for link in links:
        link.peer.follows(ROOT)
    world.after(9.0)
    assert not any(link.choked and link.choked[-1] for link in links)


def test_one_that_has_given_enough_gives_nothing_more():
    world = World(held=SEEDS, options=SwarmOptions(upload_bytes=2 * MiB))
    link = world.meet()
    for request in range(6):
        link.peer.asked(request, [cid(request)])
    link.answered()
    link.answered()
    while link.answering:
        link.answered(0)
    assert [peer.waiting for peer in world.swarm.stats().peers] == [4]
    world.after(10.5)
    assert link.choked == [True]
    with pytest.raises(PeerBusy, match="given what it may"):
        world.meet(2)


@pytest.mark.parametrize("answer", [MiB // 2, 4 * MiB])
def test_what_is_under_way_counts_so_that_hardly_more_is_given_than_may_be(answer):
    world = World(held=SEEDS, options=SwarmOptions(upload_bytes=10 * MiB))
    links = [world.meet(number) for number in range(1, 5)]
    for link in links:
        for request in range(16):
            link.peer.asked(request, [cid(request)])
    given = 0
    while answering := [link for link in links if link.answering]:
        for link in answering:  # those that are under way end together
            given += answer
            link.answered(answer)
    assert 10 * MiB <= given < 10 * MiB + answer


def test_choking_by_peers_is_passed_on_once():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    link = world.meet()
    link.peer.choked(on=True)
    link.peer.has(ROOT, have(1))
    link.peer.choked(on=True)
    link.peer.choked(on=False)
    assert listens.heard == [
        ("met", link), ("choked", link, True), ("has", link, MiB, False), ("choked", link, False),
    ]  # fmt: skip


def test_lies_about_what_a_peer_has_change_nothing_but_who_is_asked():
    """It takes back, overlaps, claims what is beyond the end: every map stands for itself."""
    world = World(held={ROOT: (4 * MiB, True)})
    links = [world.meet(number) for number in (1, 2)]
    for link in links:
        link.peer.follows(ROOT)
    liar, honest = links
    for said in (have(0, 1, 2, 3), have(), HaveMap(Stretches([(0, 1 << 60)])), have(complete=True), have(1), have()):
        liar.peer.has(ROOT, said)
        world.after(0.3)
    mine = set()
    for _ in range(300):
        told = honest.told[ROOT][-1]
        for unit in set(range(4)) - mine:
            if told.spans.covers(unit * MiB, unit * MiB + 1) or not told.choosy:
                mine.add(unit)
                break
        honest.peer.has(ROOT, have(*mine, complete=len(mine) == 4))
        world.after(0.1)
    assert mine == set(range(4))
    for link in links:
        link.peer.closed("")
    assert world.swarm.stats().datasets == []


# Selections


def test_of_a_selection_what_stays_here_is_told_when_its_download_ends_and_to_who_comes_later():
    world = World(held={ROOT: (SIZE, Stretches([(2 * MiB, 5 * MiB)]))})
    entry = world.swarm.enter(ROOT, SIZE, have(), Listens())
    early = world.meet()
    early.peer.follows(ROOT)
    for unit in (2, 3, 9):  # the last is of another download, whose part is not given on when it ends
        entry.gained(unit * MiB, (unit + 1) * MiB)
    entry.leave()
    kept = early.told[ROOT][-1]
    assert (list(kept.spans), kept.complete) == ([(2 * MiB, 5 * MiB)], False)
    early.close("bye")
    assert not list(world.swarm._shared)
    late = world.meet(2)
    late.peer.follows(ROOT)
    assert late.told[ROOT][-1] == kept
    late.peer.asked(0, [cid(3)])
    assert late.answering == [0]


def test_of_a_download_that_is_given_up_nothing_is_told():
    world = World(held={ROOT: (SIZE, False)})
    entry = world.swarm.enter(ROOT, SIZE, have(1), Listens())
    link = world.meet()
    link.peer.follows(ROOT)
    entry.leave()
    assert list(link.told[ROOT][-1].spans) == []
    other = world.meet(2)
    other.peer.follows(ROOT)
    assert other.told[ROOT] == [None]


@pytest.mark.parametrize("text", ["1", "1-2-3", "a-b", "1-2,,3-4"])
def test_where_a_selection_lies_is_read_or_refused(text):
    with pytest.raises(StoreError):
        stretches_of([text])
    assert list(stretches_of(["5-9,20-21", "9-12"])) == [(5, 12), (20, 21)]
