"""DAG-CBOR: the vectors of specs/0003 §2; cbrrr and cbor2 are the oracles for what no list holds."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import cbor2
import cbrrr
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from wherry import dagcbor, errors
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import DecodeError, LimitExceeded
from wherry.limits import CBOR_DEPTH_MAX

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/dagcbor.json").read_text())


def vector_bytes(vector) -> bytes:
    return bytes.fromhex(vector["hex"] if "hex" in vector else "".join(piece * times for piece, times in vector["parts"]))


def from_dag_json(value):
    match value:
        case {"/": {"bytes": text}}:
            return base64.b64decode(text + "==")
        case {"/": str(text)}:
            return CID.parse(text)
        case list():
            return [from_dag_json(item) for item in value]
        case dict():
            return {key: from_dag_json(item) for key, item in value.items()}
    return value


def same(one, two) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if type(one) is not type(two):
        return False
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", two)
    return one == two


def for_cbrrr(value):
    if isinstance(value, CID):
        return cbrrr.CID(bytes(value))
    if isinstance(value, list):
        return [for_cbrrr(item) for item in value]
    if isinstance(value, dict):
        return {key: for_cbrrr(item) for key, item in value.items()}
    return value


def for_cbor2(value):
    if isinstance(value, CID):
        return cbor2.CBORTag(42, b"\0" + value)
    if isinstance(value, list):
        return [for_cbor2(item) for item in value]
    if isinstance(value, dict):
        return {key: for_cbor2(item) for key, item in value.items()}
    return value


TEXT = st.text(st.characters(codec="utf-8"))
LINKS = st.builds(CID.of, st.sampled_from([RAW, DAG_CBOR, DAG_PB]), st.binary(max_size=4))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | TEXT
    | LINKS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["about"])
def test_valid_vectors(vector):
    data = vector_bytes(vector)
    value = dagcbor.decode(data)
    assert same(value, from_dag_json(vector["value"]))
    assert dagcbor.encode(value) == data
    assert str(CID.of(DAG_CBOR, data)) == vector["cid"]


@pytest.mark.parametrize("vector", VECTORS["valid_large"], ids=lambda vector: vector["about"])
def test_blocks_at_the_bounds_are_read(vector):
    data = vector_bytes(vector)
    assert dagcbor.encode(dagcbor.decode(data)) == data


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["about"])
def test_invalid_vectors(vector):
    with pytest.raises(errors.WherryError) as caught:
        dagcbor.decode(vector_bytes(vector))
    assert type(caught.value) is getattr(errors, vector["error"])
    assert len(str(caught.value)) < 300


@given(VALUES)
def test_encoding_is_what_cbrrr_and_cbor2_write(value):
    data = dagcbor.encode(value)
    assert data == cbrrr.encode_dag_cbor(for_cbrrr(value))
    # cbor2's canonical form is the older one of RFC 7049, whose keys are in DAG-CBOR's order, but its floats are short.
    if not any(piece in repr(value) for piece in (".", "e+", "e-")):
        assert data == cbor2.dumps(for_cbor2(value), canonical=True)


@given(VALUES)
def test_what_is_encoded_is_decoded(value):
    again = dagcbor.decode(dagcbor.encode(value))
    assert dagcbor.encode(again) == dagcbor.encode(value)
    assert cbrrr.decode_dag_cbor(dagcbor.encode(value)) == for_cbrrr(again)


def cbrrr_takes(data: bytes) -> bool:
    try:
        cbrrr.decode_dag_cbor(data, cid_ctor=CID)
    except (ValueError, errors.CIDError):  # cbrrr's own error is a ValueError
        return False
    return True


def wherry_takes(data: bytes) -> bool:
    try:
        value = dagcbor.decode(data)
    except DecodeError:
        return False
    assert dagcbor.encode(value) == data, "two encodings of one value"
    return True


@given(st.binary(max_size=64))
@example(b"\xf9\x00\x00")
def test_wherry_takes_the_bytes_that_cbrrr_takes(data):
    assert wherry_takes(data) == cbrrr_takes(data)


@given(VALUES, st.data())
def test_and_so_it_is_for_bytes_that_are_nearly_right(value, data):
    """One byte of a good block is changed, dropped or added."""
    block = bytearray(dagcbor.encode(value))
    at = data.draw(st.integers(0, len(block) - 1))
    match data.draw(st.sampled_from(["change", "drop", "add"])):
        case "change":
            block[at] = data.draw(st.integers(0, 255))
        case "drop":
            del block[at]
        case _:
            block.insert(at, data.draw(st.integers(0, 255)))
    assume(len(block) < 4096)
    assert wherry_takes(bytes(block)) == cbrrr_takes(bytes(block))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**64,
        -(2**64) - 1,
        {1: 2},
        {b"a": 1},
        {1, 2},
        object(),
        "\ud800",
        {"\ud800": 1},
        1j,
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_form_is_refused(value):
    with pytest.raises(ValueError):  # Python's own UnicodeEncodeError is one of them
        dagcbor.encode(value)
    with pytest.raises(ValueError):  # as above
        dagcbor.encode([value])


def nested(depth: int):
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_what_is_written_can_be_read():
    assert dagcbor.decode(dagcbor.encode(nested(CBOR_DEPTH_MAX))) == nested(CBOR_DEPTH_MAX)
    with pytest.raises(ValueError, match="deeper"):
        dagcbor.encode(nested(CBOR_DEPTH_MAX + 1))
    with pytest.raises(ValueError, match="deeper"):
        dagcbor.encode({"a": nested(CBOR_DEPTH_MAX)})


def test_a_smaller_bound_may_be_asked_for():
    assert dagcbor.decode(b"\x42ab", bytes_max=3) == b"ab"
    with pytest.raises(LimitExceeded, match="at most 2"):
        dagcbor.decode(b"\x42ab", bytes_max=2)


def test_keys_count_as_items():
    most = {f"{number:04x}": 0 for number in range(32_767)}  # and the map itself: 65,535
    assert dagcbor.decode(dagcbor.encode(most)) == most
    with pytest.raises(LimitExceeded, match="items"):
        dagcbor.decode(dagcbor.encode(most | {"8000": 0, "8001": 0}))


def test_tuples_are_lists():
    assert dagcbor.encode((1, ("a",))) == dagcbor.encode([1, ["a"]])


@pytest.mark.parametrize("count", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("major", [0, 2, 3, 4, 5])
def test_heads(major, count):
    whole = cbrrr.encode_dag_cbor(count)
    assert dagcbor.head(major, count) == bytes((whole[0] | major << 5,)) + whole[1:]
