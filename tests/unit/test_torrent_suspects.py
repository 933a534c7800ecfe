"""Who of the banned is asked once more, and when; the lines between wherry and libtorrent's process (specs/0036 §11)."""

from __future__ import annotations

import os
import socket
import time

import pytest

from wherry_torrent.places import Lookup
from wherry_torrent.suspects import Lull, Suspects
from wherry_torrent.talk import Gone, Pipes

A, B, C, STRANGER = ("192.0.2.1", 1), ("192.0.2.2", 2), ("2001:db8::3", 3), ("192.0.2.9", 9)
SEED, NAMED = "http://192.0.2.7/ipfs/", "http://a.example/"
SERVER = ("192.0.2.7", 80)
LONG = 600.0  # until all is given up
NOW = (1.0, 1.0, LONG)  # nobody has been there for a second
LATER = (5.0, 5.0, LONG)
STILL = (0.0, 10.0, LONG)  # somebody is, and gives nothing


def asked(suspects):
    return [*suspects.peers, *suspects.webseeds]


def goes_on(suspects, idle_s, still_s, left_s):
    return suspects.due(idle_s, still_s, left_s) and suspects.next()


def test_all_are_asked_until_somebody_is_banned():
    suspects = Suspects([A, B, A], [SEED])
    assert asked(suspects) == [A, B, SEED]
    assert suspects.left_out == []
    assert not goes_on(suspects, 100.0, 100.0, LONG)


def test_each_of_the_banned_is_asked_alone_once_peers_first():
    suspects = Suspects([A, B], [SEED])
    for peer in (SERVER, B, A):
        assert suspects.ban_peer(peer)
        assert not suspects.ban_peer(peer)  # is said once
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects), suspects.left_out) == (A, [A], [B])
    assert suspects.ban_peer(A)  # once in each round
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects), suspects.left_out) == (B, [B], [A])
    suspects.ban_peer(B)
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects), set(suspects.left_out)) == (SEED, [SEED], {A, B})
    suspects.ban_webseed(SEED)
    assert not goes_on(suspects, *NOW)
    assert not goes_on(suspects, *STILL)


def test_who_is_not_banned_alone_stays_when_the_next_is_asked():
    suspects = Suspects([A, B], [])
    suspects.ban_peer(A)
    suspects.ban_peer(B)
    assert goes_on(suspects, *NOW)
    assert not goes_on(suspects, *NOW)  # who is slow to come is waited for
    assert goes_on(suspects, *STILL)
    assert (suspects.trial, asked(suspects)) == (B, [A, B])


def test_who_was_never_banned_waits_while_others_are_tried_and_comes_back():
    suspects = Suspects([A, B], [SEED])
    suspects.ban_peer(A)
    assert not goes_on(suspects, *NOW)  # the others may connect again
    assert goes_on(suspects, *LATER)
    assert (asked(suspects), suspects.left_out) == ([A], [B])
    suspects.ban_peer(A)
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects), suspects.left_out) == (None, [B, SEED], [A])
    assert not goes_on(suspects, *STILL)
    suspects.ban_peer(B)  # and has a turn of its own
    assert goes_on(suspects, *LATER)
    assert (suspects.trial, asked(suspects), set(suspects.left_out)) == (B, [B], {A})


def test_a_ban_counts_of_those_that_are_asked_alone():
    suspects = Suspects([A, B], [])
    suspects.ban_peer(A)
    assert goes_on(suspects, *LATER)
    suspects.ban_peer(B)  # it is not asked: what is told of it is late
    suspects.ban_peer(A)
    assert goes_on(suspects, *NOW)
    assert asked(suspects) == [B]


def test_what_is_told_late_belongs_to_the_round_before():
    suspects = Suspects([A, B], [])
    suspects.ban_peer(B)
    assert suspects.due(*LATER)
    suspects.ban_peer(A)
    assert suspects.next()
    assert (suspects.trial, asked(suspects)) == (A, [A])
    suspects.ban_peer(A)
    assert suspects.next()
    assert (suspects.trial, asked(suspects)) == (B, [B])
    suspects.ban_peer(B)
    assert not suspects.next()


def test_a_server_that_has_a_name_may_be_any_of_those():
    suspects = Suspects([A], [NAMED, SEED])
    suspects.ban_peer(STRANGER)
    suspects.ban_peer(A)
    trials = []
    while goes_on(suspects, *STILL):
        trials.append(suspects.trial)
    assert trials == [A, NAMED, STRANGER, None]
    assert asked(suspects) == [A, STRANGER, NAMED, SEED]


def test_a_web_seed_that_nobody_named_is_where_one_of_them_sent_us():
    suspects = Suspects([], [NAMED, SEED])
    suspects.ban_webseed("http://elsewhere.example/")
    assert goes_on(suspects, *NOW)
    assert asked(suspects) == [NAMED]


def test_the_rounds_are_bounded_whoever_is_banned():
    suspects = Suspects([A, B, C], [SEED, NAMED])
    crowd = [("198.51.100.1", port) for port in range(1, 200)]
    rounds = 0
    while True:
        for peer in (A, B, C, SERVER, *crowd):
            suspects.ban_peer(peer)
        for seed in (SEED, NAMED):
            suspects.ban_webseed(seed)
        if not goes_on(suspects, *NOW):
            break
        rounds += 1
        assert asked(suspects) == [suspects.trial]
    assert rounds == 5 + 20
    assert set(suspects.left_out) == {A, B, C, *crowd} - {suspects.trial}


