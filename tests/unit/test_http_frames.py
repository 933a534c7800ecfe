"""Frames: what is planned is parsed back, and anything else is a PeerProtocolError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.abc.transport import Want
from wherry.buffers import ROOM
from wherry.cid import CID, RAW
from wherry.errors import CIDError, PeerProtocolError
from wherry.limits import BATCH_WANTS_MAX, BUFFER_BYTES, LEAF_BYTES_MAX
from wherry.testing.blocks import MemoryHeld
from wherry.wire.frames import HEADER_BYTES, LATER, MISSING, RUN, Answer, plan, withdrawn
from wherry_http.bulk import parse
from wherry_http.frames import decode_wants, encode_wants

CIDS = [CID.of(RAW, bytes([number])) for number in range(8)]


def header(kind, count, first, length, coding=0):
    return struct.pack(">BBHIQ", kind, coding, count, first, length)


def read(data, wants):
    answer = Answer(wants, "peer")
    parse(answer, memoryview(data), "peer")
    return answer


def written(frames):
    """The answer's bytes, as the server would send them."""
    out = bytearray()
    for frame in frames:
        out += frame.head
        for block in frame.blocks:
            data = bytearray(block.size)
            block.read_into(memoryview(data))
            out += data
    return bytes(out)


class Sized(MemoryHeld):
    """A block that has a size and costs no memory."""

    def __init__(self, size, path="", offset=0):
        super().__init__(b"", path, offset)
        self.size = size


@st.composite
def batches(draw):
    """What a source found for a batch: absent ones, blocks in one file, and blocks alone."""
    found, offset = [], 0
    for _ in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(("absent", "next", "alone")))
        if kind == "absent":
            found.append(None)
            continue
        data = draw(st.binary(max_size=40))
        found.append(MemoryHeld(data, "f" if kind == "next" else "", offset))
        offset += len(data)
    return found


@given(batches(), st.integers(0, 400))
def test_what_is_planned_is_parsed_back(found, bytes_max):
    wants = [Want(CIDS[0]) for _ in found]
    data = written(plan(found, bytes_max))
    answer = read(data, wants)
    first = found[0]
    least = HEADER_BYTES + (4 + first.size if first else 0) + HEADER_BYTES
    assert len(data) <= max(bytes_max, least)
    laid = {block.want: bytes(data[block.start : block.stop]) for block in answer.blocks}
    answered = sorted([*laid, *answer.missing])
    assert answered == list(range(len(answered)))
    assert answered
    for number in answered:
        if found[number] is None:
            assert number in answer.missing
        else:
            expected = bytearray(found[number].size)
            found[number].read_into(memoryview(expected))
            assert laid[number] == expected


def test_a_full_batch_of_known_sizes_fits_into_one_buffer():
    for gaps in (False, True):
        size = BUFFER_BYTES // (BATCH_WANTS_MAX // 2)
        found = [Sized(size) if number % 2 else (None if gaps else Sized(0)) for number in range(BATCH_WANTS_MAX)]
        frames = plan(found, ROOM + BUFFER_BYTES)
        assert sum(len(frame.head) + frame.size for frame in frames) <= ROOM + BUFFER_BYTES
        assert all(frame.head[0] != LATER for frame in frames)


def test_an_answer_never_exceeds_what_was_asked_for():
    """Neither by the frames that say what is missing nor by the one that says that there is more."""
    for room in range(1000, 1100):
        found = [Sized(900), None, Sized(10), None, Sized(10), None]
        assert sum(len(frame.head) + frame.size for frame in plan(found, room)) <= room


def test_neighbours_become_one_run():
    found = [MemoryHeld(b"aa", "f", 0), MemoryHeld(b"b", "f", 2), MemoryHeld(b"c", "f", 9), MemoryHeld(b"d", "g", 10)]
    assert [len(frame.blocks) for frame in plan(found, 1000)] == [2, 1, 1]


def test_a_withdrawn_run_keeps_its_length():
    frame = plan([MemoryHeld(b"aa", "f", 0), MemoryHeld(b"b", "f", 2)], 1000)[0]
    head = withdrawn(frame)
    data = head + bytes(len(frame.head) + frame.size - len(head))
    answer = read(data, [Want(CIDS[0], 2), Want(CIDS[1], 1)])
    assert answer.missing == [0, 1]
    assert answer.blocks == []


@pytest.mark.parametrize(
    "data",
    [
        b"\1",
        header(0, 1, 0, 0),
        header(4, 1, 0, 0),
        header(RUN, 1, 0, 4, coding=1) + struct.pack(">I", 0),
        header(MISSING, 0, 0, 0),
        header(MISSING, 3, 0, 0),
        header(MISSING, 1, 2, 0),
        header(MISSING, 1, 2**32 - 1, 0),
        header(MISSING, 1, 0, 0) * 2,
        header(MISSING, 1, 0, 5),
        header(MISSING, 1, 0, 2**63),
        header(LATER, 1, 0, 1) + b"x",
        header(RUN, 1, 0, 3) + b"xxx",
        header(RUN, 1, 0, 5) + struct.pack(">I", 2) + b"x",
        header(RUN, 1, 0, 6) + struct.pack(">I", 1) + b"xy",
        header(RUN, 2, 0, 10) + struct.pack(">II", 1, 2**32 - 1) + b"xy",
        header(RUN, 1, 0, 7) + struct.pack(">I", 3) + b"xyz",
        header(RUN, 1, 0, 2**40) + struct.pack(">I", 3) + b"xyz",
        header(RUN, 1, 1, 5 + LEAF_BYTES_MAX) + struct.pack(">I", LEAF_BYTES_MAX + 1) + b"xyz",
    ],
)
def test_a_wrong_answer_is_refused(data):
    with pytest.raises(PeerProtocolError) as caught:
        read(data, [Want(CIDS[0], 2), Want(CIDS[1])])
    assert caught.value.peer == "peer"


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data):
    wants = [Want(CIDS[0], 2), Want(CIDS[1]), Want(CIDS[2], 0)]
    try:
        answer = read(data, wants)
    except PeerProtocolError:
        return
    seen = [block.want for block in answer.blocks] + answer.missing
    assert len(set(seen)) == len(seen)
    for want, start, stop in answer.blocks:
        assert 0 <= start <= stop <= len(data)
        assert wants[want].size in (None, stop - start)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4), st.integers(0, 4), st.integers(0, 30)), max_size=4
    ),
    st.binary(max_size=60),
)
def test_frames_that_are_nearly_right_are_parsed_or_refused(frames, tail):
    data = b"".join(header(kind, count, first, length, coding) + tail[:length] for kind, coding, count, first, length in frames)
    try:
        read(data, [Want(CIDS[0]), Want(CIDS[1]), Want(CIDS[2]), Want(CIDS[3])])
    except PeerProtocolError as problem:
        assert problem.peer == "peer"


def test_wants_are_read_back():
    assert decode_wants(encode_wants([Want(cid) for cid in CIDS])) == CIDS


@pytest.mark.parametrize("body", [b"", b"x", CIDS[0][:-1], CIDS[0] + b"x", b"\0" * 36, CIDS[0] * (BATCH_WANTS_MAX + 1)])
def test_wrong_wants_are_refused(body):
    with pytest.raises(CIDError):
        decode_wants(body)
