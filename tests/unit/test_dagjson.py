"""DAG-JSON: the vectors of specs/0038 §2, and what no list holds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wherry import dagcbor, dagjson, errors
from wherry.cid import CID, RAW
from wherry.errors import DecodeError, LimitExceeded, WherryError
from wherry.limits import CBOR_DEPTH_MAX, CBOR_ITEMS_MAX
from wherry.publiccid import PublicCID

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/dagjson.json").read_text())
DAG_JSON, DAG_CBOR = 0x0129, 0x71

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
KEYS = TEXT | st.sampled_from(["/", "bytes", "a"])
LINKS = st.builds(PublicCID.of, st.sampled_from([RAW, DAG_CBOR, DAG_JSON]), st.binary(max_size=4)) | st.builds(
    lambda data: PublicCID.of(0x70, data).to_version(0), st.binary(max_size=4)
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary(max_size=12)
    | LINKS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def data_of(vector):
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    return (vector["text"] if "text" in vector else "".join(piece * times for piece, times in vector["parts"])).encode()


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["about"])
def test_what_is_canonical_is_read_and_written_again(vector):
    data, cbor = vector["text"].encode(), bytes.fromhex(vector["dag_cbor"])
    value = dagjson.decode(data, canonical=True)
    assert dagjson.encode(value) == data
    assert str(PublicCID.of(DAG_JSON, data)) == vector["cid"]
    assert dagcbor.encode(value) == cbor
    assert str(PublicCID.of(DAG_CBOR, cbor)) == vector["dag_cbor_cid"]
    assert dagjson.encode(dagcbor.decode_public(cbor)) == data


@pytest.mark.parametrize("vector", VECTORS["reads_as"], ids=lambda vector: vector["about"])
def test_what_is_not_canonical_is_read_all_the_same(vector):
    value = dagjson.decode(vector["text"].encode())
    assert dagjson.encode(value) == vector["canonical"].encode()
    with pytest.raises(DecodeError, match="canonical"):
        dagjson.decode(vector["text"].encode(), canonical=True)


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["about"])
def test_what_is_wrong_is_refused(vector):
    with pytest.raises(getattr(errors, vector["error"]), match="^DAG-JSON"):
        dagjson.decode(data_of(vector))


@given(VALUES)
@example({"/": [{"/": None}]})
def test_what_is_written_is_read(value):
    try:
        data = dagjson.encode(value)
    except ValueError as problem:
        assert "/" in str(problem)
        return
    found = dagjson.decode(data, canonical=True)
    assert dagjson.encode(found) == data
    assert dagcbor.encode(found) == dagcbor.encode(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e16)
@example(1e-7)
def test_a_float_keeps_its_bits_and_is_never_an_integer(value):
    found = dagjson.decode(dagjson.encode(value))
    assert type(found) is float
    assert (found, math.copysign(1, found)) == (value, math.copysign(1, value))
    assert json.loads(dagjson.encode(value)) == value


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter(lambda key: key != "/"), inner),
    )
)
def test_plain_json_means_the_same_to_everybody(value):
    assert dagjson.decode(json.dumps(value, indent=1).encode()) == value
    assert json.loads(dagjson.encode(value)) == value


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(['"/":', "{", "}", "[", "]", '"bytes":', '"oQ"', ",", "1e5", "-", "tru"]), max_size=12).map(
        "".join
    )
)
def test_any_text_is_read_or_refused(text):
    try:
        value = dagjson.decode(text.encode("utf-8", "surrogatepass"))
    except WherryError:
        return
    dagjson.encode(value)


@pytest.mark.slow
def test_depth_and_items_are_those_of_dag_cbor():
    deep = value = b"x"
    for _ in range(CBOR_DEPTH_MAX):
        value = [value]
    assert dagjson.decode(dagjson.encode(value)) == value
    assert dagcbor.decode_public(dagcbor.encode(value)) == value
    for codec in (dagjson, dagcbor):
        with pytest.raises(ValueError, match="deeper"):
            codec.encode([value])
    with pytest.raises(LimitExceeded, match="deeper"):
        dagjson.decode(b"[" * 64 + b'{"a":1}' + b"]" * 64)
    most = [deep] * (CBOR_ITEMS_MAX - 1)
    assert len(dagjson.decode(dagjson.encode(most), bytes_max=1 << 24)) == len(most)
    with pytest.raises(LimitExceeded, match="items"):
        dagjson.decode(dagjson.encode([*most, most[0]]), bytes_max=1 << 24)
    with pytest.raises(LimitExceeded, match="bytes"):
        dagjson.decode(b'"' + b"a" * (2 << 20) + b'"')


@pytest.mark.parametrize(
    "value", [1 << 64, -(1 << 64) - 1, math.nan, math.inf, {1: 2}, "\ud800", {"\ud800": 1}, object(), {1, 2}, [object()],
              {"/": "a"}, {"/": "a", "b": 1}, {"/": {"bytes": "a"}}, {"/": {"bytes": "a", "c": 1}, "d": 1}]
)  # fmt: skip
def test_what_has_no_form_is_not_written(value):
    with pytest.raises(ValueError, match="form|64 bits|keys"):
        dagjson.encode(value)


def test_links_of_both_kinds_are_written_alike():
    cid = CID.of(RAW, b"x")
    assert dagjson.encode([cid]) == dagjson.encode([PublicCID(bytes(cid))])
    assert dagcbor.encode([cid]) == dagcbor.encode([PublicCID(bytes(cid))])
