"""The levels of a link on a virtual clock: rates, shares, borrowing, max-min fairness, nobody starves (specs/0026 §2, §3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.limits import FLOW_PEERS_MAX
from wherry.traffic.plan import SHARES
from wherry.traffic.tree import Request, Transfer, Tree

STEP_S = 0.005


@dataclass
class Sender:
    """Keeps ``side`` requests of ``piece`` bytes waiting, with a pause behind each; ``wants`` bytes a second at most."""

    transfer: Transfer
    piece: int
    side: int = 1
    pause_s: float = 0.0
    wants: float = float("inf")
    peer: str = ""
    got: int = 0
    free: list[float] = field(default_factory=list)  # when each of its requests is made next


class Link:
    """A tree, those who send, and the time."""

    def __init__(self, rate=None):
        self.tree = Tree(SHARES, 0.0)
        self.tree.change(self.tree.node, rate, 0.0)
        self.now = 0.0
        self.senders = []
        self.marks = [(0.0, 0)]

    def add(self, klass="normal", *, piece=8192, limit=None, name=None, **more):
        transfer = self.tree.add(name or f"t{len(self.senders)}", klass, self.now)
        self.tree.change(transfer, limit, self.now)
        return self.join(transfer, piece=piece, **more)

    def join(self, transfer, *, piece=8192, side=1, **more):
        sender = Sender(transfer, piece, side, free=[self.now] * side, **more)
        self.senders.append(sender)
        return sender

    def run(self, seconds, step=STEP_S):
        end = self.now + seconds
        while self.now < end:
            done = self.tree.serve(self.now)
            self._over(done)
            for sender in self.senders:
                self._ask(sender)
            self.marks.append((self.now, sum(sender.got for sender in self.senders)))
            self.now += step
        return self

    def _ask(self, sender):
        while (ready := [at for at in sender.free if at <= self.now]) and sender.got <= sender.wants * self.now:
            sender.free.remove(ready[0])
            request = Request(self.tree.leaf(sender.transfer, sender.peer, self.now), sender.piece)
            request.waiter = sender
            self._over(self.tree.ask(request, self.now))

    def _over(self, done):
        for request in done:
            request.waiter.got += request.size
            request.waiter.free.append(self.now + request.waiter.pause_s)

    def bursts(self, rate, held=0):
        """The most that went above the rate in any stretch of time."""
        lowest, most = 0.0, 0.0
        for at, got in self.marks:
            excess = got - rate * at
            most = max(most, excess - lowest)
            lowest = min(lowest, excess)
        return most - held


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


@pytest.mark.parametrize("rate", [1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
@pytest.mark.parametrize("pause_s", [0.0, 0.008])
def test_the_rate_is_the_one_that_is_asked(rate, pause_s):
    link = Link(rate)
    sender = link.add(piece=max(1024, int(rate * 0.025)), side=2, pause_s=pause_s)
    link.run(20)
    assert sender.got == pytest.approx(rate * 20, rel=0.05)
    assert link.bursts(rate) <= max(0.25 * rate, 2048) + sender.side * sender.piece  # what was given before a piece is whole


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(2e4, 1e8),
    senders=st.lists(
        st.tuples(st.sampled_from(sorted(SHARES)), st.integers(1, 200_000), st.integers(1, 3), st.sampled_from([0.0, 0.02])),
        min_size=1,
        max_size=6,
    ),
)
def test_no_mixture_goes_over_the_limit(rate, senders):
    link = Link(rate)
    for klass, piece, side, pause_s in senders:
        link.add(klass, piece=max(piece, int(rate * 0.005)), side=side, pause_s=pause_s)
    link.run(4)
    held = sum(sender.side * sender.piece for sender in link.senders)
    assert link.bursts(rate, held) <= max(0.25 * rate, 2048)


def test_classes_share_by_weight():
    link = Link(1e7)
    senders = {klass: link.add(klass, side=2, pause_s=0.005, piece=100_000) for klass in SHARES}
    link.run(20)
    whole = sum(sender.got for sender in senders.values())
    for klass, share in SHARES.items():
        assert senders[klass].got / whole == pytest.approx(share / 100, rel=0.15)


@pytest.mark.parametrize(("one", "other"), [("interactive", "bulk"), ("high", "normal"), ("normal", "bulk")])
def test_two_classes_share_what_the_absent_ones_leave(one, other):
    link = Link(1e6)
    first, second = link.add(one, side=4), link.add(other)
    link.run(20)
    assert first.got / second.got == pytest.approx(SHARES[one] / SHARES[other], rel=0.15)
    assert first.got + second.got == pytest.approx(2e7, rel=0.05)


def test_what_a_class_does_not_ask_for_goes_to_the_others_by_their_shares():
    link = Link(1e6)
    little = link.add("interactive", wants=1e5, piece=4096)
    high, normal = link.add("high", side=2), link.add("normal", side=2)
    link.run(20)
    assert little.got == pytest.approx(2e6, rel=0.05)
    assert high.got / normal.got == pytest.approx(1.5, rel=0.15)
    assert little.got + high.got + normal.got == pytest.approx(2e7, rel=0.05)


def test_transfers_are_equal_whatever_they_ask_at_a_time():
    link = Link(1e7)
    senders = [link.add(side=1 + n % 5, piece=4096 * (1 + n % 3)) for n in range(40)]
    link.run(10)
    assert jain([sender.got for sender in senders]) > 0.99


def water_level(rate, demands):
    """The max-min fair part of each: the least demand is served first."""
    parts, left = {}, rate
    for rank, (name, demand) in enumerate(sorted(demands.items(), key=lambda item: item[1])):
        parts[name] = min(demand, left / (len(demands) - rank))
        left -= parts[name]
    return parts


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0.01, 1.5)), min_size=2, max_size=8))
def test_it_is_max_min_fair_among_transfers_with_limits(limits):
    rate = 1e6
    link = Link(rate)
    demands = {n: float("inf") if limit is None else limit * rate for n, limit in enumerate(limits)}
    for n, limit in enumerate(limits):
        link.add(limit=None if limit is None else limit * rate, piece=2048, side=2, name=str(n))
    link.run(20)
    for n, part in water_level(rate, demands).items():
        assert link.senders[n].got / 20 == pytest.approx(part, rel=0.12), (n, demands)


def test_peers_of_a_transfer_are_equal_and_a_limit_for_each_holds():
    link = Link(1e6)
    transfer = link.tree.add("t", "normal", 0.0)
    peers = [link.join(transfer, peer=f"10.0.0.{n}", side=1 + n) for n in range(5)]
    link.run(10)
    assert jain([peer.got for peer in peers]) > 0.99
    link.tree.change_peers(5e4, link.now)
    before = [peer.got for peer in peers]
    link.run(10)
    for peer, got in zip(peers, before, strict=True):
        assert peer.got - got == pytest.approx(5e5, rel=0.07)


def test_nobody_starves_beside_a_thousand():
    link = Link(1e7)
    crowd = [link.add("interactive", piece=16_384) for _ in range(300)]
    one = link.add("bulk", piece=16_384)
    link.run(5)
    assert one.got / 5 >= 0.15 * 1e7  # 10 against 40
    assert min(sender.got for sender in crowd) > 0


def test_large_requests_are_met_one_after_the_other_and_not_all_at_the_end():
    link = Link(1e6)
    large = [link.add(piece=1_000_000) for _ in range(10)]
    link.run(5)
    assert sorted(sender.got for sender in large)[-4:] == [1_000_000] * 4
    urgent = link.add("high", piece=20_000)
    link.run(1)
    assert urgent.got >= 400_000  # another class does not wait for the rest of a large one
    link.run(18)
    assert {sender.got for sender in large} <= {1_000_000, 2_000_000}


def test_a_large_request_that_is_given_up_half_way_costs_no_turn():
    link = Link(1e6)
    first, second = (link.tree.add(name, "normal", 0.0) for name in ("first", "second"))
    requests = [Request(link.tree.leaf(one, "", 0.0), 1_000_000) for one in (first, second)]
    for request in requests:
        link.tree.ask(request, 0.0)
    link.tree.serve(0.5)
    assert 0 < requests[0].left < requests[1].left == 1_000_000
    link.tree.cancel(requests[0], 0.5)
    again = Request(link.tree.leaf(first, "", 0.5), 1_000_000)
    link.tree.ask(again, 0.5)
    assert first.virtual == second.virtual == 0.0
    done = [request for step in range(50) for request in link.tree.serve(0.5 + step / 20)]
    assert done == [requests[1], again] or done == [again, requests[1]]


def test_who_was_away_does_not_save_up():
    link = Link(1e6)
    one, other = link.add(side=2), link.add(wants=0)
    link.run(10)
    other.wants, before, own = float("inf"), one.got, other.got
    link.run(2)
    assert one.got - before >= 0.35 * 2e6  # its half, less what the other may be behind: a full bucket
    assert other.got - own >= 0.45 * 2e6


def test_a_change_while_it_runs_takes_effect_at_once():
    link = Link(1e6)
    sender = link.add(side=2, piece=20_000)
    link.run(5)
    before = sender.got
    link.tree.change(link.tree.node, 4e6, link.now)
    link.run(5)
    assert sender.got - before == pytest.approx(2e7, rel=0.07)
    before = sender.got
    link.tree.change(link.tree.node, 2e5, link.now)
    link.run(5)
    assert sender.got - before <= 1e6 * 1.05 + 0.25 * 4e6
    link.tree.change(sender.transfer, 1e5, link.now)
    before = sender.got
    link.run(10)
    assert sender.got - before == pytest.approx(1e6, rel=0.1)


def test_another_class_is_another_share():
    link = Link(1e6)
    one, other = link.add("bulk", side=2, name="one"), link.add("interactive", side=2)
    link.run(10)
    assert other.got / one.got == pytest.approx(4, rel=0.15)
    link.tree.move(one.transfer, "interactive", link.now)
    before = (one.got, other.got)
    link.run(10)
    assert (one.got - before[0]) / (other.got - before[1]) == pytest.approx(1, rel=0.15)
    assert link.tree.classes["bulk"].waiting == 0


def test_a_request_given_up_takes_nothing():
    link = Link(1e6)
    transfer = link.tree.add("t", "normal", 0.0)
    leaf = link.tree.leaf(transfer, "peer", 0.0)
    request = Request(leaf, 10_000_000)
    assert link.tree.ask(request, 0.0) == []
    assert request.left < request.size
    link.tree.cancel(request, 0.0)
    assert link.tree.node.waiting == transfer.waiting == leaf.waiting == 0
    assert link.tree.node.meter.total == 0
    assert link.tree.node.bucket.left(0.0) == link.tree.node.bucket.depth
    assert link.tree.opens(0.0) == float("inf")


def test_in_passing_there_is_something_or_nothing_and_nothing_while_others_wait():
    link = Link(1e6)
    transfer = link.tree.add("t", "normal", 0.0)
    leaf, other = link.tree.leaf(transfer, "a", 0.0), link.tree.leaf(transfer, "b", 0.0)
    taken = 0
    while got := link.tree.take(leaf, 1 << 20, 0.0):
        assert got >= leaf.quantum()
        taken += got
    assert 150_000 < taken <= 212_500
    assert link.tree.take(leaf, 1 << 20, 0.001) == 0  # no crumbs
    assert link.tree.take(leaf, 10, 0.02) == 10
    link.tree.ask(Request(other, 1 << 20), 0.02)
    assert link.tree.take(leaf, 1 << 20, 0.1) == 0
    assert link.tree.take(leaf, 10, 0.1) == 0


def test_a_peer_that_waits_for_its_own_limit_does_not_hold_up_another():
    link = Link(None)
    transfer = link.tree.add("t", "normal", 0.0)
    slow, quick = link.tree.leaf(transfer, "slow", 0.0), link.tree.leaf(transfer, "quick", 0.0)
    link.tree.change(slow, 1e4, 0.0)
    request = Request(slow, 1 << 20)
    assert link.tree.ask(request, 0.0) == []
    assert link.tree.take(quick, 1 << 20, 0.0) == 1 << 20
    assert link.tree.ask(Request(quick, 1 << 20), 0.0)


def test_a_transfer_that_ends_lets_those_go_who_wait():
    link = Link(1e4)
    transfer = link.tree.add("t", "normal", 0.0)
    request = Request(link.tree.leaf(transfer, "a", 0.0), 1 << 20)
    link.tree.ask(request, 0.0)
    assert link.tree.remove(transfer, 0.0) == [request]
    assert link.tree.remove(transfer, 0.0) == []
    assert request.left == 0
    assert link.tree.node.waiting == 0
    late = link.tree.leaf(transfer, "a", 0.0)
    late.charge(1000, 0.0)  # counted for the node, remembered nowhere
    assert link.tree.node.meter.total >= 1000
    assert transfer.children == {}


@pytest.mark.parametrize("rate", [1e5, 1e6, 1e7])
def test_a_limit_of_one_peer_is_one_rate_in_whatever_transfer_it_is(rate):
    link = Link(10 * rate)
    link.tree.change_peers(4 * rate, 0.0, {"slow": rate})
    one, two = link.tree.add("t", "normal", 0.0), link.tree.add("u", "bulk", 0.0)
    piece = int(rate * 0.025)
    slow = [link.join(transfer, peer="slow", side=2, piece=piece) for transfer in (one, two)]
    other = link.join(one, peer="other", side=2, piece=piece)
    link.run(20)
    assert sum(peer.got for peer in slow) == pytest.approx(rate * 20, rel=0.05)
    assert min(peer.got for peer in slow) == pytest.approx(rate * 10, rel=0.2)
    assert other.got == pytest.approx(4 * rate * 20, rel=0.05)
    before = sum(peer.got for peer in slow)
    link.tree.change_peers(None, link.now, {"slow": 3 * rate})  # while it runs
    link.run(20)
    assert sum(peer.got for peer in slow) - before == pytest.approx(3 * rate * 20, rel=0.05)
    link.tree.change_peers(None, link.now)
    assert all(leaf.peer is None for transfer in (one, two) for leaf in transfer.leaves())
    assert link.tree.leaf(one, "slow", link.now).limit is None


def test_a_transfer_that_its_own_limit_holds_lets_others_have_the_peer():
    link = Link()
    link.tree.change_peers(None, 0.0, {"slow": 1e6})
    one, two = link.tree.add("t", "normal", 0.0), link.tree.add("u", "bulk", 0.0)
    link.tree.change(one, 1e5, 0.0)
    held, free = (link.join(transfer, peer="slow", side=2, piece=25_000) for transfer in (one, two))
    link.run(20)
    assert held.got == pytest.approx(1e5 * 20, rel=0.05)
    assert held.got + free.got == pytest.approx(1e6 * 20, rel=0.05)


def test_what_is_taken_in_passing_keeps_to_the_limit_of_the_peer():
    link = Link()
    link.tree.change_peers(None, 0.0, {"slow": 1e6})
    transfer = link.tree.add("t", "normal", 0.0)
    slow, other = link.tree.leaf(transfer, "slow", 0.0), link.tree.leaf(transfer, "other", 0.0)
    assert link.tree.take(other, 1 << 30, 0.0) == 1 << 30
    assert 0 < link.tree.take(slow, 1 << 30, 0.0) <= 2e5
    request = Request(slow, 1 << 20)
    assert link.tree.ask(request, 0.0) == []
    assert link.tree.take(slow, 1000, 100.0) == 0  # others wait for it
    link.tree.cancel(request, 100.0)
    assert link.tree.take(slow, 1000, 200.0) == 1000
    assert link.tree.opens(200.0) == float("inf")


def test_peers_are_bounded_and_forgotten():
    link = Link(1e6)
    link.tree.change_peers(1e5, 0.0)
    transfer = link.tree.add("t", "normal", 0.0)
    for n in range(3 * FLOW_PEERS_MAX):
        link.tree.leaf(transfer, f"peer{n}", 0.0)
    assert len(transfer.children) <= FLOW_PEERS_MAX
    for name in list(transfer.children):
        request = Request(link.tree.leaf(transfer, name, 0.0), 1 << 20)
        link.tree.ask(request, 0.0)
    shared = link.tree.leaf(transfer, "one more", 0.0)
    assert shared is link.tree.leaf(transfer, "and one more", 0.0)
    link.tree.remove(transfer, 0.0)
    fresh = link.tree.add("u", "normal", 0.0)
    link.tree.leaf(fresh, "early", 0.0)
    link.tree.leaf(fresh, "late", 100.0)
    assert list(fresh.children) == ["late"]


def test_the_time_waited_is_told_by_reason():
    link = Link(1e6)
    one = link.add("bulk", side=2, limit=1e5)
    link.run(5)
    one.transfer.tally(link.now)
    assert one.transfer.class_s == 0
    assert one.transfer.limited_s == pytest.approx(5, rel=0.05)
    link.tree.change(one.transfer, None, link.now)
    link.add("interactive", side=4)
    link.run(5)
    one.transfer.tally(link.now)
    assert one.transfer.class_s == pytest.approx(5, rel=0.05)
    assert one.transfer.is_crowded(link.now)
