"""What a node remembers of its peers: over runs, over damage, over other processes, and over a man in the middle."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from wherry.abc.exchange import PeerInfo
from wherry.acquaintance import HALF_LIFE_S, News
from wherry.errors import HomeTooNew
from wherry.limits import PEERS_NETWORK_MAX
from wherry.store import peers
from wherry.store.database import Database
from wherry.store.peers import PeersDB, discard_if_damaged
from wherry.transfer import book as book_module
from wherry.transfer.book import Book, key_of_peer
from wherry.transfer.standing import KNOWN_JOBS, Standing

KEY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
PLAIN = "http://10.0.0.7:4290"
POOR = 0.25


class Clock:
    """The clock of the wall and the steady one."""

    def __init__(self):
        self.wall, self.steady = 1_800_000_000.0, 1000.0

    def wait(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the book of one home, again and again; closes what is open at the end."""
    books = []

    def open_book():
        books.append(Book(tmp_path, wall=lambda: clock.wall, steady=lambda: clock.steady))
        return books[-1]

    yield open_book
    for each in books:
        each.close()


def do(standing, clock, *jobs):
    for job in jobs:
        if job == "good":
            standing.answered(clock.steady, 1 << 20, 0.1, 0.05)
        elif job == "failed":
            standing.failed(clock.steady)
        else:
            standing.wrong(clock.steady, 2)


def again(opened, book):
    book.close()
    return opened()


def score(book, key, clock):
    return book.standing(key).score(clock.steady, 0.0)


def test_a_good_peer_is_better_than_a_newcomer_in_the_next_run(opened, clock):
    book = opened()
    standing = book.standing(KEY)
    do(standing, clock, *["good"] * 30)
    book.keep(KEY, standing, address="tcps://10.0.0.7:4291/path", ip="10.0.0.7")
    book.gave(KEY, 77)
    book = again(opened, book)
    [(peer, met)] = book.peers()
    assert (peer.proven, peer.address, peer.network) == (True, "tcps://10.0.0.7:4291", "10.0.0.0/24")
    assert (peer.useful, peer.down, peer.up) == (30, 30 << 20, 77)
    assert met.rate == standing.rate > 0
    assert met.known
    assert score(book, KEY, clock) > 0.6 > score(book, "http://new:1", clock) == 0.5


def test_what_is_proven_against_a_peer_outlives_the_run_and_fades_over_days(opened, clock):
    book = opened()
    standing = book.standing(KEY)
    do(standing, clock, "good", "wrong", "failed")
    book.keep(KEY, standing)
    book = again(opened, book)
    assert score(book, KEY, clock) == 0.0
    assert book.peers()[0][0].rejected == 2
    clock.wait(6 * HALF_LIFE_S)
    assert POOR < score(book, KEY, clock) < 0.5
    clock.wait(30 * HALF_LIFE_S)
    assert score(book, KEY, clock) == pytest.approx(0.5, abs=0.01)


def test_the_past_weighs_as_few_jobs_so_the_present_soon_says_more(opened, clock):
    book = opened()
    standing = book.standing(KEY)
    do(standing, clock, *["good"] * 100_000)
    book.keep(KEY, standing)
    met = again(opened, book).standing(KEY)
    assert met.past.useful == pytest.approx(20)
    do(met, clock, *["failed"] * 60)
    assert met.terms(clock.steady, 0.0).reliability < 0.3


def test_a_man_in_the_middle_cannot_frame_an_honest_peer_for_long(opened, clock):
    """T4: on a plain connection its answers are corrupted for a while; it is spared then, and used again ten minutes later."""
    book = opened()
    standing = book.standing(PLAIN)
    do(standing, clock, *["good"] * 50)
    for _ in range(300):
        do(standing, clock, "wrong", "failed")
        clock.wait(1)
        book.keep(PLAIN, standing, address=PLAIN, ip="10.0.0.7")
    assert standing.score(clock.steady, 0.0) < POOR
    assert score(book, PLAIN, clock) < POOR, "other transfers of the process spare it too"
    book.flush()
    with closing(sqlite3.connect(book._home / peers.NAME)) as db:
        assert db.execute("SELECT failed, wrong, rejected FROM peers").fetchall() == [(0.0, 0.0, 0)]
    clock.wait(600)
    assert standing.score(clock.steady, 0.0) > POOR, "in the transfer that saw it"
    assert score(book, PLAIN, clock) > 0.5, "and in a new one it is the good peer that it was"
    assert score(again(opened, book), PLAIN, clock) > 0.5


