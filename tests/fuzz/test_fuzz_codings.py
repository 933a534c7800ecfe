"""Any bytes, into every decoder of a coding: a DecodeError leaves it or nothing, and memory stays bounded."""

from __future__ import annotations

import io
import json
import struct
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from codings import codings_of, text_file
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.buffers import ROOM
from wherry.errors import DecodeError, PeerProtocolError
from wherry.testing.compressor import MEMORY_MAX, grown_by
from wherry_http.coded import CodedReader
from wherry_http.frames import offered

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/codings.json").read_text())
CODINGS = codings_of("zstd", "lz4")()
SEEDS = [
    (name, b"".join(bytes.fromhex(piece) * times for piece, times in case["coded"]))
    for name, group in VECTORS["codings"].items()
    for case in group["valid"] + group["invalid"]
]
LEAVES = text_file("f", 3000, 600, 70_000)
BODIES = [bytes.fromhex(case["answer"]) for case in VECTORS["answers"]["valid"] + VECTORS["answers"]["invalid"]]
SIZES = st.integers(1, 5000) | st.sampled_from([1 << 17, 1 << 20, 4 << 20])


def changed(draw, data):
    """Some bytes of ``data`` changed, taken out or put in."""
    made = bytearray(data)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, min(len(made), 60)) | st.integers(0, len(made)))
        made[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(made)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_blocks_that_are_nearly_right(data):
    name, seed = data.draw(st.sampled_from(SEEDS))
    coded, size = changed(data.draw, seed), data.draw(SIZES)
    with suppress(DecodeError):
        CODINGS.decode_into(name, coded, memoryview(bytearray(size)))


@given(st.sampled_from(["zstd", "lz4"]), st.binary(max_size=300), SIZES, st.booleans())
@settings(deadline=None)
def test_any_bytes(name, coded, size, begins_right):
    if begins_right:
        coded = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size) + coded
    with suppress(DecodeError):
        CODINGS.decode_into(name, coded, memoryview(bytearray(size)))


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_answers_that_are_nearly_right(data):
    body = changed(data.draw, data.draw(st.sampled_from(BODIES)))
    wants = [leaf.want for leaf in LEAVES]
    if data.draw(st.booleans()):
        wants = [want._replace(size=None) for want in wants]
    view = memoryview(bytearray(ROOM + 100_000))
    reader = CodedReader(io.BytesIO(body), wants, offered("zstd, lz4"), CODINGS, "peer")
    with suppress(PeerProtocolError):
        received = reader.receive(len(body), view)
        laid = sorted(received.blocks, key=lambda one: one.start)
        assert all(ROOM <= one.start <= one.stop <= len(view) for one in laid)
        assert all(before.stop <= after.start for before, after in pairwise(laid))
        named = [one.want for one in laid] + received.missing
        assert len(named) == len(set(named))


@pytest.mark.parametrize(("name", "coded"), SEEDS, ids=[f"{name} {number}" for number, (name, _) in enumerate(SEEDS)])
def test_memory_is_bounded(name, coded):
    def feed():
        for size in (1, 1000, 1 << 20):
            with suppress(DecodeError):
                CODINGS.decode_into(name, coded, memoryview(bytearray(size)))

    assert grown_by(feed) < MEMORY_MAX
