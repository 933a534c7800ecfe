"""The hostile server misbehaves exactly as scripted, and well when told so."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

from wherry.testing import hostile
from wherry.testing.hostile import HostileServer, answer


def ask(server, *, path="/", body=None, timeout=1.0):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("POST" if body else "GET", path, body=body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def raw(server, *, most=1 << 22, timeout=1.0):
    """All that comes after one request, and how it ended."""
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            while len(got) < most:
                data = sock.recv(65536)
                if not data:
                    return got, "end"
                got += data
        except TimeoutError:
            return got, "silence"
        except ConnectionResetError:
            return got, "reset"
    return got, "more"


def test_a_script_takes_turns_and_its_last_line_repeats():
    with HostileServer(answer(b"one"), answer(lambda request: request.body, status=201)) as server:
        assert ask(server) == (200, b"one")
        assert ask(server, body=b"two") == (201, b"two")
        assert ask(server, body=[b"chu", b"nks"]) == (201, b"chunks")
        assert [request.method for request in server.requests] == ["GET", "POST", "POST"]
        assert server.connections == 3


def test_the_longest_path_wins_and_the_rest_follows_the_script():
    with HostileServer(by_path={"/a": answer(b"a"), "/a/b": answer(b"b")}) as server:
        assert [ask(server, path=path)[1] for path in ("/a/x", "/a/b/c")] == [b"a", b"b"]
        assert ask(server, path="/z")[0] == 404


def test_a_good_answer_keeps_the_connection():
    with HostileServer(answer(b"ok")) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=1)
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"ok"
        connection.close()
        assert server.connections == 1
        assert len(server.requests) == 3


def test_silence():
    with HostileServer(hostile.silent()) as server:
        assert raw(server, timeout=0.2) == (b"", "silence")


def test_drip_is_slow_and_right():
    with HostileServer(hostile.drip(b"abcd", every_s=0.05)) as server:
        started = time.monotonic()
        assert ask(server) == (200, b"abcd")
        assert time.monotonic() - started >= 0.14


def test_drip_head_never_comes_to_the_body():
    with HostileServer(hostile.drip_head(every_s=0.01)) as server:
        got, how = raw(server, most=20)
        assert how == "more"
        assert b"\r\n\r\n" not in got


@pytest.mark.parametrize(("claim", "how"), [(2, "short"), (50, "long")])
def test_wrong_length(claim, how):
    with HostileServer(hostile.wrong_length(b"0123456789", claim=claim)) as server:
        got, end = raw(server)
        assert f"Content-Length: {claim}\r\n".encode() in got
        assert got.endswith(b"0123456789")
        assert end == "end"


@pytest.mark.parametrize("reset", [False, True])
def test_cut(reset):
    with HostileServer(hostile.cut(b"0123456789", after=4, reset=reset)) as server:
        got, how = raw(server)
        assert how == ("reset" if reset else "end")
        if not reset:
            assert got.endswith(b"\r\n\r\n0123")


def test_stall_sends_some_and_waits():
    with HostileServer(hostile.stall(b"0123456789", after=4)) as server:
        got, how = raw(server, timeout=0.2)
        assert got.endswith(b"\r\n\r\n0123")
        assert how == "silence"


def test_redirect():
    with HostileServer(hostile.redirect("http://elsewhere.example/")) as server:
        got, _ = raw(server, timeout=0.2)
        assert got.startswith(b"HTTP/1.1 302 ")
        assert b"\r\nLocation: http://elsewhere.example/\r\n" in got


@pytest.mark.parametrize("behaviour", [hostile.endless(), hostile.endless(chunked=False), hostile.endless_headers()])
def test_without_end(behaviour):
    with HostileServer(behaviour) as server:
        got, how = raw(server, most=5_000_000)
        assert how == "more"
        assert len(got) >= 5_000_000
    assert server.bytes_sent >= 5_000_000


def test_garbage_oversize_and_hanging_up():
    script = hostile.garbage(), hostile.oversize_headers(100_000), hostile.hang_up(), hostile.hang_up(reset=True)
    with HostileServer(*script) as server:
        with pytest.raises(http.client.BadStatusLine):
            ask(server)
        with pytest.raises(http.client.LineTooLong):
            ask(server)
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server)
        with pytest.raises(ConnectionResetError):
            ask(server)


def test_leaving_ends_what_is_under_way_at_once():
    with HostileServer(hostile.silent()) as server, socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while not server.requests:
            time.sleep(0.01)
        started = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - started < 1
        assert sock.recv(10) == b""
