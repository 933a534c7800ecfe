"""CARs: vectors, bounds, and what is no CAR (specs/0032 §1, §2)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.car import SECTION_BYTES_MAX, CarReader, header, section_head, verified
from wherry.cid import DAG_CBOR, DAG_PB, RAW
from wherry.errors import CIDError, DecodeError, IntegrityError, LimitExceeded, WherryError
from wherry.limits import CAR_ROOTS_MAX, LEAF_BYTES_MAX, PB_BYTES_MAX
from wherry.protobuf import varint
from wherry.publiccid import PublicCID

VECTORS = json.loads((Path(__file__).parents[2] / "specs" / "vectors" / "car.json").read_text())


def reader(data):
    return CarReader(io.BytesIO(data).read)


def dribble(data):
    """Gives a byte at a time, as a pipe may."""
    file = io.BytesIO(data)
    return CarReader(lambda count: file.read(min(count, 1)))


@pytest.mark.parametrize("opened", [reader, dribble])
@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_vectors_are_read(vector, opened):
    made = opened(bytes.fromhex(vector["hex"]))
    assert [str(root) for root in made.roots] == vector["roots"]
    found = list(made)
    assert [str(cid) for cid, _ in found] == vector["cids"]
    for cid, data in found:
        verified(cid, data, origin="the vector")
    assert made.bytes_read <= len(vector["hex"]) // 2


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_what_is_no_car_is_refused(vector):
    with pytest.raises((DecodeError, LimitExceeded)):
        list(reader(bytes.fromhex(vector["hex"])))


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_car_that_is_cut_anywhere_is_read_to_there_or_refused(vector):
    whole = bytes.fromhex(vector["hex"])
    for end in range(len(whole)):
        try:
            found = list(reader(whole[:end]))
        except (DecodeError, LimitExceeded):
            continue
        assert [str(cid) for cid, _ in found] == vector["cids"][: len(found)]


@given(st.binary(max_size=80), st.integers(0, 200))
def test_any_bytes_behind_a_car_are_read_or_refused(junk, at):
    whole = bytes.fromhex(VECTORS["valid"][5]["hex"])
    for data in (junk, whole[:at] + junk + whole[at:]):
        try:
            list(reader(data))
        except WherryError as problem:
            assert isinstance(problem, DecodeError | LimitExceeded)


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_what_is_written_is_read(blocks):
    cids = [PublicCID.of(RAW, block) for block in blocks]
    data = header(cids) + b"".join(section_head(cid, len(block)) + block for cid, block in zip(cids, blocks, strict=True))
    made = reader(data)
    assert made.roots == cids
    assert list(made) == list(zip(cids, blocks, strict=True))
    assert made.bytes_read == len(data)


@pytest.mark.parametrize("data", [b"hello\n", b"<html>", b"PK\x03\x04" + bytes(100), b"\x1f\x8b\x08" + bytes(100)])
def test_of_what_is_no_car_it_is_not_said_that_it_is_cut_off(data):
    with pytest.raises(DecodeError, match="^the CAR is no CAR: it does not begin with a header\n.*wherry add"):
        reader(data)


def test_sizes_are_bounded_before_anything_is_read():
    asked = []
    data = io.BytesIO(header([]) + varint(SECTION_BYTES_MAX + 1) + bytes(100))

    def read(count):
        asked.append(count)
        return data.read(count)

    with pytest.raises(LimitExceeded):
        list(CarReader(read))
    assert max(asked) < 100


def test_roots_are_bounded():
    root = PublicCID.of(RAW, b"")
    with pytest.raises(LimitExceeded):
        reader(header([root] * (CAR_ROOTS_MAX + 1)))


def test_a_block_that_is_not_what_it_is_called_names_where_it_came_from():
    with pytest.raises(IntegrityError, match="from the tape"):
        verified(PublicCID.of(RAW, b"a"), b"b", origin="the tape")
    with pytest.raises(CIDError):
        verified(PublicCID.make(1, RAW, 0xD5, bytes(16)), b"b", origin="the tape")


@pytest.mark.parametrize("opened", [reader, dribble])
@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_blocks_are_taken_into_memory_or_passed_over(vector, opened):
    expected = list(reader(bytes.fromhex(vector["hex"])))
    for taken in range(2):
        made, found = opened(bytes.fromhex(vector["hex"])), []
        while (section := made.section()) is not None:
            cid, size = section
            if len(found) % 2 == taken:
                data = bytearray(size)
                made.take(memoryview(data))
                found.append((cid, bytes(data)))
            else:
                made.skip()
                found.append((cid, None))
        assert [cid for cid, _ in found] == [cid for cid, _ in expected]
        assert all(data in (None, right) for (_, data), (_, right) in zip(found, expected, strict=True))
        assert made.bytes_read == opened_whole(opened, vector)


def opened_whole(opened, vector):
    made = opened(bytes.fromhex(vector["hex"]))
    list(made)
    return made.bytes_read


@pytest.mark.parametrize("into", [True, False])
def test_a_block_that_is_cut_off_is_refused_however_it_is_taken(into):
    cid = PublicCID.parse("bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e")
    whole = header([cid]) + section_head(cid, 1000) + bytes(1000)
    for end in (len(whole) - 1, len(whole) - 900, len(whole) - 990):
        file = io.BytesIO(whole[:end])
        made = CarReader(file.read, read_into=file.readinto if into else None)

        def take(made=made):
            _, size = made.section()
            made.take(memoryview(bytearray(size)))

        with pytest.raises(DecodeError, match="cut off"):
            take()


def test_only_raw_blocks_may_be_as_large_as_leaves():
    for codec, size, taken in ((RAW, LEAF_BYTES_MAX, True), (RAW, LEAF_BYTES_MAX + 1, False),
                               (DAG_PB, PB_BYTES_MAX, True), (DAG_PB, PB_BYTES_MAX + 1, False),
                               (DAG_CBOR, PB_BYTES_MAX + 1, False), (0x0129, PB_BYTES_MAX + 1, False)):  # fmt: skip
        data = bytes(size)
        cid = PublicCID.of(codec, data)
        stream = header([cid]) + section_head(cid, size) + data
        if taken:
            assert list(reader(stream)) == [(cid, data)]
        else:
            with pytest.raises(LimitExceeded, match=str(cid)):
                list(reader(stream))
            with pytest.raises(LimitExceeded, match=str(cid)):
                reader(stream).section()
