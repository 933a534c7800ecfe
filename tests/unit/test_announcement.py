"""The signed record that a node sends to a tracker: what is written is read, and nothing else is."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cid import CID, RAW
from wherry.errors import DataError, DecodeError, LimitExceeded
from wherry.nodekey import NodeKey
from wherry_locate.announcement import BODY_BYTES_MAX, CIDS_MAX, Announcement, decode, encode

KEY = NodeKey(bytes(32))
OTHER = NodeKey(bytes([1]) * 32)
CIDS = tuple(CID.of(RAW, bytes([number])) for number in range(3))
NOW = 1_795_829_243_000_000


def said(**changes):
    whole = Announcement(KEY.peer_id, NOW, 60.0, ("/ip4/192.0.2.7/tcp/4290",), ("transport-wherry-tcp",), CIDS)
    return whole._replace(**changes)


def signed(payload, key=KEY):
    """A body whose signature is right, whatever the payload says."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    signature = key.sign(b"PUT /routing/v1 announcement:" + text.encode())
    record = {"Schema": "announcement", "Payload": payload, "Signature": "m" + base64.b64encode(signature).decode().rstrip("=")}
    return json.dumps({"Providers": [record]}).encode()


def payload(**changes):
    found = json.loads(encode(said(), KEY))["Providers"][0]["Payload"] | changes
    return {name: value for name, value in found.items() if value is not ...}


def test_the_form_is_that_of_the_specification():
    (record,) = json.loads(encode(said(), KEY))["Providers"]
    assert record["Schema"] == "announcement"
    assert record["Payload"] == {
        "CID": [str(cid) for cid in CIDS], "Scope": "recursive", "Timestamp": "2026-11-28T01:27:23.000000Z", "TTL": 60_000,
        "ID": KEY.peer_id, "Addrs": ["/ip4/192.0.2.7/tcp/4290"], "Protocols": ["transport-wherry-tcp"],
    }  # fmt: skip
    assert signed(record["Payload"]) == json.dumps({"Providers": [record]}).encode()


texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@given(
    st.builds(
        Announcement,
        peer=st.just(KEY.peer_id),
        at=st.integers(0, 4_000_000_000_000_000),
        ttl_s=st.integers(0, 604_800_000).map(lambda ms: ms / 1000),
        addrs=st.lists(texts, max_size=16).map(tuple),
        protocols=st.lists(st.from_regex(r"[a-z0-9][a-z0-9./_-]{0,20}", fullmatch=True), max_size=8).map(tuple),
        cids=st.lists(st.binary(max_size=4).map(lambda data: CID.of(RAW, data)), min_size=1, max_size=9, unique=True).map(
            tuple
        ),
        partial=st.booleans(),
        withdraw=st.booleans(),
    )
)
def test_what_is_written_is_read(announcement):
    assert decode(encode(announcement, KEY)) == announcement


@given(st.data())
def test_no_byte_of_it_can_be_changed(data):
    body = encode(said(), KEY)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != body[at]))]) + body[at + 1 :]
    try:
        found = decode(changed)
    except DataError:
        return
    assert found == said()  # white space between the parts is no part of it


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body):
    with pytest.raises(DataError):
        decode(body)


@given(st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(texts, inner, max_size=4), max_leaves=8), st.sampled_from(sorted(payload())))  # fmt: skip
def test_any_value_in_a_signed_field_is_read_or_refused(value, name):
    try:
        decode(signed(payload(**{name: value})))
    except DataError:
        return


def test_fields_that_a_reader_does_not_know_are_signed_and_passed_over():
    assert decode(signed(payload(Metadata="mAAAA", Later=[1, "x"]))) == said()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no json", b"[]", b"{}", b'{"Providers": {}}', b'{"Providers": [7]}', b"[" * 100_000, b'{"a":' * 20_000,
        b'{"Providers": [], "Providers": []}', b"9" * 100_000, b'{"Providers": [{"Payload": {"TTL": 1.5}}]}',
        b'{"Providers": [{"Payload": {"TTL": NaN}}]}', b'{"Providers": [{"Payload": {"TTL": 1e400}}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_json_of_the_form(body):
    with pytest.raises(DecodeError):
        decode(body)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ID": OTHER.peer_id}, "signature"), ({"ID": ...}, "no ID"), ({"ID": "12D3KooW"}, "signature"), ({"ID": 7}, "no ID"),
        ({"Timestamp": ...}, "no Timestamp"), ({"Timestamp": "2026-11-28"}, "not of the form"),
        ({"Timestamp": "2026-13-28T01:27:23Z"}, "not of the form"),
        ({"Timestamp": "2026-11-28T01:27:23+01:00"}, "not of the form"),
        ({"TTL": -1}, "TTL"), ({"TTL": True}, "TTL"), ({"TTL": 10**12}, "TTL"), ({"TTL": "60"}, "TTL"),
        ({"CID": []}, "names no CID"), ({"CID": "x"}, "CID"), ({"CID": ["x"]}, "CID"), ({"CID": [7]}, "CID"),
        ({"CID": [str(CIDS[0])] * (CIDS_MAX + 1)}, "at most 1,000"), ({"CID": ["b" * 300]}, "CID"),
        ({"Addrs": ["/ip4/1.2.3.4/tcp/1"] * 17}, "Addrs"), ({"Addrs": ["x" * 513]}, "Addrs"), ({"Addrs": {}}, "Addrs"),
        ({"Protocols": ["a"] * 9}, "Protocols"), ({"Protocols": ["A b"]}, "protocol"), ({"Protocols": ["é"]}, "plain text"),
        ({"Partial": 1}, "true or false"), ({"Withdraw": "yes"}, "true or false"), ({"More": {"a": 1}}, "plain text"),
        ({"More": [[1]]}, "plain text"), ({"More": "\x1b"}, "plain text"), ({"é": 1}, "plain text"),
    ],
)  # fmt: skip
def test_what_a_payload_must_not_say(changes, problem):
    with pytest.raises(DataError, match=problem):
        decode(signed(payload(**changes)))


def test_nobody_announces_for_another():
    with pytest.raises(DataError, match="signature"):
        decode(signed(payload(ID=KEY.peer_id), OTHER))
    body = json.loads(encode(said(), KEY))
    for bad in ("", "m", "mAAAA", "z" + "A" * 86, "m" + "!" * 86, 7, None, "m" + "A" * 86):
        body["Providers"][0]["Signature"] = bad
        with pytest.raises(DataError):
            decode(json.dumps(body).encode())


def test_one_record_a_request():
    body = json.loads(encode(said(), KEY))
    for records in ([], body["Providers"] * 2):
        with pytest.raises(DataError, match="one record"):
            decode(json.dumps({"Providers": records}).encode())
    body["Providers"][0]["Schema"] = "bitswap"
    with pytest.raises(DataError, match="schema"):
        decode(json.dumps(body).encode())


def test_a_full_one_fits_and_more_is_not_looked_at():
    most = said(cids=tuple(CID.of(RAW, b"%d" % number) for number in range(CIDS_MAX)))
    assert decode(encode(most, KEY)) == most
    with pytest.raises(LimitExceeded):
        decode(b" " * (BODY_BYTES_MAX + 1))
