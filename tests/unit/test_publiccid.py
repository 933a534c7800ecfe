"""Public CIDs: the vectors of specs/0002, multiformats as the oracle, every base both ways, and every way of refusing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import multiformats
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wherry import multibase
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import CIDError, IntegrityError
from wherry.publiccid import HASHES, IDENTITY, SHA2_256, PublicCID, codec_number, varint

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/publiccid.json").read_text())

lengths = {code: size or 128 for code, (_name, size) in HASHES.items()}
publics = st.one_of(
    st.builds(lambda digest: PublicCID(b"\x12\x20" + digest), st.binary(min_size=32, max_size=32)),
    st.builds(PublicCID.inlined, st.sampled_from([RAW, DAG_PB]), st.binary(max_size=128)),
    st.integers(0, (1 << 63) - 1).flatmap(
        lambda codec: st.sampled_from(sorted(set(HASHES) - {IDENTITY})).flatmap(
            lambda code: st.binary(min_size=lengths[code], max_size=lengths[code]).map(
                lambda digest: PublicCID.make(1, codec, code, digest)
            )
        )
    ),
)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["note"])
def test_valid_vectors(vector):
    cid = PublicCID.parse(vector["text"])
    assert cid.binary.hex() == vector["binary"]
    assert (cid.version, cid.codec_name, cid.hash_name) == (vector["version"], vector["codec"], vector["hash"])
    assert str(cid) == f"{cid}" == vector["canonical"]
    assert PublicCID(cid.binary) == cid
    if vector["block"] is None:
        with pytest.raises(CIDError):
            cid.block()
    else:
        assert str(cid.block()) == vector["block"]
    assert (None if cid.inline is None else cid.inline.hex()) == vector.get("inline")


@pytest.mark.parametrize("vector", VECTORS["invalid_text"], ids=lambda vector: vector["why"])
def test_invalid_text_vectors(vector):
    with pytest.raises(CIDError):
        PublicCID.parse(vector["text"] * vector.get("times", 1))


@pytest.mark.parametrize("vector", VECTORS["invalid_binary"], ids=lambda vector: vector["why"])
def test_invalid_binary_vectors(vector):
    with pytest.raises(CIDError):
        PublicCID(bytes.fromhex(vector["binary"]))


@given(publics, st.sampled_from(multibase.BASES))
def test_every_base_gives_the_same_cid_back(cid, base):
    if cid.version == 0:
        assert PublicCID.parse(str(cid)) == cid
        cid = cid.to_version(1)
    assert PublicCID.parse(cid.to_base(base)) == cid


@given(st.binary(max_size=140), st.sampled_from(sorted(set(multibase.BASES) - {"base8"})))
@example(b"", "base58btc")
@example(b"\0\0\1", "base36")
@example(b"\0\0", "base10")
def test_bases_are_as_multiformats_has_them(data, base):
    text = multibase.encode(base, data)
    assert text == multiformats.multibase.encode(data, base)
    assert multibase.decode(text) == data
    assert multibase.base_of(text) == base


@given(st.binary(max_size=140))
def test_base8_comes_back(data):
    assert multibase.decode(multibase.encode("base8", data)) == data


def test_base8_as_published():
    assert multibase.encode("base8", b"yes mani !") == "7362625631006654133464440102"
    assert multibase.encode("base8", b"\0yes mani !") == "7000745453462015530267151100204"


@given(publics)
def test_parts_make_the_whole(cid):
    assert PublicCID.make(cid.version, cid.codec, cid.hash_code, cid.digest) == cid
    assert cid.multihash == varint(cid.hash_code) + varint(len(cid.digest)) + cid.digest
    assert PublicCID.read(b"ab" + cid + b"cd", 2) == (cid, 2 + len(cid))


@given(st.sampled_from(["sha2-256", "sha2-512", "sha3-256", "blake2b-256"]), st.sampled_from(["raw", "dag-pb", "dag-cbor"]))
def test_reads_what_multiformats_writes(hash_name, codec):
    theirs = multiformats.CID("base58btc", 1, codec, multiformats.multihash.digest(b"data", hash_name))
    cid = PublicCID.parse(str(theirs))
    assert (cid.binary, cid.codec_name, cid.hash_name) == (bytes(theirs), codec, hash_name)
    cid.verify(b"data")
    with pytest.raises(IntegrityError, match="from peer"):
        cid.verify(b"date", origin="peer")


@given(st.binary(max_size=200) | publics.flatmap(lambda cid: st.integers(0, len(cid)).map(lambda cut: bytes(cid[:cut]))))
def test_any_bytes_give_a_cid_or_an_error(data):
    try:
        cid = PublicCID(data)
    except CIDError:
        return
    assert PublicCID.make(cid.version, cid.codec, cid.hash_code, cid.digest) == data


@given(st.text(max_size=80))
def test_any_text_gives_a_cid_or_an_error(text):
    try:
        cid = PublicCID.parse(text)
    except CIDError:
        return
    assert PublicCID.parse(str(cid)) == cid


@given(st.sampled_from([RAW, DAG_PB, DAG_CBOR]), st.binary(max_size=64))
def test_the_engines_own_are_public_ones(codec, data):
    cid = CID.of(codec, data)
    public = PublicCID.of(codec, data)
    assert public == cid
    assert str(public) == str(cid)
    assert public.block() == cid == PublicCID.parse(str(cid)).block()
    assert type(public.block()) is CID


def test_block_of_each_kind():
    digest = hashlib.sha256(b"x").digest()
    assert PublicCID(b"\x12\x20" + digest).block() == CID.from_digest(DAG_PB, digest)
    assert PublicCID.make(1, 0x0129, SHA2_256, digest).block() == CID.from_digest(RAW, digest)
    assert PublicCID.inlined(RAW, b"x").block() == CID.of(RAW, b"x")
    with pytest.raises(CIDError, match="sha2-512"):
        PublicCID.make(1, RAW, 0x13, bytes(64)).block()


def test_versions_and_codecs():
    old = PublicCID.of(DAG_PB, b"x").to_version(0)
    assert old.version == 0
    assert old.to_version(1) == PublicCID.of(DAG_PB, b"x")
    assert old.to_codec(DAG_PB) == old
    assert old.to_codec(RAW) == PublicCID.of(RAW, b"x")
    assert old.to_base("base58btc") == str(old)
    for refused in (
        lambda: PublicCID.of(RAW, b"x").to_version(0),
        lambda: PublicCID.of(RAW, b"x").to_version(2),
        lambda: old.to_base("base32"),
        lambda: old.to_version(1).to_base("base33"),
        lambda: PublicCID.inlined(RAW, bytes(129)),
        lambda: codec_number("nothing"),
        lambda: codec_number("0xzz"),
    ):
        with pytest.raises(CIDError):
            refused()
    assert codec_number("dag-json") == codec_number("0x129") == 0x129


def test_what_proves_nothing_is_refused_as_proof():
    for code in (0x11, 0xD5):
        cid = PublicCID.make(1, RAW, code, bytes(lengths[code]))
        with pytest.raises(CIDError, match="cannot be checked"):
            cid.verify(b"")
    PublicCID.inlined(RAW, b"x").verify(b"x")
    with pytest.raises(IntegrityError):
        PublicCID.inlined(RAW, b"x").verify(b"y")


@given(publics)
def test_what_names_a_node_that_somebody_has_to_send(cid):
    assert cid.names_node == (cid.codec == DAG_PB and cid.inline is None)


@pytest.mark.parametrize("codec", [RAW, DAG_PB, DAG_CBOR])
def test_a_common_one_is_not_taken_apart_to_tell_what_it_is(codec, monkeypatch):
    def taken_apart(_data, _at):
        raise AssertionError("a walk of a million links spends its time here")

    cid = PublicCID.of(codec, b"data")
    monkeypatch.setattr("wherry.publiccid._varint_at", taken_apart)
    assert (cid.codec, cid.inline, cid.names_node) == (codec, None, codec == DAG_PB)
    assert cid.block() == CID.of(codec, b"data")
    assert type(cid.block()) is CID


@pytest.mark.parametrize("chars", [1201, 8192])  # the latter is what is left of a line from a pipe, however long it is
def test_of_text_that_is_too_long_no_length_is_claimed(chars):
    with pytest.raises(CIDError, match="text of more than the 1200 characters that are read"):
        PublicCID.parse("b" + "a" * (chars - 1))
