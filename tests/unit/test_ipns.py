"""IPNS names and records: written, verified, and told apart from forged, old and doubled ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import dagcbor
from wherry.errors import CIDError, DataError, DecodeError, IntegrityError, LimitExceeded, UsageError, WherryError
from wherry.ipns.name import Name, split
from wherry.ipns.record import SEQUENCE_MAX, create, opened, read, written
from wherry.nodekey import NodeKey
from wherry.protobuf import varint
from wherry.store import names
from wherry.store.names import NameBook
from wherry.store.state import StateDB

KEY = NodeKey(b"k" * 32)
NAME = Name.of(KEY.public)
CID_TEXT = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
OTHER = "/ipfs/bafkqaaa"
NOW = 1_800_000_000.0
UNTIL = int(NOW + 3600) * 10**9


def made(sequence=1, value=CID_TEXT, until=UNTIL, **options):
    return create(KEY, value, sequence, until, **options)


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def signed(key=KEY, **changes):
    """A record of version 2 whose data are as told."""
    inner = {"Value": CID_TEXT.encode(), "Validity": written(UNTIL).encode(), "ValidityType": 0, "Sequence": 1, "TTL": 1}
    data = dagcbor.encode({name: value for name, value in (inner | changes).items() if value is not None})
    return field(8, key.sign(b"ipns-signature:" + data)) + field(9, data)


@pytest.mark.parametrize("with_v1", [False, True])
def test_a_record_is_read_as_it_was_written(with_v1):
    found = read(made(7, with_v1=with_v1, ttl_ns=5), NAME, NOW)
    assert (found.value, found.sequence, found.ttl_ns, found.until_ns) == (CID_TEXT, 7, 5, UNTIL)
    assert len(made(with_v1=False)) < 260


def test_a_name_is_read_in_every_form():
    text = str(NAME)
    assert text.startswith("k51")
    from wherry.publiccid import PublicCID

    base32 = PublicCID.parse(text).to_base("base32")
    for form in (text, KEY.peer_id, base32, "/ipns/" + text, "ipns://" + KEY.peer_id):
        assert Name.parse(form) == NAME
    assert NAME.peer_id == KEY.peer_id
    assert split(f"/ipns/{text}/a/b") == (NAME, "a/b")
    assert split(f"{base32}/a") == (NAME, "a")
    assert split(OTHER.removeprefix("/ipfs/")) is None
    assert split("bafy") is None


@pytest.mark.parametrize(
    "text", ["", "k51", "12D3Koo", "bafkqaaa", "/ipns/bafkqaaa", "1" * 300, "k51\0", "Qm", "/ipns//a", "example.com", "1", "11"]
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(CIDError):
        Name.parse(text)


@pytest.mark.parametrize(
    ("note", "right"),
    [("v1-v2", True), ("v2", True), ("v1-v2-broken-signature-v1", True), ("v1", False), ("v1-v2-broken-v1-value", False),
     ("v1-v2-broken-signature-v2", False)],
)  # fmt: skip
def test_published_records_get_the_verdict_of_the_conformance_suite(note, right):
    folder = os.environ.get("WHERRY_FIXTURES")
    if not folder:
        pytest.skip("WHERRY_FIXTURES is not set")
    (path,) = (each for each in Path(folder).rglob("*.ipns-record") if each.stem.partition("_")[2] == note)
    name = Name.parse(path.name.partition("_")[0])
    if right:
        assert read(path.read_bytes(), name, NOW).value.startswith("/ipfs/")
    else:
        with pytest.raises(DataError):
            opened(path.read_bytes(), name)


def test_records_that_are_not_the_names_are_refused():
    other = NodeKey(b"o" * 32)
    with pytest.raises(IntegrityError, match="forged"):
        opened(made(), Name.of(other.public))
    with pytest.raises(IntegrityError, match="forged"):
        opened(signed(other), NAME)
    with pytest.raises(IntegrityError, match="not the name's"):
        opened(signed(other) + field(7, bytes((8, 1, 18, 32)) + other.public), NAME)
    assert opened(signed() + field(7, bytes((8, 1, 18, 32)) + KEY.public), NAME).sequence == 1


def test_a_key_of_another_kind_is_refused():
    import hashlib

    rsa = bytes((8, 0, 18, 3)) + b"rsa"
    name = Name(b"\x12\x20" + hashlib.sha256(rsa).digest())
    with pytest.raises(DecodeError, match="kind of key"):
        opened(signed() + field(7, rsa), name)
    with pytest.raises(DecodeError, match="kind of key"):
        opened(signed(), name)


def test_a_name_by_hash_takes_the_key_from_the_record():
    import hashlib

    key = bytes((8, 1, 18, 32)) + KEY.public
    name = Name(b"\x12\x20" + hashlib.sha256(key).digest())
    assert opened(signed() + field(7, key), name).value == CID_TEXT


@pytest.mark.parametrize(
    "changes",
    [{"Value": None}, {"Value": "text"}, {"Value": b"\xff"}, {"Validity": b"tomorrow"}, {"Validity": b"2026-13-01T00:00:00Z"},
     {"Validity": b"2026-01-01T00:00:00+01:00"}, {"Validity": None}, {"ValidityType": 1}, {"ValidityType": False},
     {"Sequence": None}, {"Sequence": -1}, {"Sequence": 1.0}, {"TTL": -1}, {"TTL": True}],
)  # fmt: skip
def test_signed_nonsense_is_refused(changes):
    with pytest.raises(DecodeError):
        opened(signed(**changes), NAME)


def test_copies_for_old_readers_must_not_differ():
    good = made()
    assert opened(good, NAME)
    for old, new in ((CID_TEXT.encode(), OTHER.encode().ljust(len(CID_TEXT), b"a")), (b"\x28\x01", b"\x28\x02")):
        with pytest.raises(IntegrityError):
            opened(good.replace(old, new, 1), NAME)
    with pytest.raises(IntegrityError):
        opened(field(1, b"/ipfs/x") + signed(), NAME)
    short, long = (made(ttl_ns=seconds * 10**9) for seconds in (1, 100))
    copy, other = (varint(6 << 3) + varint(seconds * 10**9) for seconds in (1, 100))  # the data under the signature are CBOR
    assert long.count(other) == short.count(copy) == 1
    with pytest.raises(IntegrityError, match="old readers"):
        opened(short.replace(copy, other), NAME)


@pytest.mark.parametrize(
    "binary",
    [b"", b"\x00", b"\xff" * 30, made()[:-1], made(with_v1=False)[:66], signed() + signed(), field(8, b"x") + field(9, b"\xa0"),
     field(9, b"\xa0"), varint(8 << 3) + b"\x01" + field(9, b"\xa0")],
)  # fmt: skip
def test_malformed_records_are_refused(binary):
    with pytest.raises(DataError):
        opened(binary, NAME)


def test_oversized_expired_far_and_huge():
    with pytest.raises(LimitExceeded):
        opened(made() + field(20, bytes(10_240)), NAME)
    with pytest.raises(DataError, match="over since"):
        read(made(until=int(NOW * 1e9)), NAME, NOW)
    far = signed(Validity=b"9999-12-31T23:59:59.999999999Z", Sequence=SEQUENCE_MAX, TTL=SEQUENCE_MAX)
    assert read(far, NAME, NOW).sequence == SEQUENCE_MAX
    with pytest.raises(UsageError):
        made(SEQUENCE_MAX + 1)
    with pytest.raises(UsageError):
        written(10**30)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_typed_error(data):
    with pytest.raises(WherryError):
        opened(data, NAME)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_what_is_signed_passes(at, change):
    good = bytearray(made(with_v1=False))
    good[at % len(good)] ^= change
    with pytest.raises(WherryError):
        opened(bytes(good), NAME)


@pytest.fixture
def book(tmp_path):
    state = StateDB(tmp_path)
    yield NameBook(state)
    state.close()


def taken(book, *arguments, **options):
    return book.take(opened(made(*arguments, **options), NAME), NOW)


def test_the_highest_sequence_stays_over_a_restart(tmp_path):
    state = StateDB(tmp_path)
    assert taken(NameBook(state), 5) == "new"
    state.close()
    state = StateDB(tmp_path)
    book = NameBook(state)
    assert taken(book, 4, OTHER) == "rollback"
    assert book.known(NAME).record.sequence == 5
    assert [event.kind for event in book.events(NAME)] == ["new", "rollback"]
    assert taken(book, SEQUENCE_MAX) == "new"
    with pytest.raises(UsageError, match="used up"):
        book.publish(KEY, "me", OTHER, NOW, lifetime_s=60, ttl_s=1)
    state.close()


def test_two_records_with_one_number_are_told_apart(book):
    assert taken(book, 1) == "new"
    assert taken(book, 1) == "same"
    assert taken(book, 1, until=UNTIL + 1) == "renewed"
    assert taken(book, 1, OTHER) == taken(book, 1, OTHER) == "equivocation"
    assert book.equivocated(NAME, 1)
    assert book.known(NAME).record.value == CID_TEXT
    assert [event.kind for event in book.events(NAME)] == ["new", "renewed", "equivocation"]


def test_that_a_number_was_given_twice_is_not_forgotten_however_much_is_said_after_it(book, monkeypatch):
    monkeypatch.setattr(names, "NAME_EVENTS_MAX", 3)
    assert taken(book, 9) == "new"
    assert taken(book, 9, OTHER) == "equivocation"
    for number in range(9):
        assert taken(book, number) == "rollback"
    assert book.equivocated(NAME, 9)
    assert [event.kind for event in book.events(NAME)] == ["equivocation", "rollback", "rollback", "rollback"]
    assert taken(book, 10) == "new"  # then it is over, and goes like everything else
    assert [event.kind for event in book.events(NAME)] == ["rollback", "rollback", "new"]


def test_that_a_number_was_given_here_is_not_forgotten_however_much_is_said_after_it(book, monkeypatch):
    monkeypatch.setattr(names, "NAME_EVENTS_MAX", 3)
    record = book.publish(KEY, "me", CID_TEXT, NOW, lifetime_s=3600, ttl_s=60, above=8)
    for number in range(9):
        assert taken(book, number) == "rollback"
    assert taken(book, 9, OTHER) == "equivocation"
    assert book.published_here(record)
    for number in range(9):
        assert taken(book, number, OTHER) == "rollback"
    assert book.published_here(record)
    assert book.equivocated(NAME, 9)


def test_a_name_that_is_not_renewed_is_called_frozen(book):
    taken(book, 1)
    assert not book.freshness(NAME, NOW + 1)
    assert "was not renewed" in book.freshness(NAME, NOW + 3500)
    assert "withheld" in book.freshness(NAME, NOW + 3700)
    assert book.events(NAME)[-1].kind == "frozen"


def test_publishing_counts_on_and_above_what_others_have(book):
    first = book.publish(KEY, "me", CID_TEXT, NOW, lifetime_s=3600, ttl_s=60)
    second = book.publish(KEY, "me", OTHER, NOW, lifetime_s=3600, ttl_s=60, above=9)
    assert (first.sequence, second.sequence) == (0, 10)
    assert book.known(NAME).key == "me"
    assert [known.record.value for known in book.all()] == [OTHER]


def test_a_home_of_the_format_before_names_is_brought_on(tmp_path):
    import sqlite3

    from wherry.store import state as module

    older = sqlite3.connect(tmp_path / "state.db")
    older.executescript(f"{module._ROOTS};{module._TRANSFERS};{module._RULES}")
    older.execute("PRAGMA user_version=3")
    older.commit()
    older.close()
    state = StateDB(tmp_path)
    assert taken(NameBook(state), 1) == "new"
    state.close()


def vectors():
    return json.loads((Path(__file__).parents[2] / "specs/vectors/ipns.json").read_text())


def pieces(record):
    return b"".join(bytes.fromhex(piece) * times for piece, times in record)


@pytest.mark.parametrize("vector", vectors()["valid"], ids=lambda one: one["note"])
def test_valid_vectors(vector):
    name = Name.parse(vector["name"])
    assert (str(name), name.peer_id, Name.parse(vector["peer"])) == (vector["name"], vector["peer"], name)
    found = read(pieces(vector["record"]), name, vectors()["now"])
    assert (found.value, found.sequence) == (vector["value"], vector["sequence"])
    assert found.ttl_ns // 10**9 == vector["ttl_s"]


@pytest.mark.parametrize("vector", vectors()["invalid"], ids=lambda one: one["note"])
def test_invalid_vectors(vector):
    with pytest.raises(DataError):
        read(pieces(vector["record"]), Name.parse(vector["name"]), vectors()["now"])
