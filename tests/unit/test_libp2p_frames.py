"""Frames between wherry and its libp2p process: the vectors of specs/0035, and whatever bytes come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry_libp2p.frames import HEAD, Kind, fields_of, head_of, pack, pack_wants, wants_of
from wherry_libp2p.peer import plain_cid

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/bitswap.json").read_text())
DIGEST = bytes(range(32))


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["kind"])
def test_heads(case):
    head = head_of(bytes.fromhex(case["head"]))
    assert (head.kind.name, head.request, head.at, head.length) == tuple(
        case[key] for key in ("kind", "request", "index", "length")
    )
    whole = pack(head.kind, head.request, head.at, bytes(head.length))
    assert whole[: HEAD.size].hex() == case["head"]
    with pytest.raises(ValueError, match="a frame"):
        pack(head.kind, 1, 0, bytes(head.length + 1))


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["why"])
def test_heads_that_are_refused(case):
    with pytest.raises(ValueError):
        head_of(bytes.fromhex(case["head"]))


@given(st.binary(min_size=HEAD.size, max_size=HEAD.size))
def test_any_head_is_bounded_or_refused(data):
    try:
        head = head_of(data)
    except ValueError:
        return
    assert head.length <= 2 << 20
    assert HEAD.pack(head.kind, head.request, head.at, head.length) == data


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(data):
    for read in (fields_of, wants_of):
        try:
            read(data)
        except ValueError:
            continue


def test_bodies():
    wants = [(bytes(36), 0), (bytes(range(36)), 2 << 20), (bytes(36), None)]
    assert wants_of(pack_wants(wants)) == wants
    for bad in (b"", bytes(36), bytes(81)):
        with pytest.raises(ValueError, match="wants in"):
            wants_of(bad)
    assert fields_of(b'{"a": 1}') == {"a": 1}
    for bad in (b"[]", b"[" * 10_000, b"\xff", b""):
        with pytest.raises(ValueError):
            fields_of(bad)
    assert Kind.BLOCK == 6


@pytest.mark.parametrize(
    ("cid", "kept"),
    [
        (b"\x12\x20" + DIGEST, b"\x01\x70\x12\x20" + DIGEST),
        (b"\x01\x55\x12\x20" + DIGEST, b"\x01\x55\x12\x20" + DIGEST),
        (b"\x01\x71\x12\x20" + DIGEST, b"\x01\x71\x12\x20" + DIGEST),
        (b"\x01\xa9\x02\x12\x20" + DIGEST, b"\x01\x55\x12\x20" + DIGEST),
        (b"\x01\x78\x12\x20" + DIGEST, b"\x01\x55\x12\x20" + DIGEST),
        (b"\x01\x55\x00\x02ab", None),
        (b"\x01\x55\x13\x40" + DIGEST * 2, None),
        (b"\x02\x55\x12\x20" + DIGEST, None),
        (b"\x01\x12\x20" + DIGEST, None),
        (b"\x01\x55\x55\x12\x20" + DIGEST, None),
        (b"", None),
    ],
)
def test_what_a_peers_cid_stands_for(cid, kept):
    assert plain_cid(cid) == kept


@given(st.binary(max_size=60))
def test_any_cid_of_a_peer(cid):
    kept = plain_cid(cid)
    assert kept is None or (len(kept) == 36 and kept[-32:] == cid[-32:])