def test_nothing_against_a_plain_peer_is_on_the_disk_though_the_process_is_killed(opened, clock):
    book = opened()
    standing = book.standing(PLAIN)
    do(standing, clock, "wrong", "failed")
    book.keep(PLAIN, standing)
    book.flush()
    assert opened().peers() == []


def test_a_liar_cannot_act_in_the_name_of_the_address_that_it_claims():
    honest = PeerInfo("tcp", "", "tcp://10.0.0.7:1", "10.0.0.7", incoming=False)
    liar = PeerInfo("tcp", "", "tcp://10.0.0.7:1", "192.0.2.66", incoming=True)
    assert key_of_peer(honest) == "tcp://10.0.0.7:1"
    assert key_of_peer(liar) == "tcp://192.0.2.66"
    assert key_of_peer(liar._replace(id=KEY)) == KEY


def test_what_came_since_it_was_kept_last_is_counted_once(opened, clock):
    book = opened()
    standing = book.standing(KEY)
    for _ in range(5):
        do(standing, clock, "good")
        book.keep(KEY, standing)
        book.keep(KEY, standing)
        book.flush()
    assert book.peers()[0][0].useful == 5
    assert again(opened, book).peers()[0][0].useful == 5


def test_two_processes_add_to_one_file(opened, clock):
    one, two = opened(), opened()
    for book in (one, two):
        standing = book.standing(KEY)
        do(standing, clock, *["good"] * 3)
        book.keep(KEY, standing)
        book.flush()
    assert two.peers()[0][0].useful == 6
    assert opened().peers()[0][0].useful == 6


def test_a_killed_process_loses_what_was_not_flushed_and_nothing_else(opened, clock):
    book = opened()
    standing = book.standing(KEY)
    do(standing, clock, "good")
    book.keep(KEY, standing)
    book.flush()
    do(standing, clock, "good")
    book.keep(KEY, standing)
    assert opened().peers()[0][0].useful == 1


def test_nobody_is_remembered_under_no_name(opened, clock):
    book = opened()
    standing = book.standing("")
    do(standing, clock, "good")
    book.keep("", standing)
    book.keep(KEY, Standing())
    assert book.peers() == []


def test_whom_a_transfer_is_connected_to_is_listed_with_its_live_figures(opened, clock):
    book = opened()
    standing = book.standing(PLAIN)
    do(standing, clock, "good")
    [(peer, live)] = book.peers()
    assert (peer.key, peer.address) == (PLAIN, PLAIN)
    assert live is standing
    del live, standing
    assert book.peers() == []


def test_forgetting(opened, clock):
    book = opened()
    for key in (KEY, PLAIN, "http://h:1"):
        standing = book.standing(key)
        do(standing, clock, "good", "wrong")
        book.keep(key, standing)
    book.flush()
    assert book.forget([PLAIN, "http://nobody:1"]) == 1
    assert score(book, PLAIN, clock) == 0.5
    del standing
    assert {peer.key for peer, _ in again(opened, book).peers()} == {KEY, "http://h:1"}
    book = opened()
    assert book.forget() == 2
    assert again(opened, book).peers() == []


def test_one_network_cannot_make_a_node_forget_all_others(opened, clock):
    book = opened()
    good = book.standing(KEY)
    do(good, clock, *["good"] * KNOWN_JOBS)
    book.keep(KEY, good, ip="198.51.100.1")
    for n in range(3 * PEERS_NETWORK_MAX):
        key = f"12D3KooWsybil{n:039d}"
        sybil = book.standing(key)
        do(sybil, clock, "failed")
        book.keep(key, sybil, ip=f"192.0.2.{n % 250}")
        assert len(book._peers) <= PEERS_NETWORK_MAX + 1
        if n % 50 == 0:
            book.flush()
    book = again(opened, book)
    assert len(book.peers()) == PEERS_NETWORK_MAX + 1
    assert book.standing(KEY).known


