"""Which waiting request is answered next (specs/0025 §4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from links import cid

from wherry.cid import CID, DAG_CBOR
from wherry.limits import SWARM_REQUESTS_MAX
from wherry.swarm.options import SwarmOptions
from wherry.swarm.uploads import PATIENCE_S, REPEAT_S, Line, Uploads

OPTIONS = SwarmOptions()


def uploads(*asked, now=0.0):
    """Uploads of lines a, b, ... each with so many requests, all for different blocks."""
    made = Uploads(OPTIONS)
    lines = [Line(number) for number in range(len(asked))]
    for line, count in zip(lines, asked, strict=True):
        for request in range(count):
            assert made.asked(line, request, cid(100 * line.peer + request), now)
    return made, lines


def picks(made, now=0.0, *, spare=False):
    found = []
    while (picked := made.next(now, spare=spare)) is not None:
        found.append((picked[0].peer, picked[1]))
    return found


def test_only_a_few_are_answered_at_a_time():
    made, (a,) = uploads(10)
    assert picks(made) == [(0, number) for number in range(OPTIONS.slots)]
    made.answered(a, 0, 1000, 1.0)
    assert picks(made, 1.0) == [(0, OPTIONS.slots)]


def test_peers_are_served_by_turns():
    made, lines = uploads(5, 5, 5)
    order = [peer for peer, _ in picks(made)]
    assert order[:3] == [0, 1, 2]
    made.answered(lines[0], 0, 1000, 0.5)
    assert picks(made, 0.5)[0][0] == 1


def test_one_peer_cannot_take_all_slots_while_others_wait():
    made, _ = uploads(9, 1)
    taken = [peer for peer, _ in picks(made)]
    assert 1 in taken


def test_quick_answers_have_more_slots():
    made, (a,) = uploads(200)
    assert made.slots == OPTIONS.slots
    for _ in range(40):
        _, request = made.next(0.0, spare=False)
        made.answered(a, request, 1000, 0.001)
    assert made.slots == OPTIONS.slots_quick


def test_an_answer_that_takes_long_keeps_no_slot():
    made, _ = uploads(4, 4, 4, 4)
    first = picks(made)
    assert len(first) == OPTIONS.slots
    assert picks(made, PATIENCE_S / 2) == []
    assert len(picks(made, 2 * PATIENCE_S)) == OPTIONS.slots


def test_slow_answers_are_bounded_all_the_same():
    made, _ = uploads(*[9] * 40)
    count = sum(len(picks(made, turn * 2 * PATIENCE_S)) for turn in range(60))
    assert count == 4 * OPTIONS.slots


def test_what_is_cancelled_or_dropped_is_not_answered():
    made, (a, b) = uploads(3, 2)
    made.cancelled(a, 0)
    made.cancelled(a, 77)
    made.dropped(b)
    assert picks(made) == [(0, 1), (0, 2)]
    assert made.waiting == 0


def test_a_peer_that_is_gone_gives_its_slots_back():
    made, (a, b) = uploads(9, 9)
    picks(made)
    made.gone(a)
    made.gone(b)
    assert made.idle
    made.answered(a, 0, 5, 1.0)  # said too late
    c = Line(2)
    for request in range(OPTIONS.slots):
        made.asked(c, request, cid(request), 1.0)
    assert len(picks(made, 1.0)) == OPTIONS.slots


def test_who_asks_for_too_much_is_told():
    made, (a,) = uploads(SWARM_REQUESTS_MAX)
    assert not made.asked(a, 9999, cid(1), 0.0)


def test_a_walk_goes_before_leaves():
    made, (a,) = uploads(3)
    made.asked(a, 50, CID.of(DAG_CBOR, b"node"), 0.0)
    assert picks(made)[0] == (0, 50)


def test_what_was_sent_least_goes_first_and_the_rest_has_its_turn():
    made = Uploads(OPTIONS)
    a, b = Line(0), Line(1)
    made.asked(a, 0, cid(1), 0.0)
    made.next(0.0, spare=True)
    made.answered(a, 0, 5, 0.5)
    made.asked(b, 0, cid(1), 1.0)  # sent once
    made.asked(b, 1, cid(2), 1.0)
    assert picks(made, 1.0, spare=True) == [(1, 1), (1, 0)]
    made.answered(b, 0, 5, 1.5)
    made.answered(b, 1, 5, 1.5)
    made.asked(b, 2, cid(1), 2.0)
    made.asked(a, 3, cid(3), 3.0)
    assert made.next(3.0, spare=True) == (a, 3)
    made.asked(a, 4, cid(4), 2.1 + REPEAT_S)
    assert made.next(2.1 + REPEAT_S, spare=True)[0] is b


def test_a_seed_that_spares_prefers_what_was_never_sent_whoever_asks():
    made = Uploads(OPTIONS)
    a, b = Line(0), Line(1)
    made.asked(a, 0, cid(1), 0.0)
    made.next(0.0, spare=True)
    made.asked(a, 1, cid(1), 0.0)
    made.asked(b, 0, cid(2), 0.0)
    assert made.next(0.1, spare=True) == (b, 0)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["asked", "cancelled", "dropped", "gone", "answered", "next"]), st.integers(0, 2), st.integers(0, 9)
    ),
    max_size=80,
)


@given(ACTS)
def test_whatever_happens_the_slots_add_up(acts):
    made = Uploads(OPTIONS)
    lines = [Line(number, urgency=min(number, 1)) for number in range(3)]
    now = 0.0
    for act, number, request in acts:
        now += 0.1
        line = lines[number]
        if act == "asked" and request not in line.waiting and request not in line.serving:
            made.asked(line, request, cid(request), now)
        elif act == "answered":
            made.answered(line, request, 7, now)
        elif act == "next":
            made.next(now, spare=bool(request % 2))
        elif act == "cancelled":
            made.cancelled(line, request)
        elif act in ("dropped", "gone"):
            getattr(made, act)(line)
        assert made.waiting == sum(bool(one.waiting) for one in lines)
        assert made.serving == sum(len(one.serving) for one in lines)
        for urgency, one in made._classes.items():
            its = [line for line in lines if line.urgency == urgency]
            assert one.lines == sum(bool(line.waiting) for line in its)
            assert len(one.young) <= one.serving == sum(len(line.serving) for line in its)
    for line in lines:
        made.gone(line)
    assert made.idle
    assert not any(one.young or one.serving or one.lines for one in made._classes.values())
