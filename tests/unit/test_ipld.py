"""Blocks as values: every codec, paths within, links in their order (specs/0038 §1, §3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry import dagjson, dagpb, ipld
from wherry.cid import DAG_CBOR, DAG_PB, RAW
from wherry.errors import DataError, DecodeError, NotFound, UsageError
from wherry.ipld import DAG_JSON
from wherry.publiccid import PublicCID

FORMS = json.loads((Path(__file__).parents[2] / "specs/vectors/dagpb-form.json").read_text())
A, B = PublicCID.of(RAW, b"a"), PublicCID.of(DAG_CBOR, b"\x80")


@pytest.mark.parametrize("vector", FORMS["valid"], ids=lambda vector: vector["about"])
def test_a_node_has_its_logical_form(vector):
    value, data = dagjson.decode(vector["text"].encode(), canonical=True), bytes.fromhex(vector["hex"])
    assert ipld.read(DAG_PB, data) == value
    assert ipld.write(DAG_PB, value) == data
    assert str(PublicCID.of(DAG_PB, data)) == vector["cid"]


@pytest.mark.parametrize("vector", FORMS["invalid"], ids=lambda vector: vector["about"])
def test_what_is_no_node_is_refused(vector):
    with pytest.raises(DataError, match="dag-pb"):
        ipld.write(DAG_PB, dagjson.decode(vector["text"].encode()))


def test_every_codec_reads_what_it_writes():
    value = {"a": [1, None, {"b": A}], "c": B, "d": b"x", "e": 1.5}
    for codec in (DAG_CBOR, DAG_JSON):
        assert ipld.read(codec, ipld.write(codec, value)) == value
    assert ipld.read(RAW, ipld.write(RAW, b"x")) == b"x"
    with pytest.raises(DataError, match="only bytes"):
        ipld.write(RAW, A)
    with pytest.raises(DataError, match="only bytes"):
        ipld.write(RAW, "x")


def test_what_cannot_be_read_or_written_is_said():
    with pytest.raises(DecodeError, match="git-raw"):
        ipld.read(0x78, b"")
    with pytest.raises(UsageError, match="git-raw"):
        ipld.write(0x78, None)
    with pytest.raises(DataError, match="no form"):
        ipld.write(DAG_JSON, {"/": "a"})
    with pytest.raises(DataError, match="other tools read"):
        ipld.write(DAG_CBOR, b"x" * (2 << 20))
    with pytest.raises(DecodeError, match="no logical form"):
        ipld.read(DAG_PB, dagpb.encode(dagpb.PBNode((dagpb.PBLink(A, b"\xff"),))))


def test_links_come_with_their_paths_in_the_order_of_the_block():
    value = {"a": [A, {"x": B}], "b": B, "c": 1}
    assert list(ipld.links(value)) == [("a/0", A), ("a/1/x", B), ("b", B)]
    assert list(ipld.links(A)) == [("", A)]
    assert list(ipld.links([])) == []


def test_a_path_leads_to_a_value_or_as_far_as_a_link():
    value = {"a": [A, {"x": B}], "": 0, "7": {"0": 1}}
    assert ipld.within(value, [], "it") == (value, 0)
    assert ipld.within(value, ["a", "1", "x"], "it") == (B, 3)
    assert ipld.within(value, ["a", "0", "and", "on"], "it") == (A, 2)
    assert ipld.within(value, ["7", "0"], "it") == (1, 2)
    for wrong in (["b"], ["a", "2"], ["a", "-1"], ["a", "x"], ["a", "1", "x1"], ["a", "00000000"], ["7", "0", "0"], ["a", "²"]):
        with pytest.raises(NotFound, match="it has no"):
            ipld.within(value, wrong, "it")
