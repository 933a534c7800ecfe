"""The wire without I/O: what is said is heard, what must not be said is an error, and nothing takes memory for a claim."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.abc.transport import Want as Wanted
from wherry.cid import CID, RAW
from wherry.errors import DecodeError, PeerProtocolError
from wherry.limits import ROOM_BYTES, WIRE_SPANS_MAX
from wherry.testing.blocks import MemoryHeld
from wherry.wire.connection import Asked, Connection, Misuse
from wherry.wire.encoding import decode, decode_head, encode
from wherry.wire.frames import plan
from wherry.wire.messages import (
    HEAD_BYTES,
    BlocksFlag,
    Bye,
    Cancel,
    Choke,
    Follow,
    Have,
    HaveFlag,
    Hello,
    Peers,
    Ping,
    Proof,
    Want,
)
from wherry.wire.states import REQUEST, Request, Stage
from wherry.wire.varint import decode_varints, encode_varints

ROOT = CID.of(RAW, b"root")
CIDS = [CID.of(RAW, bytes([number])) for number in range(20)]


class End:
    """One end of a connection in memory."""

    def __init__(self, *, dialled, requests_max=4):
        self.wire = Connection("peer", dialled=dialled, requests_max=requests_max)
        self._pieces = self.wire.incoming()
        self._piece = next(self._pieces)
        self._at = 0
        self.buffer = None

    def feed(self, data):
        data = memoryview(data)
        while data:
            count = min(len(data), len(self._piece) - self._at)
            self._piece[self._at : self._at + count] = data[:count]
            self._at += count
            data = data[count:]
            while self._at == len(self._piece):
                self._piece, self._at = next(self._pieces), 0
                if self._piece is None:
                    self.buffer = bytearray(ROOM_BYTES + (1 << 20))
                    self.wire.filling.reader.view = memoryview(self.buffer)
                    self._piece = next(self._pieces)


def opened(**options):
    one, two = End(dialled=True, **options), End(dialled=False, **options)
    for end, other, message in (
        (one, two, Hello(bytes(32))), (two, one, Hello(bytes(32))), (one, two, Proof()), (two, one, Proof()),
    ):  # fmt: skip
        other.feed(end.wire.send(message))
    one.wire.received.clear()
    two.wire.received.clear()
    assert one.wire.open
    assert two.wire.open
    return one, two


def framed(wire, number, blocks, *, final=True):
    frames = plan(blocks, 1 << 20)
    body = bytearray()
    for frame in frames:
        body += frame.head
        for block in frame.blocks:
            data = bytearray(block.size)
            block.read_into(memoryview(data))
            body += data
    return wire.blocks(number, len(body), BlocksFlag.FINAL if final else BlocksFlag(0)) + body


spans = st.lists(st.tuples(st.integers(1, 1 << 30), st.integers(1, 1 << 30)), max_size=40)


@given(spans, st.sampled_from([HaveFlag(0), HaveFlag.GAINED, HaveFlag.COMPLETE | HaveFlag.CHOOSY]))
def test_have_maps_survive(pairs, flags):
    at, found = 0, []
    for gap, length in pairs:
        found.append((at + gap, at + gap + length))
        at += gap + length
    data = encode(Have(ROOT, tuple(found), flags))
    assert decode(decode_head(data[:HEAD_BYTES]), data[HEAD_BYTES:]) == Have(ROOT, tuple(found), flags)


@given(st.lists(st.integers(0, (1 << 63) - 1), max_size=30))
def test_varints_survive(numbers):
    assert decode_varints(encode_varints(numbers), 30) == numbers


@given(st.binary(max_size=30))
def test_a_varint_has_one_form(data):
    with contextlib.suppress(DecodeError):
        assert encode_varints(decode_varints(data, 30)) == data


def test_too_many_spans_are_refused():
    found = tuple((2 * number, 2 * number + 1) for number in range(WIRE_SPANS_MAX + 1))
    data = encode(Have(ROOT, found))
    with pytest.raises(DecodeError, match="more than"):
        decode(decode_head(data[:HEAD_BYTES]), data[HEAD_BYTES:])


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(list(Stage)), st.integers(1, 15))
def test_arbitrary_bytes_are_messages_or_errors_of_the_peer(parts, stage, kind):
    end = End(dialled=False)
    end.wire.got = stage
    with contextlib.suppress(PeerProtocolError):
        for part in parts:
            end.feed(bytes([kind, 0, 0, 0]) + len(part).to_bytes(4, "big") + part)


@given(st.binary(max_size=400))
def test_arbitrary_answers_are_blocks_or_errors_of_the_peer(data):
    one, _ = opened()
    one.wire.ask([Wanted(cid, None) for cid in CIDS[:3]], 1 << 20)
    with contextlib.suppress(PeerProtocolError):
        one.feed(bytes([7, 1, 0, 0]) + (len(data) + 4).to_bytes(4, "big") + bytes(4) + data)


def test_a_claimed_length_takes_no_memory():
    one, _ = opened()
    one.wire.ask([Wanted(CIDS[0], None)], 1 << 20)
    tracemalloc.start()
    one.feed(bytes([7, 1, 0, 0]) + (4 << 20).to_bytes(4, "big") + bytes(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_blocks_are_put_where_they_lie():
    one, two = opened()
    data = [bytes([number]) * 1000 for number in range(6)]
    wants = [Wanted(CID.of(RAW, part), 1000) for part in data]
    asked, sent = one.wire.ask(wants, 1 << 20)
    two.feed(sent)
    want = two.wire.received.popleft()
    assert want == Want(0, 1 << 20, tuple(one.cid for one in wants), (1000,) * 6)
    held = [MemoryHeld(part, "file", 1000 * number) for number, part in enumerate(data)]
    one.feed(framed(two.wire, 0, [*held[:5], None]))
    assert list(one.wire.received) == [asked]
    assert asked.state is Request.DONE
    assert asked.reader.missing == [5]
    assert bytes(one.buffer[ROOM_BYTES : ROOM_BYTES + 5000]) == b"".join(data[:5])
    assert [(laid.want, laid.start - ROOM_BYTES) for laid in asked.reader.blocks] == [(n, 1000 * n) for n in range(5)]


def test_a_cancelled_request_is_skipped_and_ended_once():
    one, two = opened()
    asked, sent = one.wire.ask([Wanted(CIDS[0], 10)], 1 << 20)
    two.feed(sent)
    two.feed(one.wire.cancel(asked))
    assert two.wire.theirs == {0: Request.CANCELLED}
    one.feed(framed(two.wire, 0, [MemoryHeld(bytes(10))]))
    assert one.buffer is None
    assert one.wire.received == type(one.wire.received)([asked])
    assert one.wire.cancel(asked) == b""
    assert not two.wire.theirs
    two.feed(encode(Cancel(0)))  # it crossed the blocks


def test_a_refusal_says_so():
    one, two = opened()
    asked, sent = one.wire.ask([Wanted(CIDS[0], 10)], 1 << 20)
    two.feed(sent)
    one.feed(two.wire.blocks(0, 0, BlocksFlag.FINAL | BlocksFlag.REFUSED))
    assert asked.refused
    assert not asked.reader.blocks


@pytest.mark.parametrize(
    "message",
    [Proof(), Follow(ROOT), Choke(), Ping(1), Peers(()), Want(0, 1, (ROOT,), (None,)), Cancel(0), Have(ROOT)],
    ids=lambda message: type(message).__name__,
)
def test_nothing_comes_before_hello(message):
    with pytest.raises(PeerProtocolError, match="new"):
        End(dialled=False).feed(encode(message))


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("a second hello", encode(Hello(bytes(32)))),
        ("a second proof", encode(Proof())),
        ("a request out of turn", encode(Want(1, 1, (ROOT,), (None,)))),
        ("a cancel of nothing", encode(Cancel(0))),
        ("an answer to nothing", bytes([7, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])),
        ("words after the last ones", encode(Bye("")) + encode(Ping(1))),
    ],
)
def test_violations_are_errors_that_name_the_peer(why, data):
    _, two = opened()
    with pytest.raises(PeerProtocolError) as caught:
        two.feed(data)
    assert caught.value.peer == "peer"


def test_a_flood_of_requests_is_a_violation():
    _, two = opened(requests_max=3)
    wants = [encode(Want(number, 1, (ROOT,), (None,))) for number in range(4)]
    two.feed(b"".join(wants[:3]))
    with pytest.raises(PeerProtocolError, match="beyond 3"):
        two.feed(wants[3])


def test_a_cancel_comes_once():
    _, two = opened()
    two.feed(encode(Want(0, 1, (ROOT,), (None,))) + encode(Cancel(0)))
    with pytest.raises(PeerProtocolError, match="twice"):
        two.feed(encode(Cancel(0)))


def test_a_connection_that_joins_carries_blocks_alone():
    one, two = End(dialled=True), End(dialled=False)
    for end, other, message in (
        (one, two, Hello(bytes(32), join=bytes(16))), (two, one, Hello(bytes(32))), (one, two, Proof()), (two, one, Proof()),
    ):  # fmt: skip
        other.feed(end.wire.send(message))
    assert one.wire.sent is two.wire.sent is one.wire.got is two.wire.got is Stage.BULK
    with pytest.raises(PeerProtocolError, match="bulk"):
        two.feed(encode(Follow(ROOT)))
    with pytest.raises(Misuse):
        two.wire.send(Choke())


def test_misuse_is_no_fault_of_the_peer():
    one, two = End(dialled=True), End(dialled=False)
    for call in (
        lambda: two.wire.send(Hello(bytes(32))), lambda: one.wire.send(Ping(1)), lambda: two.wire.blocks(0, 0),
        lambda: one.wire.ask([Wanted(ROOT, None)], 1),
    ):  # fmt: skip
        with pytest.raises(Misuse):
            call()


def test_a_request_that_is_done_takes_nothing_more():
    assert (Request.DONE, "blocks") not in REQUEST
    one, two = opened()
    _, sent = one.wire.ask([Wanted(CIDS[0], 10)], 1 << 20)
    two.feed(sent)
    again = framed(two.wire, 0, [None])
    one.feed(again)
    assert isinstance(one.wire.received.popleft(), Asked)
    with pytest.raises(PeerProtocolError, match="not under way"):
        one.feed(again)
