"""CIDs: the vectors of specs/0002, multiformats as the oracle, and every way of refusing."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path

import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import cid as cid_module
from wherry.cid import CID, CODECS, DAG_CBOR, DAG_PB, RAW
from wherry.errors import CIDError, DataError
from wherry.limits import CID_TEXT_CHARS_MAX

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/cid.json").read_text())
NUMBER = {name: number for number, name in CODECS.items()}

codecs = st.sampled_from(sorted(CODECS))
digests = st.binary(min_size=32, max_size=32)
cids = st.builds(CID.from_digest, codecs, digests)


def data_of(vector):
    data = vector["data"]
    return bytes(data["zeros"]) if "zeros" in data else bytes.fromhex(data["hex"])


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["text"][-8:])
def test_valid_vectors(vector):
    binary = bytes.fromhex(vector["binary"])
    cid = CID.parse(vector["text"])
    assert cid == CID(binary) == binary
    assert str(cid) == f"{cid}" == vector["text"]
    assert f"{cid:>61}" == "  " + vector["text"]
    assert cid.codec == NUMBER[vector["codec"]]
    assert cid.digest == binary[4:]
    if "data" in vector:
        assert CID.of(cid.codec, data_of(vector)) == cid


@pytest.mark.parametrize("vector", VECTORS["invalid_text"], ids=lambda vector: vector["why"])
def test_invalid_text_vectors(vector):
    with pytest.raises(CIDError):
        CID.parse(vector["text"])


@pytest.mark.parametrize("vector", VECTORS["invalid_binary"], ids=lambda vector: vector["why"])
def test_invalid_binary_vectors(vector):
    with pytest.raises(CIDError):
        CID(bytes.fromhex(vector["binary"]))


@given(codecs, st.binary(max_size=200))
def test_names_as_multiformats_does(codec, data):
    cid = CID.of(codec, data)
    oracle = multiformats.CID("base32", 1, CODECS[codec], multiformats.multihash.digest(data, "sha2-256"))
    assert str(cid) == str(oracle)
    assert bytes(cid) == bytes(oracle)
    assert cid == CID.from_digest(codec, hashlib.sha256(data).digest())


@given(cids)
def test_round_trips(cid):
    assert CID.parse(str(cid)) == CID(bytes(cid)) == cid
    assert multiformats.CID.decode(str(cid)).encode("base32") == str(cid)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_cid_that_multiformats_knows_or_a_cid_error(data):
    try:
        cid = CID(data)
    except CIDError:
        return
    oracle = multiformats.CID.decode(data)
    assert (oracle.version, oracle.codec.name, oracle.hashfun.name) == (1, CODECS[cid.codec], "sha2-256")


@given(cids, st.integers(0, 35), st.integers(1, 255))
def test_a_changed_byte_gives_another_cid_or_an_error(cid, place, change):
    changed = bytearray(cid)
    changed[place] ^= change
    try:
        assert CID(bytes(changed)) != cid
    except CIDError:
        assert place < 4  # any digest is well formed


@given(st.text(max_size=80) | st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=58).map("b".__add__))
def test_any_text_is_its_own_only_form_or_a_cid_error(text):
    try:
        cid = CID.parse(text)
    except CIDError as problem:
        assert "\n" not in problem.message  # what a stranger sent is shown escaped
        assert problem.message.isascii()
    else:
        assert str(cid) == text


@given(cids, cids)
def test_order_and_hash_are_those_of_the_bytes(one, other):
    assert (one < other) == (bytes(one) < bytes(other))
    assert (one == other) == (bytes(one) == bytes(other))
    assert hash(one) == hash(bytes(one))


def test_copies_are_checked_values_too():
    cid = CID.of(RAW, b"x")
    for again in (copy.copy(cid), copy.deepcopy(cid), pickle.loads(pickle.dumps(cid))):
        assert type(again) is CID
        assert again == cid
    assert repr(cid) == f"CID({cid})"
    with pytest.raises(AttributeError):
        cid.note = "immutable"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_named_and_read(kind):
    assert CID.of(DAG_CBOR, kind(b"\xa0")) == CID.of(DAG_CBOR, b"\xa0")
    assert CID(kind(bytes(CID.of(DAG_PB, b"")))) == CID.of(DAG_PB, b"")


def test_codecs_are_named_as_in_the_multicodec_table():
    for number, name in CODECS.items():
        assert multiformats.multicodec.get(code=number).name == name


GOOD = str(CID.of(RAW, b"hello\n"))
DIGEST = CID.parse(GOOD).digest


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "empty text", "a CID looks like"),
        ("b" + "a" * CID_TEXT_CHARS_MAX, "257 characters, at most 256 are read", None),
        ("QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN", "CIDv0 is not taken", "convert it"),
        ("zb2rhmy65F3REf8SZp7De11gxtECBGgUKaLdiDj7MCGCHxbDW", "base58btc is not taken", "convert it"),
        ("f0155", "base16 is not taken", "convert it"),
        ("F0155", "base16 upper is not taken", "convert it"),
        ("B" + GOOD[1:].upper(), "base32 upper is not taken", "convert it"),
        ("k2k4r8", "base36 is not taken", "convert it"),
        ("mAVUS", "base64 is not taken", "convert it"),
        ("uAVUS", "base64url is not taken", "convert it"),
        ("hello", "does not begin with a known base", "a CID looks like"),
        ("/ipfs/" + GOOD, "does not begin with a known base", "a CID looks like"),
        (GOOD[:-1] + "1", "'1' is no base32 digit", "lower case"),
        (GOOD + "\n", "'\\n' is no base32 digit", "without spaces"),
        (GOOD[:-1] + "é", "'\\xe9' is no base32 digit", "lower case"),
        (GOOD[:-1], "58 characters, must be 59", "copy it again"),
        (GOOD + "a", "60 characters, must be 59", "copy it again"),
        (GOOD[:-1] + "b", "stray bits", "copy it again"),
    ],
)
def test_text_is_refused_with_the_reason(text, message, hint):
    with pytest.raises(CIDError) as caught:
        CID.parse(text)
    assert message in caught.value.message
    assert len(caught.value.message) < 5 * CID_TEXT_CHARS_MAX
    assert (hint or "") in (caught.value.hint or "")
    assert (caught.value.hint is None) == (hint is None)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    ("binary", "message"),
    [
        (b"", "empty"),
        (b"\x12\x20" + DIGEST, "version 0 is not taken"),
        (b"\x02\x55\x12\x20" + DIGEST, "version 2 is unknown"),
        (b"\x01\x51\x12\x20" + DIGEST, "codec 0x51 is not one of raw, dag-pb, dag-cbor"),
        (b"\x01\x55\x1e\x20" + DIGEST, "hash 0x1e is not sha2-256"),
        (b"\x01\x55\x12\x1f" + DIGEST, "has 32 bytes, this one says 31"),
        (b"\x01\x55\x12\x20" + DIGEST[:-1], "35 bytes, must be 36"),
        (b"\x01\x55\x12\x20" + DIGEST + b"\0", "37 bytes, must be 36"),
        (b"\x01", "1 bytes, must be 36"),
        (b"\x01" * 10_000_000, "codec 0x01 is not one of"),
    ],
)
def test_binary_is_refused_with_the_reason(binary, message):
    with pytest.raises(CIDError) as caught:
        CID(binary)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_every_reason_above_is_all_the_reasons_there_are():
    """Counts the places that make a CIDError, so that a new one gets its line in the two tables."""
    source = Path(cid_module.__file__).read_text()
    assert source.count("CIDError(") == 14
