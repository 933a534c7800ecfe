"""Messages of the DHT (specs/0035 §7): the vectors, written by another implementation, and whatever bytes come."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from fake_dht import NODE, PROVIDERS, addr, answer, field, peer_id, record
from hypothesis import given
from hypothesis import strategies as st
from mutation import mutated

from wherry.errors import DecodeError
from wherry.multibase import decode_base58
from wherry_libp2p.frames import ANSWER_BYTES_MAX, QUESTION_BYTES_MAX
from wherry_libp2p.kad import ADDRS_MAX, CLOSER_MAX, PROVIDERS_MAX, Ask, answer_of, distance, named, question
from wherry_libp2p.places import parse_place, place_of

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/kademlia.json").read_text())
PEER = named(peer_id(1))


@pytest.mark.parametrize("case", VECTORS["questions"], ids=lambda case: case["ask"])
def test_questions(case):
    written = question(Ask[case["ask"]], bytes.fromhex(case["key"]))
    assert written.hex() == case["message"]
    assert len(written) <= QUESTION_BYTES_MAX


@pytest.mark.parametrize("case", VECTORS["answers"], ids=lambda case: case["why"])
def test_answers(case):
    found = answer_of(bytes.fromhex(case["message"]), Ask[case["ask"]])
    for contacts, expected in ((found.closer, case["closer"]), (found.providers, case["providers"])):
        said = [{"peer": named(one.peer), "places": [place.multiaddr() for place in one.places]} for one in contacts]
        assert said == expected


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["why"])
def test_answers_that_are_refused(case):
    with pytest.raises(DecodeError):
        answer_of(bytes.fromhex(case["message"]), Ask[case["ask"]])


def test_one_that_is_too_long_is_not_looked_at():
    with pytest.raises(DecodeError, match="an answer of"):
        answer_of(bytes(ANSWER_BYTES_MAX + 1), Ask.NODE)


def test_what_is_beyond_the_bounds_is_not_kept():
    many = [record(peer_id(number), *[addr("192.0.2.1", port) for port in range(1, 100)]) for number in range(110)]
    found = answer_of(answer(closer=many, providers=many), Ask.PROVIDERS)
    assert len(found.closer) == CLOSER_MAX
    assert len(found.providers) == PROVIDERS_MAX
    assert {len(one.places) for one in found.providers} == {ADDRS_MAX}
    # A flood of fields that say nothing, before those that do: what comes after them is not reached.
    with pytest.raises(DecodeError):
        answer_of(field(77, 1) * 10_000 + answer(NODE), Ask.NODE)


@pytest.mark.parametrize(
    "peer", [b"", b"\x00\x24", peer_id(1)[:-1], peer_id(1) + b"x", b"\x12\x20" + bytes(31), bytes(36), b"\x00" * 42]
)
def test_what_is_no_id_is_nobody(peer):
    found = answer_of(answer(closer=[record(peer, addr("192.0.2.1")), record(peer_id(2), addr("192.0.2.1"))]), Ask.PROVIDERS)
    assert [one.peer for one in found.closer] == [peer_id(2)]


def test_a_peer_that_cannot_be_read_costs_itself_alone():
    cut = record(peer_id(1), addr("192.0.2.1"))[:-3]
    found = answer_of(answer(providers=[cut, b"\x0b", record(peer_id(2))]), Ask.PROVIDERS)
    assert [one.peer for one in found.providers] == [peer_id(2)]


OWN = b"\xa5\x03\x26" + peer_id(1)
GOOD = {
    "/ip4/192.0.2.1/tcp/4001": addr("192.0.2.1"),
    "/ip6/2001:db8::1/tcp/65535": addr("2001:db8::1", 65535),
    "/dns/peer.example/tcp/1": addr("peer.example", 1),
    "/dns4/Peer.example/tcp/1": b"\x36" + addr("Peer.example", 1)[1:],
    "/dns6/a/tcp/1": b"\x37" + addr("a", 1)[1:],
    "/ip4/127.0.0.1/tcp/4001": addr("127.0.0.1", tail=OWN),
}


@pytest.mark.parametrize("text", GOOD)
def test_multiaddrs(text):
    place = place_of(GOOD[text], PEER)
    assert place == parse_place(f"{text.lower()}/p2p/{PEER}")


BAD = [
    b"", b"\x04", b"\x04\x01\x02\x03", addr("192.0.2.1")[:-1], addr("192.0.2.1", 0), addr("192.0.2.1", tail=b"\xa5"),
    addr("192.0.2.1", tail=b"\xa5\x03"), addr("192.0.2.1", tail=b"\xa5\x03\x26"), addr("192.0.2.1", tail=OWN[:-1]),
    addr("192.0.2.1", tail=OWN + b"\xa2\x02"),  # over a relay
    addr("192.0.2.1", tail=b"\xa5\x03\x26" + peer_id(2)),  # of somebody else
    addr("192.0.2.1", tail=b"\xdd\x03"),  # a WebSocket
    b"\x04\xc0\x00\x02\x01\x91\x02\x0f\xa1\xcc\x03",  # over UDP
    b"\x38" + addr("a.b", 1)[1:], b"\x35\xff" + bytes(300), b"\x35\x05ab.cd", b"\x35\x00\x06\x00\x01", addr("a..b"),
    addr("a b"), addr("a\x1bb"), addr("a/b"), addr("-a"), b"\x29" + bytes(10), bytes(193), b"\xff" * 20, b"\x35",
]  # fmt: skip


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_multiaddrs_that_are_of_no_use(data):
    assert place_of(data, PEER) is None


@given(st.binary(max_size=220))
def test_any_multiaddr_is_read_or_not(data):
    if (place := place_of(data, PEER)) is not None:
        assert parse_place(place.multiaddr()) == place


@given(st.binary(max_size=400), st.sampled_from(Ask))
def test_any_answer_is_read_or_refused(data, ask):
    for message in (data, field(1, int(ask)) + data, field(1, int(ask)) + field(8, data) + field(9, data)):
        try:
            found = answer_of(message, ask)
        except DecodeError:
            continue
        for contact in (*found.closer, *found.providers):
            assert decode_base58(named(contact.peer)) == contact.peer
            for place in contact.places:
                assert parse_place(place.multiaddr()) == place


MESSAGES = [bytes.fromhex(case["message"]) for case in VECTORS["answers"]]


@given(st.sampled_from(MESSAGES), st.data())
def test_an_answer_with_bytes_changed_is_read_or_refused(message, data):
    with suppress(DecodeError):
        found = answer_of(mutated(message, data), Ask.PROVIDERS)
        assert all(parse_place(place.multiaddr()) == place for one in found.providers for place in one.places)


def test_distance():
    assert distance(b"a", b"a") == 0
    assert distance(b"a", b"b") == distance(b"b", b"a") > 0
    assert answer_of(answer(PROVIDERS), Ask.PROVIDERS) == ((), ())