def test_there_are_never_too_many(opened, clock, monkeypatch):
    for module in (book_module, peers):
        monkeypatch.setattr(module, "PEERS_MAX", 20)
    monkeypatch.setattr("wherry.acquaintance.surplus.__defaults__", (20, PEERS_NETWORK_MAX))
    book = opened()
    for n in range(60):
        standing = book.standing(f"http://h{n}:1")
        do(standing, clock, "good")
        clock.wait(1)
        book.keep(f"http://h{n}:1", standing)
        if n % 7 == 0:
            book.flush()
    assert len(book._peers) <= 20
    left = {peer.key for peer, _ in again(opened, book).peers()}
    assert len(left) <= 20
    assert "http://h59:1" in left
    assert "http://h0:1" not in left


@pytest.mark.parametrize("damage", [b"no database at all" * 500, b""])
def test_a_damaged_or_empty_file_is_begun_anew(opened, clock, tmp_path, damage):
    book = opened()
    standing = book.standing(KEY)
    do(standing, clock, "good")
    book.keep(KEY, standing)
    book.close()
    (tmp_path / peers.NAME).write_bytes(damage)
    book = opened()
    assert book.peers() == []
    del standing
    book.gave(KEY, 5)
    assert again(opened, book).peers()[0][0].up == 5


def test_the_file_of_a_newer_wherry_is_left_alone(opened, tmp_path):
    with closing(Database(tmp_path / peers.NAME, "CREATE TABLE x (y)", 9, synchronous="NORMAL", what="newer")):
        pass
    before = (tmp_path / peers.NAME).read_bytes()
    book = opened()
    book.gave(KEY, 5)
    book.flush()
    assert len(book.peers()) == 1
    assert not discard_if_damaged(tmp_path)
    assert (tmp_path / peers.NAME).read_bytes() == before
    with pytest.raises(HomeTooNew):
        PeersDB(tmp_path)


def test_rows_that_make_no_sense_are_passed_over_and_replaced(opened, clock, tmp_path):
    book = opened()
    book.gave(KEY, 5)
    book.gave(PLAIN, 6)
    book.close()
    with closing(sqlite3.connect(tmp_path / peers.NAME)) as db:
        db.execute("UPDATE peers SET useful=-1 WHERE key=?", (KEY,))
        db.commit()
    book = opened()
    assert [peer.key for peer, _ in book.peers()] == [PLAIN]
    book.gave(KEY, 7)
    assert {peer.key: peer.up for peer, _ in again(opened, book).peers()} == {KEY: 7, PLAIN: 6}


def test_a_disk_that_fails_is_tried_again_and_hurts_nobody(opened, clock, tmp_path):
    book = opened()
    book.gave(KEY, 5)
    with book._db._db.reading() as run:
        run.execute("PRAGMA query_only=ON")
    book.flush()
    book.gave(KEY, 6)
    book.flush()
    with book._db._db.reading() as run:
        run.execute("PRAGMA query_only=OFF")
    assert again(opened, book).peers()[0][0].up == 11


def test_a_home_that_cannot_be_written_is_no_reason_to_fail(tmp_path):
    book = Book(tmp_path / "none")
    book.gave(KEY, 5)
    book.flush()
    assert book.peers()[0][0].up == 5
    assert book.forget() == 1
    book.close()
    book.close()


def test_repair_removes_a_damaged_file_and_no_other(tmp_path):
    with closing(PeersDB(tmp_path)) as db:
        db.add({KEY: (db_peer(), News(up=3))}, 1_800_000_000.0)
        assert db.sound()
    assert not discard_if_damaged(tmp_path)
    assert (tmp_path / peers.NAME).exists()
    (tmp_path / peers.NAME).write_bytes(b"rubbish" * 2000)
    assert discard_if_damaged(tmp_path)
    assert not (tmp_path / peers.NAME).exists()


def db_peer():
    from wherry.acquaintance import Acquaintance

    return Acquaintance(KEY, True, "", "", 1.0, 1.0)
