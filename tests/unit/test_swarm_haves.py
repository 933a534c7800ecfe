"""What is told of who has what: small maps, and news in batches (specs/0025 §2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from links import have, spans

from wherry.abc.exchange import HaveMap
from wherry.limits import HAVE_SPANS_MAX
from wherry.stretches import Stretches
from wherry.swarm.haves import TELL_LATEST_S, TELL_S, News, coarsened, lacks
from wherry.units import KiB, MiB

PAIRS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=30)


def test_a_map_that_fits_is_left_as_it_is():
    few = spans(1, 3)
    assert coarsened(few) is few


@given(PAIRS, st.integers(2, 10))
def test_a_coarser_map_claims_nothing_more_and_fits(pairs, most):
    whole = Stretches(pairs)
    coarse = coarsened(whole, most)
    assert len(coarse) <= most
    assert all(whole.covers(start, end) for start, end in coarse)


def test_the_longest_stretches_are_kept():
    assert list(coarsened(Stretches([(0, 1), (10, 30), (40, 41), (50, 59)]), 3)) == [(10, 30)]


def test_who_said_nothing_lacks_all_that_is_here():
    assert lacks(None, have(1))
    assert lacks(None, have(complete=True))
    assert not lacks(None, have())


@given(PAIRS, PAIRS)
def test_who_lacks_something_is_found_as_by_looking_at_each_byte(theirs, ours):
    bytes_of = [{at for start, end in pairs for at in range(start, end)} for pairs in (theirs, ours)]
    assert lacks(HaveMap(Stretches(theirs)), HaveMap(Stretches(ours))) == bool(bytes_of[1] - bytes_of[0])
    assert not lacks(HaveMap(Stretches(theirs), complete=True), HaveMap(Stretches(ours)))
    assert lacks(HaveMap(Stretches(theirs)), have(complete=True))


def test_small_news_wait_for_more_of_their_kind():
    news = News(MiB, have())
    assert news.due(0.0, 8) == ()
    news.gained(0, KiB)
    assert news.due(0.0, 8) == [(0, KiB)]
    news.gained(KiB, 9 * KiB)
    assert news.due(TELL_S / 2, 8) == ()
    news.gained(9 * KiB, 10 * KiB)
    news.gained(15 * KiB, 16 * KiB)
    assert news.due(TELL_S, 8) == [(KiB, 10 * KiB), (15 * KiB, 16 * KiB)]
    assert news.due(10.0, 8) == ()


def test_what_is_much_beside_the_messages_is_told_at_once():
    news = News(64 * MiB, have())
    for unit in range(3):
        news.gained(unit * MiB, (unit + 1) * MiB)
        assert news.due(0.0, 64) == [(unit * MiB, (unit + 1) * MiB)]
    news.gained(3 * MiB, 4 * MiB)
    assert news.due(0.0, 65) == ()  # sixty-five messages for a megabyte
    assert news.due(TELL_S, 65) == [(3 * MiB, 4 * MiB)]


def test_a_little_of_a_large_dataset_waits_longer():
    news = News(10_000 * MiB, have())
    news.gained(0, MiB)
    assert news.due(0.0, 8)
    news.gained(MiB, 2 * MiB)
    assert news.due(TELL_LATEST_S / 2, 8) == ()
    assert news.due(TELL_LATEST_S, 8) == [(MiB, 2 * MiB)]


def test_many_small_pieces_of_news_do_not_wait():
    news = News(10_000 * MiB, have())
    news.gained(0, 1)
    news.due(0.0, 8)
    for number in range(300):
        news.gained(10 + 2 * number, 11 + 2 * number)
    assert len(news.due(TELL_S, 8)) == 300


def test_what_is_flushed_is_not_told_again():
    news = News(MiB, have())
    news.gained(0, MiB)
    news.flush()
    assert news.due(10.0, 8) == ()
    assert news.map.spans.total == MiB


def test_a_map_of_ones_own_stays_small():
    news = News(10 * HAVE_SPANS_MAX, HaveMap(Stretches((3 * at, 3 * at + 1) for at in range(HAVE_SPANS_MAX))))
    news.gained(3 * HAVE_SPANS_MAX, 3 * HAVE_SPANS_MAX + 2)
    assert len(news.spans) <= HAVE_SPANS_MAX
    assert news.spans.covers(3 * HAVE_SPANS_MAX, 3 * HAVE_SPANS_MAX + 2)


def test_what_a_download_began_with_is_no_map_of_somebody_else():
    mine = have(1)
    news = News(64 * MiB, mine)
    news.gained(0, MiB)
    assert mine.spans.total == MiB
