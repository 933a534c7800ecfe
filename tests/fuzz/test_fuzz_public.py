"""Any bytes, into every decoder of the public formats: only typed errors leave, and what is read can be written again."""

from __future__ import annotations

import io
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation import mutated

from wherry import dagcbor, dagjson, dagpb, ipld
from wherry.car import CarReader, header, section_head, verified
from wherry.cid import RAW
from wherry.errors import DataError
from wherry.limits import PB_BYTES_MAX
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs

CORPUS = sorted(path for path in Path(__file__).with_name("corpus").glob("*/*") if path.is_file())
MEMORY_MAX = 24 * PB_BYTES_MAX


def feed(data: bytes) -> None:
    """Gives one block, or one stream, to every decoder."""
    with suppress(DataError):
        value = dagjson.decode(data)
        again = dagjson.encode(value)
        assert dagjson.encode(dagjson.decode(again, canonical=True)) == again
    with suppress(DataError):
        assert dagcbor.encode(dagcbor.decode_public(data)) == data
    with suppress(DataError):
        unixfs.decode(dagpb.decode(data).data or b"")
    for codec in ipld.CODECS.values():
        with suppress(DataError):
            found = ipld.read(codec, data)
            assert all(isinstance(cid, PublicCID) for _, cid in ipld.links(found))
            ipld.read(codec, ipld.write(codec, found))
    with suppress(DataError):
        for cid, block in CarReader(io.BytesIO(data).read):
            with suppress(DataError):
                verified(cid, block, origin="it")


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus(path):
    feed(path.read_bytes())


@given(st.binary(max_size=200))
def test_any_bytes(data):
    feed(data)


@given(st.sampled_from(CORPUS), st.data())
@settings(deadline=None)
def test_the_corpus_with_bytes_changed(path, data):
    feed(mutated(path.read_bytes(), data))


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.sampled_from(sorted(ipld.CODECS.values()))), max_size=5), st.integers(0, 400)
)
def test_a_car_is_read_as_it_was_written_and_its_pieces_are_read_or_refused(blocks, cut):
    made = [(PublicCID.of(codec, data), data) for data, codec in blocks]
    stream = header([cid for cid, _ in made[:1]]) + b"".join(section_head(cid, len(data)) + data for cid, data in made)
    assert list(CarReader(io.BytesIO(stream).read)) == made
    feed(stream[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"[" * PB_BYTES_MAX,
        b"[" + b'"a",' * 20_000 + b"0]",
        b"[" + b"1.5," * 20_000 + b"0]",
        b"{" + b",".join(b'"%x":0' % number for number in range(8_000)) + b"}",
        b'"' + "\U0001f600".encode() + b"a" * (PB_BYTES_MAX - 6) + b'"',
        b'"' + b"\\u0041" * (PB_BYTES_MAX // 6 - 1) + b'"',
        b'{"/":{"bytes":"' + b"AAAA" * (PB_BYTES_MAX // 4 - 16) + b'"}}',
        b"[" + b",".join([b'{"/":"' + str(PublicCID.of(RAW, b"x")).encode() + b'"}'] * 2_000) + b"]",
        b"1" * PB_BYTES_MAX,
        b"1." + b"1" * (PB_BYTES_MAX - 2),
        b" " * PB_BYTES_MAX,
    ],
    ids=[
        "lists in lists",
        "texts",
        "floats",
        "keys",
        "wide",
        "escapes",
        "bytes",
        "links",
        "integer",
        "float",
        "space",
    ],
)
def test_memory_is_bounded_by_the_size_of_a_block(data):
    tracemalloc.start()
    try:
        with suppress(DataError):
            dagjson.decode(data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()
