"""Recipients and identities are as specs/0021 §1-2 say: one text for one pair of keys, and nothing weak among them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.errors import DecodeError
from wherry.sealing.identity import Identity, Recipient

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/keys.json").read_text())
about = {"ids": lambda case: case["about"]}


@pytest.mark.parametrize("case", VECTORS["recipients"]["valid"], **about)
def test_texts(case):
    identity = Identity(bytes.fromhex(case["secret"]))
    recipient = Recipient.parse(case["text"])
    assert bytes(recipient) == bytes(identity.recipient) == bytes.fromhex(case["keys"])
    assert str(recipient) == case["text"]
    assert recipient.fingerprint == identity.fingerprint == case["fingerprint"]
    assert recipient == Recipient.from_bytes(bytes.fromhex(case["keys"]))


@pytest.mark.parametrize("case", VECTORS["recipients"]["invalid"], **about)
def test_texts_that_are_refused(case):
    with pytest.raises(DecodeError, match="^recipient: "):
        Recipient.parse(case["text"])


@pytest.mark.parametrize("case", VECTORS["boxes"]["valid"], ids=["sealed"])
def test_boxes(case):
    identity = Identity(bytes.fromhex(VECTORS["boxes"]["secret"]))
    assert identity.open(bytes.fromhex(case["box"])) == bytes.fromhex(case["payload"])


@pytest.mark.parametrize("case", VECTORS["boxes"]["invalid"], **about)
def test_boxes_that_do_not_open(case):
    assert Identity(bytes.fromhex(VECTORS["boxes"]["secret"])).open(bytes.fromhex(case["box"])) is None


def test_signatures():
    case = VECTORS["signatures"]
    recipient, message = Recipient.from_bytes(bytes.fromhex(case["keys"])), bytes.fromhex(case["message"])
    for signature in case["valid"]:
        assert recipient.verify(message, bytes.fromhex(signature))
        assert not recipient.verify(message + b"\0", bytes.fromhex(signature))
    for wrong in case["invalid"]:
        assert not recipient.verify(message, bytes.fromhex(wrong["signature"])), wrong["about"]
    assert Identity(bytes.fromhex(VECTORS["boxes"]["secret"])).sign(message).hex() in case["valid"]


ALICE, BOB = Identity(b"a" * 64), Identity(b"b" * 64)


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_what_is_sealed_for_one_opens_for_one(payload):
    box = ALICE.recipient.seal(payload)
    assert len(box) == len(payload) + 48
    assert ALICE.open(box) == payload
    assert BOB.open(box) is None


def test_boxes_are_never_equal():
    assert ALICE.recipient.seal(b"x") != ALICE.recipient.seal(b"x")


@settings(deadline=None)
@given(st.binary(max_size=500), st.binary(max_size=80))
def test_only_the_signer_signs(message, forged):
    signature = ALICE.sign(message)
    assert len(signature) == 64
    assert ALICE.recipient.verify(message, signature)
    assert not BOB.recipient.verify(message, signature)
    assert not ALICE.recipient.verify(message, forged)


@settings(deadline=None)
@given(st.data())
def test_a_text_with_any_other_character_is_refused(data):
    text = str(ALICE.recipient)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))
    with pytest.raises(DecodeError):
        Recipient.parse(text[:at] + other + text[at + 1 :])


@settings(deadline=None)
@given(st.binary(min_size=64, max_size=64))
def test_any_64_bytes_are_a_recipient_of_one_form_or_none(keys):
    try:
        recipient = Recipient.from_bytes(keys)
    except DecodeError:
        return
    assert bytes(recipient) == keys
    assert Recipient.parse(str(recipient)) == recipient


def test_fresh_identities_differ():
    assert Identity.make().recipient != Identity.make().recipient


def test_an_identity_shows_no_secret_and_does_not_travel():
    identity = Identity(b"s" * 64)
    for shown in (repr(identity), str(identity), f"{identity}", repr([identity]), repr(identity.recipient)):
        assert "sss" not in shown
        assert b"s".hex() * 3 not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(identity)
    assert not hasattr(identity, "__dict__")


def test_a_recipient_does_not_change():
    with pytest.raises(AttributeError, match="does not change"):
        ALICE.recipient.anything = 1
    assert len({ALICE.recipient, Recipient.parse(str(ALICE.recipient)), BOB.recipient}) == 2
    assert ALICE.recipient != str(ALICE.recipient)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_other_lengths_are_refused(size):
    with pytest.raises(DecodeError, match="64"):
        Identity(bytes(size))
    with pytest.raises(DecodeError, match="64"):
        Recipient(bytes(size))
