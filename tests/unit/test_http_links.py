"""How fast a link is: the kernel's word, the client's turns, and the lower of the two."""

from __future__ import annotations

import socket
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import links as links_module
from wherry.links import Counters, Links, counters

MB = 1_000_000
PEER, OTHER, STRANGER = ("10.0.0.1", 1000), ("10.0.0.1", 2000), ("10.0.0.2", 1000)


def turns(links, peer, rate, count, *, size=4 * MB, start=0.0):
    """So many answers, each asked for when the one before has arrived; gives what the last request found."""
    now = start
    for _ in range(count):
        links.answering(peer, now, size)
        now += size / rate
        found = links.rate(peer, now, None)
    return found


def test_at_first_nothing_is_known():
    assert Links().rate(PEER, 0.0, None) is None
    assert Links().rate(PEER, 0.0, Counters(0, 0.0)) is None


def test_the_kernel_is_believed_once_it_has_seen_enough():
    links = Links()
    assert links.rate(PEER, 0.0, Counters(50_000, 0.004)) is None
    assert links.rate(PEER, 0.1, Counters(100_000, 0.1)) == pytest.approx(1 * MB)
    links = Links()
    assert links.rate(PEER, 0.0, Counters(8 * MB, 0.0)) == pytest.approx(8 * MB / 0.004)  # within a tick of its clock


def test_the_kernels_rates_are_a_running_mean_of_what_is_new():
    links = Links()
    links.rate(PEER, 0.0, Counters(2 * MB, 1.0))
    assert links.rate(PEER, 1.0, Counters(2 * MB, 1.0)) == pytest.approx(2 * MB)
    assert links.rate(PEER, 2.0, Counters(6 * MB, 2.0)) == pytest.approx(3 * MB)


def test_a_new_connection_has_the_rate_of_its_address():
    links = Links()
    links.rate(PEER, 0.0, Counters(2 * MB, 1.0))
    assert links.rate(OTHER, 0.0, Counters(0, 0.0)) == pytest.approx(2 * MB)
    assert links.rate(STRANGER, 0.0, Counters(0, 0.0)) is None


def test_a_port_that_is_used_again_is_another_connection():
    links = Links()
    links.rate(PEER, 0.0, Counters(100 * MB, 1.0))
    assert links.rate(PEER, 1.0, Counters(3 * MB, 1.0)) == pytest.approx(3 * MB)


def test_behind_a_proxy_the_turns_tell():
    links = Links()
    assert turns(links, PEER, 2 * MB, 1) is None
    assert turns(links, PEER, 2 * MB, 3) == pytest.approx(2 * MB)
    assert links.rate(PEER, 100.0, Counters(100 * MB, 0.1)) == pytest.approx(2 * MB)  # to the proxy it is fast


def test_a_client_that_rests_now_and_then_is_not_taken_for_a_slow_link():
    links = Links()
    turns(links, PEER, 100 * MB, 3)
    assert turns(links, PEER, 0.1 * MB, 3, start=50.0) == pytest.approx(100 * MB)
    assert turns(links, PEER, 0.1 * MB, 1, start=500.0) == pytest.approx(0.1 * MB)


def test_small_answers_tell_of_the_way_there_and_back_alone():
    links = Links()
    assert turns(links, PEER, 0.1 * MB, 10, size=50_000) is None


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(links_module, "_CONNECTIONS_MAX", 10)
    links = Links()
    for number in range(100):
        links.rate((f"10.0.0.{number}", number), 0.0, Counters(2 * MB, 1.0))
    assert len(links._connections) == len(links._addresses) == 10
    assert links.rate(("10.0.0.99", 1), 0.0, None) == pytest.approx(2 * MB)
    assert links.rate(("10.0.0.1", 1), 0.0, None) is None


@given(st.lists(st.tuples(st.sampled_from([PEER, OTHER]), st.floats(0, 10), st.integers(0, 10**9), st.floats(0, 100))))
def test_whatever_is_measured_a_rate_is_above_nothing(steps):
    links, now = Links(), 0.0
    for peer, wait, count, busy in steps:
        now += wait
        rate = links.rate(peer, now, Counters(count, busy))
        assert rate is None or rate > 0
        links.answering(peer, now, count)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_the_kernel_counts_what_was_acknowledged():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            before = counters(server)
            assert before.acked < 10
            thread = threading.Thread(target=server.sendall, args=(bytes(3 * MB),))
            thread.start()
            left = 3 * MB
            while left:
                left -= len(client.recv(1 << 20))
            thread.join()
            client.sendall(b"x")
            server.recv(1)
            after = counters(server)
            assert 2 * MB < after.acked - before.acked <= 3 * MB
            assert after.busy_s >= before.busy_s
        assert counters(server) is None


def test_where_there_are_no_counters_none_are_given(monkeypatch):
    monkeypatch.setattr(links_module.sys, "platform", "darwin")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert counters(listener) is None
    monkeypatch.undo()
    one, other = socket.socketpair()
    with one, other:
        assert counters(one) is None
