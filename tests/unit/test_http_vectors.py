"""The vectors of specs/0008: request and answer bodies, byte for byte, and those that must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.abc.transport import Held, Want
from wherry.cid import CID
from wherry.errors import CIDError, PeerProtocolError
from wherry.wire.frames import HEADER_BYTES, Answer, plan, withdrawn
from wherry_http.bulk import parse
from wherry_http.frames import decode_wants, encode_wants

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/http-frames.json").read_text())
VALID, INVALID = VECTORS["answers"]["valid"], VECTORS["answers"]["invalid"]
WRITTEN = [case for case in VALID if "held" in case]


def wants_of(case):
    return [Want(CID.parse(want["cid"]), want["size"]) for want in case["wants"]]


class Bytes(Held):
    """A block in memory, which may claim to lie behind the one before it."""

    def __init__(self, data, *, follows):
        self.data, self.size = data, len(data)
        self._follows = follows

    def read_into(self, view):
        view[:] = self.data

    def follows(self, other):
        return self._follows


def held_of(case):
    return [found and Bytes(bytes.fromhex(found["hex"]), follows=found["follows"]) for found in case["held"]]


def read(case):
    view = memoryview(bytes.fromhex(case["answer"]))
    answer = Answer(wants_of(case), "peer")
    parse(answer, view, "peer")
    return answer, view


@pytest.mark.parametrize("case", VECTORS["requests"]["valid"], ids=lambda case: f"{len(case['cids'])}")
def test_requests_are_read_and_written(case):
    cids = [CID.parse(text) for text in case["cids"]]
    assert decode_wants(bytes.fromhex(case["body"])) == cids
    assert encode_wants([Want(cid) for cid in cids]).hex() == case["body"]


@pytest.mark.parametrize("case", VECTORS["requests"]["invalid"], ids=lambda case: case["name"])
def test_requests_that_are_none_are_refused(case):
    with pytest.raises(CIDError):
        decode_wants(bytes.fromhex(case["body"]))


@pytest.mark.parametrize("case", VALID, ids=lambda case: case["name"])
def test_answers_are_read(case):
    answer, view = read(case)
    found = [{"want": laid.want, "hex": bytes(view[laid.start : laid.stop]).hex()} for laid in answer.blocks]
    assert found == case["blocks"]
    assert answer.missing == case["missing"]
    named = {laid.want for laid in answer.blocks} | set(answer.missing)
    assert sorted(set(range(len(case["wants"]))) - named) == case["later"]


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case["name"])
def test_answers_that_break_the_rules_are_refused(case):
    with pytest.raises(PeerProtocolError, match="peer sent"):
        read(case)


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case["name"])
def test_answers_are_written(case):
    made = b""
    for frame in plan(held_of(case), 1 << 20):
        made += frame.head + b"".join([block.data for block in frame.blocks])
    assert made.hex() == case["answer"]


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case["name"])
def test_a_run_that_is_withdrawn_keeps_the_length_and_gives_nothing(case):
    body = b""
    for frame in plan(held_of(case), 1 << 20):
        if frame.blocks:
            head = withdrawn(frame)
            body += head + bytes(len(frame.head) + frame.size - HEADER_BYTES)
        else:
            body += frame.head
    assert len(body) == len(case["answer"]) // 2
    answer, _ = read({**case, "answer": body.hex()})
    assert answer.blocks == []
    assert answer.missing == list(range(len(case["wants"])))


def test_an_answer_that_is_cut_anywhere_is_refused_or_gives_whole_frames_only():
    case = next(case for case in VALID if case["name"].startswith("three leaves that lie apart"))
    whole = bytes.fromhex(case["answer"])
    ends = {0}
    for frame in plan(held_of(case), 1 << 20):
        ends.add(max(ends) + len(frame.head) + frame.size)
    for length in range(len(whole)):
        cut = {**case, "answer": whole[:length].hex()}
        if length in ends:
            assert len(read(cut)[0].blocks) == sorted(ends).index(length)
        else:
            with pytest.raises(PeerProtocolError):
                read(cut)
