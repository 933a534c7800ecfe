"""The swarm of one node, with connections that are not there (specs/0025)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from links import ROOT, Link, Listens, World, cid, have

from wherry.abc.exchange import HaveMap
from wherry.cid import CID, RAW
from wherry.errors import PeerBusy, PeerDenied
from wherry.limits import HAVE_SPANS_MAX, SWARM_FOLLOWS_MAX
from wherry.stretches import Stretches
from wherry.swarm.options import SwarmOptions
from wherry.units import MiB

SIZE = 64 * MiB
SEEDS = {ROOT: (SIZE, True)}
OTHER = CID.of(RAW, b"another")


# Who has what


def test_peers_of_a_download_are_asked_whether_they_come_before_it_or_after():
    world = World()
    early = world.meet(1)
    world.swarm.enter(ROOT, SIZE, have(), Listens())
    late = world.meet(2)
    assert early.follows == late.follows == [ROOT]


def test_whoever_says_what_it_has_is_met_and_its_map_passed_on():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    link = world.meet()
    link.peer.has(ROOT, have(1, 2))
    link.peer.has(ROOT, have(1, 2, 3), [(3 * MiB, 4 * MiB)])
    assert listens.heard == [("met", link), ("has", link, 2 * MiB, False), ("has", link, 3 * MiB, False)]


def test_a_second_download_of_the_same_hears_what_was_said():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), Listens())
    link = world.meet()
    link.peer.has(ROOT, have(1))
    link.peer.choked(on=True)
    world.swarm.enter(ROOT, SIZE, have(4), listens)
    assert listens.heard == [("met", link), ("has", link, MiB, False), ("choked", link, True)]


def test_what_a_peer_of_a_seed_said_is_known_to_a_download_that_begins_later():
    world, listens = World(held=SEEDS), Listens()
    link = world.meet()
    link.peer.follows(ROOT)
    link.peer.has(ROOT, have(1))
    world.swarm.enter(ROOT, SIZE, have(complete=True), listens)
    assert listens.heard == [("met", link), ("has", link, MiB, False)]


def test_what_nobody_asked_for_is_not_kept():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    link = world.meet()
    link.peer.has(OTHER, have(1))
    link.peer.has_nothing(OTHER)
    assert listens.heard == []
    assert [dataset.root for dataset in world.swarm.stats().datasets] == [ROOT]


def test_one_that_tells_nothing_is_asked_if_this_node_dialled_it():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    world.meet(1).peer.has_nothing(ROOT)
    dialled = world.meet(2, incoming=False)
    dialled.peer.has_nothing(ROOT)
    assert listens.heard == [("met", dialled)]


def test_one_that_was_dialled_for_one_of_several_downloads_is_asked_for_that_one_alone():
    """A seed would show each of them its dataset by turns to all connections, most of which fetch another one."""
    world = World()
    alone = world.meet(1, incoming=False)
    entries = {root: world.swarm.enter(root, SIZE, have(), Listens()) for root in (ROOT, OTHER)}
    came, dialled = world.meet(2), world.meet(3, incoming=False)
    assert (came.follows, dialled.follows, alone.follows) == ([ROOT, OTHER], [], [ROOT])
    entries[OTHER].follow(dialled)
    entries[OTHER].follow(dialled)
    assert dialled.follows == [OTHER]
    dialled.peer.closed("gone")
    entries[ROOT].follow(dialled)
    assert dialled.follows == [OTHER]


def test_a_map_of_too_many_pieces_is_kept_as_a_coarser_one():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    link = world.meet()
    link.peer.has(ROOT, HaveMap(Stretches((3 * at, 3 * at + 1) for at in range(HAVE_SPANS_MAX + 1))), [(0, 1)])
    assert listens.heard[1][2] <= HAVE_SPANS_MAX
    assert world.swarm.stats().peers[0].has[ROOT] <= HAVE_SPANS_MAX


def test_followers_are_told_what_is_written_in_batches():
    world = World()
    entry = world.swarm.enter(ROOT, SIZE, have(0), Listens())
    link = world.meet()
    link.peer.follows(ROOT)
    assert link.told[ROOT][-1] == have(0)
    for unit in range(4):
        entry.gained(MiB + unit * 1000, MiB + (unit + 1) * 1000)
    world.after(2.0)
    assert link.gained[1:] == [[(MiB, MiB + 1000)], [(MiB + 1000, MiB + 4000)]]
    entry.completed()
    entry.completed()
    assert [told.complete for told in link.told[ROOT]] == [False, False, False, True]


def test_followers_are_told_at_once_of_what_is_much():
    world = World()
    entry = world.swarm.enter(ROOT, SIZE, have(0), Listens())
    links = [world.meet(number) for number in range(1, 4)]
    for link in links:
        link.peer.follows(ROOT)
    for unit in range(1, 5):
        entry.gained(unit * MiB, (unit + 1) * MiB)
        for link in links:
            assert link.gained[-1] == [(unit * MiB, (unit + 1) * MiB)]


def test_the_size_may_be_known_later():
    world = World()
    entry = world.swarm.enter(ROOT, 0, have(), Listens())
    link = world.meet()
    assert link.peer.size(ROOT) == 0
    entry.sized(SIZE)
    assert world.swarm.stats().datasets[0].size == link.peer.size(ROOT) == SIZE
    assert link.peer.size(OTHER) == 0


def test_one_that_followed_before_the_download_began_is_told_then():
    world = World()
    link = world.meet()
    link.peer.follows(ROOT)
    assert link.told[ROOT] == [None]
    world.swarm.enter(ROOT, SIZE, have(7), Listens())
    assert link.told[ROOT] == [None, have(7)]


def test_a_download_that_ends_early_is_told_and_forgotten():
    world = World()
    entry = world.swarm.enter(ROOT, SIZE, have(1), Listens())
    link = world.meet()
    link.peer.follows(ROOT)
    entry.leave()
    entry.leave()
    assert link.told[ROOT][-1] == have()
    assert link.follows == []
    assert world.swarm.stats().datasets == []


def test_a_download_that_is_complete_is_seeded_while_somebody_follows():
    world = World()
    entry = world.swarm.enter(ROOT, SIZE, have(1), Listens())
    link = world.meet()
    link.peer.follows(ROOT)
    entry.completed()
    world.held[ROOT] = (SIZE, True)
    entry.leave()
    assert world.swarm.stats().datasets[0].complete
    link.peer.unfollows(ROOT)
    assert world.swarm.stats().datasets == []


# Who comes


def test_who_is_not_wanted_or_one_too_many_is_sent_away():
    world = World(options=SwarmOptions(peers=1), judge=lambda info: "is banned" if info.ip.endswith(".9") else "")
    with pytest.raises(PeerDenied, match="is banned"):
        world.meet(9)
    world.meet(1)
    with pytest.raises(PeerBusy, match="busy"):
        world.meet(2)


def test_who_is_banned_meanwhile_is_left_and_nobody_else():
    unwanted = set()
    world = World(judge=lambda info: "is banned" if info.ip in unwanted else "")
    stays, goes = world.meet(1), world.meet(2)
    world.swarm.judge_again()
    unwanted.add("10.0.0.2")
    world.swarm.judge_again()
    assert (stays.reason, goes.reason) == (None, "is banned")


def test_what_a_peer_was_given_is_told_when_it_leaves():
    told = []
    world = World(held=SEEDS, parted=lambda info, given: told.append((info.ip, given)))
    link, idle = world.meet(1), world.meet(2)
    link.peer.follows(ROOT)
    link.peer.asked(1, [cid(1)])
    world.after(1)
    link.answered(MiB)
    assert told == []
    link.close("leaves")
    idle.close("leaves")
    assert told == [("10.0.0.1", MiB)]


def test_who_follows_too_much_is_closed():
    world = World()
    link = world.meet()
    for number in range(SWARM_FOLLOWS_MAX + 1):
        link.peer.follows(CID.of(RAW, b"%d" % number))
        link.peer.follows(CID.of(RAW, b"%d" % number))
    assert "follows more than" in link.reason
    assert world.swarm.stats().peers == []


def test_one_too_many_of_a_dataset_is_sent_on_to_the_others():
    world = World(held=SEEDS, options=SwarmOptions(followers=2))
    first, second, third = (world.meet(number) for number in (1, 2, 3))
    for link in (first, second, third):
        link.peer.follows(ROOT)
    assert third.reason.startswith("busy")
    assert sorted(third.peers) == [first.info.address, second.info.address]
    first.peer.has(ROOT, have(complete=True))
    fourth = world.meet(4)
    fourth.peer.follows(ROOT)
    assert first.reason == "has everything, and others wait"
    assert fourth.reason is None


def test_followers_are_told_of_each_other_and_not_of_themselves():
    world = World(held=SEEDS)
    links = [world.meet(number) for number in range(1, 4)]
    for link in links:
        link.peer.follows(ROOT)
    world.after(2.0)
    for link in links:
        assert sorted(link.peers) == sorted(other.info.address for other in links if other is not link)


def test_hearsay_goes_to_the_downloads_that_the_peer_has_to_do_with():
    world, mine, other = World(addresses=["tcp://10.0.0.99:1"]), Listens(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), mine)
    world.swarm.enter(OTHER, SIZE, have(), other)
    link = world.meet()
    link.peer.peers(["tcp://10.0.0.5:1"])
    assert mine.heard == []
    link.peer.has(ROOT, have(1))
    link.peer.peers(["tcp://10.0.0.6:1", "tcp://10.0.0.99:1", "tcp://10.0.0.6:1", "no address"])
    link.peer.peers(["tcp://10.0.0.6:1"])
    assert mine.heard[2:] == [("hints", ("tcp://10.0.0.6:1",))]
    assert other.heard == []


# Nothing stays behind


def test_who_is_gone_is_lost_to_downloads_and_gone_twice_is_once():
    world, listens = World(), Listens()
    world.swarm.enter(ROOT, SIZE, have(), listens)
    link = world.meet()
    link.peer.has(ROOT, have(1))
    link.peer.closed("gone")
    link.peer.closed("gone")
    assert listens.heard[-1] == ("lost", link)
    assert listens.heard.count(("lost", link)) == 1
    assert world.swarm.stats().peers == []


def left_behind(swarm):
    """What is remembered of peers that are gone, and of datasets that nobody wants."""
    uploads = swarm._service._uploads
    serving = [uploads.serving] if uploads.serving else []
    young = [key for one in uploads._classes.values() for key in one.young]
    return [*swarm._neighbours, *swarm._shared._datasets, *uploads._ring, *young, *serving]


ACTS = st.lists(
    st.tuples(
        st.sampled_from([
            "meet", "meet", "follows", "follows", "unfollows", "has", "has", "nothing", "peers", "asked", "asked", "cancelled",
            "answered", "choked", "closed", "enter", "gained", "completed", "leave", "time",
        ]),
        st.integers(0, 3),
        st.integers(0, 5),
    ),
    max_size=120,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ACTS, st.booleans(), st.sampled_from([0, 1]))
def test_in_whatever_order_they_come_and_go_nothing_is_left_behind(acts, held, followers):
    world = World(held=dict(SEEDS) if held else {}, options=SwarmOptions(peers=4, followers=followers))
    links, entries, requests = [], [], 0
    for act, number, value in acts:
        root = (ROOT, OTHER)[number % 2]
        links = [link for link in links if link.peer.link in world.swarm._neighbours]
        link = links[number % len(links)] if links else None
        entry = entries[number % len(entries)] if entries else None
        if act == "meet":
            if len(links) < 4:
                links.append(world.meet(len(links) + 1, incoming=bool(value % 2)))
        elif act == "enter":
            entries.append(world.swarm.enter(root, SIZE, have(value, complete=value == 5), Listens()))
        elif act == "time":
            world.after(value, 0.5)
        elif act in ("gained", "completed", "leave"):
            if entry is not None:
                entry.gained(value * MiB, (value + 1) * MiB) if act == "gained" else getattr(entry, act)()
                if act == "leave":
                    entries.remove(entry)
        elif link is not None:
            _say(link, act, root, value, requests)
            requests += 1
    for entry in entries:
        entry.leave()
    for link in links:
        link.peer.closed("")
    assert left_behind(world.swarm) == []


def _say(link, act, root, value, request):
    peer = link.peer
    if act in ("follows", "unfollows"):
        getattr(peer, act)(root)
    elif act == "has":
        peer.has(root, have(*range(value), complete=value == 5, choosy=False), [(0, MiB)] if value == 2 else None)
    elif act == "nothing":
        peer.has_nothing(root)
    elif act == "peers":
        peer.peers([f"tcp://10.0.0.{value}:1"])
    elif act == "asked":
        peer.asked(request, [cid(value)] * (value % 3))
    elif act == "cancelled":
        peer.cancelled(request - value)
    elif act == "answered":
        if link.answering:
            link.answered(value)
    elif act == "choked":
        peer.choked(on=bool(value % 2))
    elif act == "closed":
        peer.closed("")


def test_a_link_that_is_told_to_close_may_say_so_at_once():
    world = World(options=SwarmOptions(peers=2))
    link = Link()
    link.peer = world.swarm.meet(link)
    link.close("enough")
    assert left_behind(world.swarm) == []
