"""Waiting for the bytes of one connection (specs/0004 §7)."""

from __future__ import annotations

import select
import socket

import pytest

from wherry_tcp.stream import LOW_BYTES, Stream


@pytest.fixture
def ends():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
    with far, near:
        yield Stream(near), far


def ready(stream: Stream, wait_ms: int) -> bool:
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    return bool(poll.poll(wait_ms))


def test_who_waits_for_a_long_piece_wakes_when_much_of_it_is_there(ends):
    stream, far = ends
    stream.expect(1 << 20)
    far.sendall(b"x" * 1000)
    assert not ready(stream, 50)
    far.sendall(b"x" * LOW_BYTES)
    assert ready(stream, 10_000)


def test_what_is_there_is_received_before_that(ends):
    stream, far = ends
    stream.expect(1000)
    far.sendall(b"x" * 10)
    assert not ready(stream, 50)
    view = memoryview(bytearray(1000))
    assert stream.recv_into(view) == 10
    stream.expect(990)
    far.sendall(b"x" * 990)
    assert ready(stream, 10_000)


def test_the_next_message_wakes_at_its_first_byte(ends):
    stream, far = ends
    stream.expect(1 << 20)
    stream.expect(1)
    far.sendall(b"x")
    assert ready(stream, 10_000)


def test_the_end_wakes_whoever_waits_for_more(ends):
    stream, far = ends
    stream.expect(1 << 20)
    far.close()
    assert ready(stream, 10_000)
    assert stream.recv_into(memoryview(bytearray(10))) == 0
