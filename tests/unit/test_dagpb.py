"""dag-pb and the UnixFS message: the vectors of specs/0031; what is written is read; junk is refused as a DataError."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cid import RAW
from wherry.dagpb import Linked, PBLink, PBNode, decode, encode, encode_link, encode_links, encode_links_of
from wherry.errors import DataError, DecodeError, LimitExceeded
from wherry.limits import PB_BYTES_MAX, PB_LINKS_MAX
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs
from wherry.unixfs.data import Data, UnixTime

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/dagpb.json").read_text())
MESSAGES = json.loads((Path(__file__).parents[2] / "specs/vectors/unixfs-data.json").read_text())

cids = st.one_of(
    st.builds(lambda digest: PublicCID(b"\x12\x20" + digest), st.binary(min_size=32, max_size=32)),
    st.builds(PublicCID.of, st.integers(0, 2**63 - 1), st.binary(max_size=9)),
    st.builds(PublicCID.inlined, st.just(RAW), st.binary(max_size=128)),
)
links = st.builds(PBLink, cids, st.none() | st.binary(max_size=300), st.none() | st.integers(0, 2**63 - 1))
nodes = st.builds(PBNode, st.lists(links, max_size=5).map(tuple), st.none() | st.binary(max_size=300))
uint64 = st.integers(0, 2**64 - 1)
messages = st.builds(
    Data,
    st.sampled_from(sorted(unixfs.TYPES)),
    st.none() | st.binary(max_size=300),
    st.none() | uint64,
    st.lists(uint64, max_size=5).map(tuple),
    st.none() | uint64,
    st.none() | uint64,
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.builds(UnixTime, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999)),
)


def unhex(text):
    return None if text is None else bytes.fromhex(text)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["note"])
def test_valid_blocks(vector):
    block = bytes.fromhex(vector["block"])
    node = decode(block)
    assert node.data == unhex(vector["data"])
    assert node.links == tuple(
        PBLink(PublicCID(unhex(link["cid"])), unhex(link["name"]), link["tsize"]) for link in vector["links"]
    )
    assert encode(node).hex() == vector.get("canonical", vector["block"])


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["why"])
def test_invalid_blocks(vector):
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(vector["block"]))


@pytest.mark.parametrize("vector", MESSAGES["valid"], ids=lambda vector: vector["note"])
def test_valid_messages(vector):
    message = unixfs.decode(bytes.fromhex(vector["message"]))
    names = ("type", "filesize", "hash_type", "fanout", "mode")
    assert [getattr(message, name) for name in names] == [vector[name] for name in names]
    assert message.data == unhex(vector["data"])
    assert list(message.blocksizes) == vector["blocksizes"]
    assert message.mtime == (None if vector["mtime"] is None else UnixTime(*vector["mtime"]))
    assert unixfs.encode(message).hex() == vector.get("canonical", vector["message"])


@pytest.mark.parametrize("vector", MESSAGES["invalid"], ids=lambda vector: vector["why"])
def test_invalid_messages(vector):
    with pytest.raises(DecodeError):
        unixfs.decode(bytes.fromhex(vector["message"]))


@given(nodes)
def test_what_is_written_is_read(node):
    written = encode(node)
    again = decode(written)
    assert again.data == node.data
    assert again.links == tuple(sorted(node.links, key=lambda link: link.name or b""))
    assert encode(again) == written


@given(messages)
def test_messages_that_are_written_are_read(message):
    assert unixfs.decode(unixfs.encode(message)) == message


@given(st.binary(max_size=200))
def test_junk_is_read_or_refused(data):
    for read in (decode, unixfs.decode):
        try:
            read(data)
        except DataError as problem:
            assert str(problem)


@given(nodes, st.data())
def test_a_changed_byte_is_read_as_written_or_refused(node, draw):
    """Whatever is taken in canonical order is written again as the same bytes: nothing is dropped or made up."""
    block = bytearray(encode(node))
    if not block:
        return
    at = draw.draw(st.integers(0, len(block) - 1))
    block[at] = draw.draw(st.integers(0, 255))
    try:
        again = decode(bytes(block))
    except DataError:
        return
    rewritten = encode(again)
    assert len(rewritten) == len(block)
    assert sorted(rewritten) == sorted(block)


@given(st.binary(max_size=200), cids, st.integers(0, 2**63 - 1) | st.integers(0, 2**22))
def test_the_quick_form_of_a_link_is_the_same(name, cid, tsize):
    assert b"".join(encode_links([(name, cid, tsize)])) == encode_link(PBLink(cid, name, tsize))


@pytest.mark.parametrize("tsize", [0, 127, 128, 16383, 16384, 2097151, 2097152])
@pytest.mark.parametrize("byte", [b"n", b"%"])
def test_the_quick_form_at_its_edges(tsize, byte):
    """Of every length: a length is a byte of the form, and none of them may mean something there."""
    cid = PublicCID.of(RAW, b"")
    names = [byte * length for length in range(260)]
    every = [encode_link(PBLink(cid, name, tsize)) for name in names]
    assert b"".join(encode_links([(name, cid, tsize) for name in names])) == b"".join(every)
    short = [name for name in names if len(name) <= 80]
    assert b"".join(encode_links_of(short, [Linked(cid, tsize)] * len(short)) or ()) == b"".join(every[: len(short)])
    for name in names[len(short) :]:  # as long ones as are read: none of them is written wrongly
        assert encode_links_of([b"a", name], [Linked(cid, tsize)] * 2) is None or tsize >= 1 << 21


def test_bounds_hold_before_anything_is_decoded():
    with pytest.raises(LimitExceeded, match="at most 2097152"):
        decode(b"\x0a" * (PB_BYTES_MAX + 1))
    with pytest.raises(LimitExceeded):
        unixfs.decode(bytes(PB_BYTES_MAX + 1))
    link = bytes.fromhex("12060a0401550000")
    assert len(decode(link * PB_LINKS_MAX).links) == PB_LINKS_MAX
    with pytest.raises(LimitExceeded, match="links"):
        decode(link * (PB_LINKS_MAX + 1))
    with pytest.raises(LimitExceeded, match="block sizes"):
        unixfs.decode(b"\x08\x02" + b"\x20\x01" * (PB_LINKS_MAX + 1))
    with pytest.raises(LimitExceeded, match="block sizes"):
        unixfs.decode(b"\x08\x02\x22\x81\x80\x04" + b"\x01" * (PB_LINKS_MAX + 1))


@pytest.mark.parametrize("tsize", [-1, 2**63])
def test_a_size_without_a_form_is_not_written(tsize):
    with pytest.raises(ValueError, match="no form"):
        encode(PBNode((PBLink(PublicCID.of(RAW, b""), b"a", tsize),)))


@pytest.mark.parametrize(
    "message",
    [
        Data(2, filesize=-1),
        Data(2, mode=2**32),
        Data(2, mtime=UnixTime(2**63)),
        Data(2, mtime=UnixTime(0, 10**9)),
        Data(5, fanout=-1),
    ],
)
def test_a_message_without_a_form_is_not_written(message):
    with pytest.raises(ValueError, match="no form"):
        unixfs.encode(message)
