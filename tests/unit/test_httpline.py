"""The connection for threads: it is kept, measured, cut from outside, and what fails on it names the peer."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from wherry.errors import PeerBusy, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.httpline import HEADERS_BYTES, Line, asked, blaming, busy_for, fill
from wherry.testing.hostile import HostileServer, answer, drip, hang_up, silent, stall

TIMES = SimpleNamespace(connect_timeout=1.0, idle_timeout=0.3)


@pytest.fixture
def line():
    made = []

    def make(server):
        made.append(Line("127.0.0.1", server.port, None, TIMES))
        return made[-1]

    yield make
    for one in made:
        one.close()


def get(line, bytes_max=1000):
    connection = line.open(bytes_max)
    connection.request("GET", "/")
    return connection.getresponse()


def whole(line, bytes_max=1000):
    with asked(line, lambda: get(line, bytes_max)) as response:
        data = response.read()
    line.used = True
    return data


def test_it_is_kept_and_says_where_it_leads(line):
    with HostileServer(answer(b"one")) as server:
        one = line(server)
        assert [whole(one), whole(one)] == [b"one"] * 2
        assert (server.connections, one.ip) == (1, "127.0.0.1")


def test_one_that_the_server_closed_while_idle_is_made_again(line):
    def last(exchange):
        answer(b"one")(exchange)
        return False

    with HostileServer(last) as server:
        one = line(server)
        assert [whole(one), whole(one)] == [b"one"] * 2
        assert server.connections == 2


def test_a_first_request_that_fails_is_not_made_again(line):
    with HostileServer(hang_up()) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            whole(line(server))
        assert len(server.requests) == 1


def test_more_than_was_asked_for_is_not_taken(line):
    with HostileServer(answer(bytes(HEADERS_BYTES + 100_000))) as server:
        with pytest.raises(OSError, match="more bytes"):
            whole(line(server), 1000)
        assert len(whole(line(server), 200_000)) == HEADERS_BYTES + 100_000


@pytest.mark.parametrize("behaviour", [silent(), drip(b"x" * 1000, every_s=0.02)])
def test_who_is_silent_or_too_slow_is_given_up(line, behaviour):
    with HostileServer(behaviour) as server, pytest.raises(TimeoutError):
        whole(line(server))


@pytest.fixture
def patient(monkeypatch):
    """Makes connections that bear silence for a minute, but for whose buffer others wait."""
    monkeypatch.setattr("wherry.httpline.STARVED_S", 0.2)
    made = []

    def make(server, awaited):
        made.append(Line("127.0.0.1", server.port, None, SimpleNamespace(connect_timeout=5.0, idle_timeout=60.0)))
        made[-1].awaited = awaited
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("behaviour", [stall(b"x" * 10_000, after=10), drip(b"x" * 10_000, every_s=0.02)])
def test_who_holds_a_buffer_in_vain_is_given_up_once_others_wait_for_it(patient, behaviour):
    asked = iter([False, False, True])
    with HostileServer(behaviour) as server, pytest.raises(TimeoutError):
        whole(patient(server, lambda: next(asked)), 10_000)
    assert not list(asked), "it was not asked until others waited"


@pytest.mark.timeout(30)
def test_an_answer_that_has_not_begun_is_waited_for_and_one_that_goes_on_is_taken(patient):
    def late(exchange):
        exchange.wait(0.5)
        return drip(b"x" * 20_000, every_s=0.05, size=2000)(exchange)

    with HostileServer(late) as server:
        assert len(whole(patient(server, lambda: True), 30_000)) == 20_000


def test_another_thread_can_cut_it(line):
    with HostileServer(silent()) as server:
        one = Line("127.0.0.1", server.port, None, SimpleNamespace(connect_timeout=5.0, idle_timeout=60.0))
        cutting = threading.Thread(target=lambda: (wait_for(lambda: server.requests), one.cut()))
        cutting.start()
        with pytest.raises((OSError, http.client.HTTPException)):
            whole(one)
        cutting.join()
        assert one.is_cut
        one.close()
        with pytest.raises(ConnectionAbortedError):
            one.open(0)
        one.close()


def wait_for(said):
    end = time.monotonic() + 20
    while not said() and time.monotonic() < end:
        time.sleep(0.005)


def test_what_ends_early_is_an_error(line):
    with HostileServer(answer(b"short")) as server:
        response = get(line(server))
        with response, pytest.raises(PeerProtocolError, match="them cut"):
            fill(response, memoryview(bytearray(6)), "them")


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (TimeoutError(), PeerTimeout), (ConnectionRefusedError(), PeerUnreachable), (ConnectionResetError(), PeerProtocolError),
        (http.client.BadStatusLine("x"), PeerProtocolError), (socket.gaierror(-2, "not known"), PeerUnreachable),
        (ssl.SSLCertVerificationError(1, "self-signed"), PeerUnreachable), (PeerBusy("busy", peer="them"), PeerBusy),
    ],
)  # fmt: skip
def test_what_fails_names_the_peer_and_closes_the_line(line, raised, error):
    if isinstance(raised, ssl.SSLCertVerificationError):
        raised.verify_message = "self-signed"  # as the ssl module sets it
    with HostileServer(answer(b"one")) as server:
        one = line(server)
        whole(one)
        with pytest.raises(PeerError) as caught, blaming(one, "them"):
            raise raised
        assert type(caught.value) is error
        assert caught.value.peer == "them"
        assert one._http is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("3600", 60.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:57 GMT", 20.0),
        ("Sun, 06 Nov 1994 09:49:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:57", 0.0),  # of no zone
        ("99999999999", 0.0),
        ("-7", 0.0),
        ("7.5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_how_long_a_busy_server_asks_to_be_left_alone(said, seconds):
    assert busy_for(said, datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)) == seconds
