"""The vectors of specs/0015: coded blocks that every reader takes, those that it refuses, and answers that hold them."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest

from wherry.abc.transport import Held, Want
from wherry.buffers import ROOM
from wherry.cid import CID
from wherry.coder import _Row
from wherry.coding import Codings, Form
from wherry.errors import DecodeError, PeerProtocolError
from wherry.wire.frames import missing
from wherry_compress.lz4 import Lz4Compressor
from wherry_compress.options import Lz4Options, ZstdOptions
from wherry_compress.zstd import ZstdCompressor
from wherry_http.coded import CodedReader
from wherry_http.frames import offer, offered

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/codings.json").read_text())
VALID = [(name, case) for name, group in VECTORS["codings"].items() for case in group["valid"]]
INVALID = [(name, case) for name, group in VECTORS["codings"].items() for case in group["invalid"]]
ANSWERS = VECTORS["answers"]


def bytes_of(pieces):
    return b"".join(bytes.fromhex(piece) * times for piece, times in pieces)


def codings(zstd=None):
    made = {"zstd": ZstdCompressor(zstd or ZstdOptions()), "lz4": Lz4Compressor(Lz4Options())}
    return Codings("zstd", made.__getitem__, [Form("zstd", "zstd", tuned=zstd is not None), Form("lz4", "lz4")])


def named(case):
    return case[1]["name"] if isinstance(case, tuple) else case["name"]


@pytest.mark.parametrize("coding", VALID, ids=named)
def test_valid_blocks_are_read(coding):
    name, case = coding
    plain = bytes_of(case["plain"])
    view = memoryview(bytearray(len(plain)))
    codings().decode_into(name, bytes_of(case["coded"]), view)
    assert view == plain


@pytest.mark.parametrize("coding", INVALID, ids=named)
def test_invalid_blocks_are_refused(coding):
    name, case = coding
    with pytest.raises(DecodeError):
        codings().decode_into(name, bytes_of(case["coded"]), memoryview(bytearray(case["size"])))


def test_a_dictionary_is_named_by_its_hash(tmp_path):
    case = VECTORS["dictionary"]
    (tmp_path / "d").write_bytes(bytes.fromhex(case["file"]))
    known = codings(ZstdOptions(dictionary=tmp_path / "d"))
    assert known.names == (case["name"], "zstd", "lz4")
    plain = bytes.fromhex(case["plain"])
    view = memoryview(bytearray(len(plain)))
    known.decode_into(case["name"], bytes.fromhex(case["coded"]), view)
    assert view == plain
    for _, group in VALID[:5]:  # what needs none is read as before
        known.decode_into("zstd", bytes_of(group["coded"]), memoryview(bytearray(len(bytes_of(group["plain"])))))


@pytest.mark.parametrize("case", VECTORS["offers"], ids=lambda case: case["header"][:30])
def test_offers(case):
    assert list(offered(case["header"])) == case["names"]
    assert offered(offer(case["names"])) == tuple(case["names"])


def read(case):
    wants = [Want(CID.parse(want["cid"]), want["size"]) for want in case["wants"]]
    body = bytes.fromhex(case["answer"])
    view = memoryview(bytearray(ROOM + sum(want.size for want in wants)))
    reader = CodedReader(io.BytesIO(body), wants, offered(case["offered"]), codings(), "peer")
    return reader.receive(len(body), view), view


@pytest.mark.parametrize("case", ANSWERS["valid"], ids=named)
def test_valid_answers_are_read(case):
    answer, view = read(case)
    found = [{"want": laid.want, "hex": bytes(view[laid.start : laid.stop]).hex()} for laid in answer.blocks]
    assert found == case["blocks"]
    assert answer.missing == case["missing"]
    seen = {laid.want for laid in answer.blocks} | set(answer.missing)
    assert sorted(set(range(len(case["wants"]))) - seen) == case["later"]
    for before, after in zip(answer.blocks, answer.blocks[1:], strict=False):
        assert before.stop == after.start
    assert not answer.blocks or answer.blocks[0].start == ROOM


@pytest.mark.parametrize("case", ANSWERS["invalid"], ids=named)
def test_invalid_answers_are_refused(case):
    with pytest.raises(PeerProtocolError, match="peer ") as caught:
        read(case)
    assert caught.value.peer == "peer"


@pytest.mark.parametrize("case", ANSWERS["valid"], ids=named)
def test_a_cut_answer_gives_whole_frames_or_is_refused(case):
    whole = len(case["answer"]) // 2
    for length in range(0, whole, 3):
        body = bytes.fromhex(case["answer"])[:length]
        wants = [Want(CID.parse(want["cid"]), want["size"]) for want in case["wants"]]
        view = memoryview(bytearray(ROOM + sum(want.size for want in wants)))
        for promised in (length, whole):
            reader = CodedReader(io.BytesIO(body), wants, offered(case["offered"]), codings(), "peer")
            try:
                reader.receive(promised, view)
            except PeerProtocolError:
                continue
            assert promised == length


class Bytes(Held):
    def __init__(self, size, *, follows=False):
        self.size, self._follows = size, follows

    def read_into(self, view):
        view[:] = b"p" * self.size

    def follows(self, other):
        return self._follows


def test_answers_are_written():
    """What stays plain and lies together is one run; what is coded alike and follows is one frame, also over files."""
    row = _Row()
    row.plain(0, Bytes(5))
    row.plain(1, Bytes(6, follows=True))
    row.coded(2, 100, 1, b"zz")
    row.coded(3, 200, 1, b"yyy")
    row.coded(4, 300, 2, b"l")
    row.plain(5, Bytes(7, follows=True))
    row.plain(6, Bytes(8))
    row.gone(7)
    row.other(missing(8, 2))
    row.close()
    made = b"".join(frame.head + b"p" * frame.size for frame in row.frames)

    def head(kind, coding, count, first, *numbers, data=b""):
        body = struct.pack(f">{len(numbers)}I", *numbers) + data
        return struct.pack(">BBHIQ", kind, coding, count, first, len(body)) + body

    assert made == b"".join(
        [
            head(1, 0, 2, 0, 5, 6, data=b"p" * 11),
            head(4, 1, 2, 2, 100, 2, 200, 3, data=b"zzyyy"),
            head(4, 2, 1, 4, 300, 1, data=b"l"),
            head(1, 0, 1, 5, 7, data=b"p" * 7),
            head(1, 0, 1, 6, 8, data=b"p" * 8),
            head(2, 0, 1, 7),
            head(2, 0, 2, 8),
        ]
    )
    assert row.coded_bytes == 6