@pytest.mark.parametrize("told", ["the peer", "the web seed"])
def test_the_addresses_of_one_server_have_one_turn(told):
    other = "http://192.0.2.7/"
    suspects = Suspects([A], [SEED, other, NAMED])
    suspects.ban_peer(A)
    suspects.ban_webseed(SEED)
    assert goes_on(suspects, *LATER)
    suspects.ban_peer(A)
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects)) == (SEED, [SEED, other])
    if told == "the peer":
        suspects.ban_peer(SERVER)
    else:
        suspects.ban_webseed(other)
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects)) == (None, [NAMED])


def test_a_server_with_a_name_is_known_by_all_of_its_addresses():
    other, elsewhere = "http://A.example:80/ipfs/", "http://b.example/"
    v4, v6 = ("192.0.2.9", 80), ("2001:db8::9", 80)
    suspects = Suspects([A], [NAMED, other, elsewhere])
    suspects.locate(("a.example", 80), {v4, v6})
    suspects.locate(("b.example", 80), set())  # was not found
    suspects.ban_peer(v6)
    assert goes_on(suspects, *LATER)
    assert (suspects.trial, asked(suspects)) == (NAMED, [NAMED, other])
    suspects.ban_peer(v4)
    assert goes_on(suspects, *NOW)
    assert (suspects.trial, asked(suspects)) == (None, [A, elsewhere])


def test_who_is_at_the_same_place_as_one_on_trial_is_not_guilty_with_it():
    mirror, place = "http://b.example/", ("192.0.2.9", 80)
    suspects = Suspects([], [NAMED, mirror])
    for name in ("a.example", "b.example"):
        suspects.locate((name, 80), {place})
    suspects.ban_peer(place)
    assert goes_on(suspects, *NOW)
    assert asked(suspects) == [NAMED]
    assert goes_on(suspects, *STILL)  # it gave nothing wrong
    assert (suspects.trial, asked(suspects)) == (mirror, [NAMED, mirror])
    suspects.ban_peer(place)
    assert suspects.again()
    assert asked(suspects) == [NAMED]


def test_nothing_is_hoped_for_of_connections_that_are_all_banned():
    suspects = Suspects([A], [SEED])
    suspects.ban_webseed(SEED)
    assert not suspects.due(0.0, 3.0, LONG)
    suspects.ban_peer(A)
    assert not suspects.due(0.0, 2.9, LONG)
    assert suspects.due(0.0, 3.0, LONG)


def test_what_time_is_left_is_shared_by_those_that_wait_for_their_turn():
    suspects = Suspects([A, B, C], [SEED])
    for peer in (A, B):
        suspects.ban_peer(peer)
    for left_s in (8.0, 6.0, 4.0):  # of four turns, of three, and of two: this round, A, B, and all that are left
        assert not suspects.due(0.0, 1.9, left_s)
        assert suspects.due(0.0, 2.0, left_s)
        suspects.next()
    assert asked(suspects) == [A, B, C, SEED]


def test_a_round_without_those_that_were_banned_in_it_is_no_trial():
    suspects = Suspects([A, B], [SEED])
    suspects.ban_webseed(SEED)
    assert suspects.again()
    assert (suspects.trial, asked(suspects), suspects.left_out) == (None, [A, B], [])
    assert goes_on(suspects, *STILL)
    assert suspects.trial == SEED  # has its turn when nothing comes of the others
    suspects.ban_webseed(SEED)
    assert not suspects.again()


def test_a_lull_is_counted_from_the_last_that_came():
    lull = Lull(20.0, 0.0)
    assert lull.look(1.0, 0, 0) == (0.0, 0.0, 20.0)  # the first look: what is there
    assert lull.look(2.0, 0, 0) == (1.0, 1.0, 20.0)
    assert lull.look(3.0, 1, 0) == (0.0, 2.0, 20.0)
    assert lull.look(4.0, 0, 0) == (1.0, 3.0, 20.0)
    lull.begin(5.0)
    assert lull.look(6.0, 0, 0) == (1.0, 1.0, 16.0)
    assert lull.look(7.0, 0, 7) == (0.0, 0.0, 20.0)
    lull.begin(8.0)
    lull.checked(9.0)
    assert lull.look(9.0, 0, 7) == (0.0, 0.0, 20.0)


def test_where_servers_with_names_are_is_looked_up_beside_all_else(monkeypatch):
    asked_for = []

    def found(host, port, **options):
        asked_for.append((host, port))
        if host == "a.example":
            return [(0, 0, 0, "", ("192.0.2.9", port)), (0, 0, 0, "", ("2001:DB8:0::9%eth0", port, 0, 0))]
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    lookup = Lookup([NAMED, "http://A.example/ipfs/", "https://b.example/", SEED, "http://[2001:db8::1]/"])
    end = time.monotonic() + 10.0
    while len(asked_for) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert list(lookup.news()) == [(("a.example", 80), {("192.0.2.9", 80), ("2001:db8::9", 80)})]
    assert list(lookup.news()) == []
    assert asked_for == [("a.example", 80), ("b.example", 443)]


def test_lines_are_heard_and_said_whole():
    (theirs, ours), (mine, yours) = os.pipe(), os.pipe()
    pipes = Pipes(theirs, yours)
    try:
        assert pipes.hear(0.0) is None
        os.write(ours, b'{"a": 1}\n{"b"')
        assert pipes.hear(1.0) == {"a": 1}
        assert pipes.hear(0.0) is None
        os.write(ours, b": 2}\n")
        assert pipes.hear(1.0) == {"b": 2}
        pipes.say(event="x")
        assert os.read(mine, 100) == b'{"event": "x"}\n'
        os.close(ours)
        os.close(mine)
        with pytest.raises(Gone):
            pipes.hear(1.0)
        with pytest.raises(Gone):
            pipes.say(event="x")
    finally:
        os.close(theirs)
        os.close(yours)
