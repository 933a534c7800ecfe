"""Which web seed is left out as it holds up the others, and when it is asked again (specs/0036 §11)."""

from __future__ import annotations

from wherry_torrent.laggards import Laggards, Row

MB = 1 << 20
PEER, OTHER = ("192.0.2.1", 1), ("192.0.2.2", 2)
SLOW, FAST = ("http://192.0.2.7/ipfs/", "http://192.0.2.7/"), ("http://192.0.2.8/",)
WAIT_S = 60.0


def seed(rate, held, urls=SLOW):
    return Row(("192.0.2.7", 80), urls, rate, held, True)


def peer(rate, *, at=PEER, whole=True):
    return Row(at, (), rate, MB, whole)


class Run:
    """One look a second; something comes before each, unless it is still."""

    def __init__(self, wait_s=WAIT_S):
        self.now, self.got = 0.0, 0
        self.laggards = Laggards(wait_s, self.now)

    def look(self, *rows, left=20 * MB, still=False):
        self.now += 1.0
        self.got += not still
        assert self.laggards.due(self.now)
        return self.laggards.look(self.now, rows, left, self.got)


NOTHING = ((), [])
LEFT_OUT = (SLOW, [])
BACK = ((), list(SLOW))
USUAL = (seed(32768, 4 * MB), seed(30000, 4 * MB), peer(8 * MB))


def left_out(run):
    """Has the slow one left out."""
    assert [run.look(*USUAL) for _ in range(3)] == [NOTHING, NOTHING, LEFT_OUT]
    return run


def test_one_is_left_out_that_holds_what_a_peer_would_bring_long_before():
    run = left_out(Run())
    assert not run.laggards.due(run.now + 0.9)
    assert run.look(*USUAL) == NOTHING  # once, though it is still seen on its way out
    assert run.look(peer(8 * MB)) == NOTHING


def test_nobody_is_left_out_whose_part_is_a_help():
    for rows, left in (
        ([seed(32768, 4 * MB)], 20 * MB),  # nobody else is there
        ([seed(32768, 4 * MB), peer(8 * MB, whole=False)], 20 * MB),  # nobody else who has everything
        ([seed(32768, 4 * MB), peer(8 * MB)], 2000 * MB),  # there is much else to do until then
        ([seed(2 * MB, 4 * MB), peer(200 * MB)], 20 * MB),  # it is here in a moment
        ([seed(32768, 0), peer(8 * MB)], 20 * MB),  # it holds nothing
        ([seed(32768, 4 * MB, ()), peer(8 * MB)], 20 * MB),  # nobody knows whose it is
        ([seed(32768, 4 * MB), seed(32768, 4 * MB, FAST)], 20 * MB),  # both are as slow
        ([seed(32768, 4 * MB), peer(0)], 20 * MB),
    ):
        run = Run()
        assert [run.look(*rows, left=left) for _ in range(10)] == [NOTHING] * 10, rows


def test_a_fast_web_seed_of_another_server_counts_as_a_peer_does():
    run = Run()
    assert [run.look(seed(32768, 4 * MB), seed(8 * MB, 4 * MB, FAST)) for _ in range(3)] == [NOTHING, NOTHING, LEFT_OUT]


def test_what_a_peer_gave_counts_though_it_idles_now_and_fades():
    run = Run()
    run.look(peer(8 * MB))
    for _ in range(2):
        assert run.look(seed(0, 4 * MB), peer(0)) == NOTHING
    assert run.look(seed(0, 4 * MB), peer(0)) == LEFT_OUT
    run = Run()
    run.look(peer(8 * MB))
    for _ in range(200):
        run.look(peer(0))
    assert [run.look(seed(0, 4 * MB), peer(0)) for _ in range(10)] == [NOTHING] * 10


def test_who_connects_anew_after_each_answer_is_as_fast_as_it_was():
    run = Run()
    for _ in range(10):
        assert run.look(seed(8 * MB, 4 * MB), peer(8 * MB)) == NOTHING
        assert run.look(seed(0, 4 * MB), peer(8 * MB)) == NOTHING


def test_it_is_asked_again_when_nobody_else_has_everything():
    run = left_out(Run())
    assert run.look(still=True) == NOTHING  # they are called anew first
    assert run.look(peer(8 * MB), peer(8 * MB, at=OTHER, whole=False)) == NOTHING
    assert run.look() == NOTHING  # all may be done, and seeds part
    assert run.look(peer(8 * MB)) == NOTHING
    assert [run.look(peer(8 * MB, whole=False), seed(0, 4 * MB)) for _ in range(2)] == [NOTHING, BACK]
    assert run.look(seed(0, 4 * MB)) == NOTHING


def test_it_is_asked_again_when_nobody_gives_anything_and_left_in_peace_for_a_while_then():
    run = left_out(Run())
    assert run.laggards.out == list(SLOW)
    assert [run.look(peer(8 * MB), still=True) for _ in range(5)] == [NOTHING] * 4 + [BACK]
    assert run.laggards.out == []
    for _ in range(29):
        assert run.look(*USUAL) == NOTHING
    assert run.look(*USUAL) == LEFT_OUT


def test_it_is_asked_again_before_all_is_given_up():
    run = left_out(Run(wait_s=2.0))
    assert run.look(peer(0), still=True) == BACK


def test_a_round_begins_with_all():
    run = left_out(Run())
    run.laggards.begin(run.now)
    assert run.laggards.out == []
    assert [run.look(*USUAL) for _ in range(3)] == [NOTHING, NOTHING, LEFT_OUT]
