"""Key files are as specs/0021 §3-4 say, byte for byte, and nothing else is taken for one."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import dagcbor
from wherry.errors import DataError, DecodeError, KeyProblem, LimitExceeded, UsageError
from wherry.limits import KEY_FILE_BYTES_MAX, KEY_GENERATIONS_MAX
from wherry.sealing.identity import Identity, Recipient
from wherry.sealing.keyfile import DomainKey, KeyFile, WrapKey, _armored, unwrapped
from wherry.sealing.passphrase import Cost

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/keys.json").read_text())["files"]
CHEAP = Cost(1, 8192)
SECRET = b"CANARY-of-the-secret-bytes-64!!!"
DOMAIN = DomainKey("project", SECRET, (WrapKey.of(SECRET[::-1], 7), WrapKey.of(SECRET, 5)))
IDENTITY = Identity(SECRET * 2)
about = {"ids": lambda case: case["about"]}


@pytest.mark.parametrize("case", VECTORS["valid"], **about)
def test_files(case):
    file = KeyFile.decode(case["text"].encode())
    assert (file.kind, file.made, file.locked is not None) == (case["kind"], case["made"], case["locked"])
    assert (str(file.recipient) if file.recipient else None) == case.get("recipient")
    assert [[ident.hex(), made] for ident, made in file.generations] == case.get("generations", [])
    assert file.encode().decode() == case["text"]
    if case["locked"]:
        assert file.secret is None
        with pytest.raises(KeyProblem, match="'x' is locked"):
            file.key("x")
        file = file.unlock(case["passphrase"].encode())
    assert (file.secret.hex() if file.secret else None) == case.get("secret")
    key = file.key("x")
    assert KeyFile.of(key, file.made) == file
    assert type(key) is {"domain": DomainKey, "identity": Identity, "recipient": Recipient}[case["kind"]]


@pytest.mark.parametrize("case", VECTORS["invalid"], **about)
def test_files_that_are_refused(case):
    with pytest.raises((DecodeError, LimitExceeded)) as caught:
        KeyFile.decode(case["text"].encode())
    assert len(str(caught.value)) < 250


def test_every_lock_that_does_not_open_says_the_same():
    said = set()
    for case in VECTORS["unopened"]:
        with pytest.raises(KeyProblem) as caught:
            KeyFile.decode(case["text"].encode()).unlock(case["passphrase"].encode())
        said.add((caught.value.message, caught.value.hint))
        assert caught.value.__cause__ is None
    assert len(said) == 1


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_a_lock_opens_by_its_passphrase_alone(passphrase, other):
    for key in (DOMAIN, IDENTITY):
        file = KeyFile.of(key, 1)
        locked = KeyFile.decode(file.lock(passphrase, CHEAP).encode())
        assert SECRET not in locked.encode()
        assert locked.unlock(passphrase) == file
        if other != passphrase:
            with pytest.raises(KeyProblem, match="does not unlock"):
                locked.unlock(other)


def test_a_lock_is_never_the_same_twice():
    file = KeyFile.of(DOMAIN, 1)
    assert file.lock(b"x", CHEAP).encode() != file.lock(b"x", CHEAP).encode()


def test_the_public_part_of_a_locked_key_is_bound_to_it():
    """Who may write a key file must not make its owner wrap for another, or take an old generation for the newest."""
    locked = KeyFile.of(DOMAIN, 1).lock(b"x", CHEAP)
    value = dagcbor.decode(_payload(locked))
    value["public"] = value["public"][::-1]
    with pytest.raises(KeyProblem, match="does not unlock"):
        KeyFile.decode(_armored(dagcbor.encode(value))).unlock(b"x")


def _payload(file):
    import base64

    return base64.b64decode(b"".join(file.encode().split(b"\n")[1:-2]))[:-8]


def test_a_recipient_has_nothing_to_lock():
    file = KeyFile.of(IDENTITY.recipient, 1)
    assert file.lock(b"x", CHEAP) is file
    assert file.unlock(b"y") is file


def test_rotation_puts_a_generation_before_the_others():
    rotated = DOMAIN.rotated(9)
    assert rotated.wraps[1:] == DOMAIN.wraps
    assert (rotated.content, rotated.name, rotated.wraps[0].made) == (DOMAIN.content, "project", 9)
    assert rotated.wraps[0].key not in {wrap.key for wrap in DOMAIN.wraps}
    assert len({wrap.id for wrap in rotated.wraps}) == 3


def test_generations_are_bounded_and_the_most_fit_a_file():
    wraps = tuple(WrapKey.of(number.to_bytes(32, "big"), (1 << 53) - number) for number in range(KEY_GENERATIONS_MAX))
    full = DomainKey("full", SECRET, wraps)
    text = KeyFile.of(full, 1).lock(b"x", CHEAP).encode()
    assert len(text) <= KEY_FILE_BYTES_MAX
    assert KeyFile.decode(text).unlock(b"x").key("full") == full
    with pytest.raises(UsageError, match="256 generations"):
        full.rotated(2)


def test_what_mail_does_to_an_export_is_undone():
    text = KeyFile.of(DOMAIN, 1).encode()
    mangled = b"\r\n\r\n" + text.replace(b"\n", b"\r\n") + b"  \r\n"
    assert unwrapped(mangled) == text


def test_larger_files_are_not_decoded():
    with pytest.raises(LimitExceeded, match="at most 65536"):
        KeyFile.decode(b"-----BEGIN WHERRY KEY-----\n" + b"A" * KEY_FILE_BYTES_MAX)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_file_with_any_other_byte_is_refused(data):
    text = bytearray(KeyFile.of(data.draw(st.sampled_from([DOMAIN, IDENTITY, IDENTITY.recipient])), 1).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    with pytest.raises(DataError):
        KeyFile.decode(bytes(text))


FIELD = st.sampled_from(
    [None, 0, 1, -1, 1 << 60, True, 1.5, b"", bytes(8), bytes(32), SECRET * 2, "", "key/1", "domain", [], {}]
)
LOCK = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("alg", "ops", "memory", "salt", "box"), FIELD) | {"more": FIELD}
) | st.fixed_dictionaries(
    {"alg": st.just("argon2id"), "ops": FIELD, "memory": FIELD, "salt": FIELD, "box": FIELD | st.binary(max_size=80)}
)
FILE = st.fixed_dictionaries(
    {"wherry": st.just("key/1") | FIELD, "kind": st.sampled_from(["domain", "identity", "recipient"]) | FIELD},
    optional={
        "made": FIELD,
        "public": FIELD | st.lists(st.lists(FIELD, max_size=3), max_size=3) | st.just(bytes(IDENTITY.recipient)),
        "secret": FIELD,
        "locked": LOCK | FIELD,
    },
)


@settings(max_examples=500, deadline=None)
@given(FILE | FIELD)
def test_any_map_is_a_key_file_of_one_form_or_refused(value):
    text = _armored(dagcbor.encode(value))
    try:
        file = KeyFile.decode(text)
    except DataError:
        return
    assert file.encode() == text


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused(data):
    for text in (data, b"-----BEGIN WHERRY KEY-----\n" + data + b"\n-----END WHERRY KEY-----\n"):
        with pytest.raises(DataError):
            KeyFile.decode(text)


def test_secrets_are_not_shown_and_do_not_travel():
    file = KeyFile.of(DOMAIN, 1)
    for thing in (DOMAIN, DOMAIN.wraps[0], file, file.lock(b"CANARY", CHEAP), KeyFile.of(IDENTITY, 1)):
        assert "CANARY" not in repr(thing)
        assert SECRET.hex() not in repr(thing)
    for thing in (DOMAIN, DOMAIN.wraps[0]):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)


def test_secrets_are_not_in_tracebacks():
    value = {**dagcbor.decode(_payload(KeyFile.of(DOMAIN, 1))), "secret": SECRET}
    texts = [_armored(dagcbor.encode(value)), _armored(dagcbor.encode(value))[:-40]]
    for text in texts:
        with pytest.raises(DataError) as caught:
            KeyFile.decode(text)
        shown = "".join(traceback.format_exception(caught.value))
        assert "CANARY" not in shown
