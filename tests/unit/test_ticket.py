"""Tickets: the vectors of specs/0009, and what they cannot list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import errors
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DataError, DecodeError, LimitExceeded, UnsafeName
from wherry.ticket import PREFIX, Ticket, usable_name

SPECS = Path(__file__).parents[2] / "specs"
VECTORS: dict[str, Any] = json.loads((SPECS / "vectors/ticket.json").read_text())
CID_OF_NOTHING = CID.of(DAG_CBOR, b"")


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["about"])
def test_valid_vectors_read_and_write(vector: dict[str, Any]) -> None:
    ticket = Ticket.parse(vector["ticket"])
    assert (str(ticket.cid), list(ticket.addresses), ticket.name) == (vector["cid"], vector["addresses"], vector["name"])
    assert str(Ticket(CID.parse(vector["cid"]), tuple(vector["addresses"]), vector["name"])) == vector["ticket"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["about"])
def test_invalid_vectors_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        Ticket.parse(vector["ticket"])
    assert isinstance(caught.value, getattr(errors, vector["error"]))


def test_the_vector_in_the_text_of_the_spec_is_the_first() -> None:
    text = (SPECS / "0009-ticket.md").read_text()
    assert VECTORS["valid"][0]["ticket"] in text
    assert VECTORS["valid"][0]["payload_hex"] in text.replace("\n    ", "")


@given(st.lists(st.integers(0, 999), max_size=20, unique=True), st.none() | st.text(max_size=40))
def test_what_is_made_reads_back(ports: list[int], name: str | None) -> None:
    addresses = tuple(f"http://192.0.2.1:{port}" for port in ports)
    carried = usable_name(name) if name is not None else None
    ticket = Ticket(CID_OF_NOTHING, addresses, carried)
    assert Ticket.parse(str(ticket)) == ticket


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda data: data.hex()))
def test_any_text_is_a_ticket_or_a_data_error(text: str) -> None:
    for candidate in (text, PREFIX + text):
        try:
            ticket = Ticket.parse(candidate)
        except DataError:
            continue
        assert str(ticket) == candidate


def test_a_writer_keeps_the_same_bounds() -> None:
    with pytest.raises(LimitExceeded):
        Ticket(CID_OF_NOTHING, tuple(f"http://h{number}" for number in range(21)))
    with pytest.raises(LimitExceeded, match="4096"):
        Ticket(CID_OF_NOTHING, tuple(f"http://{number:02}/" + "x" * 1500 for number in range(3)))
    with pytest.raises(DecodeError):
        Ticket(CID_OF_NOTHING, ("no scheme",))
    with pytest.raises(UnsafeName):
        Ticket(CID.of(RAW, b""), (), "a/b")


@pytest.mark.parametrize(
    ("name", "usable"), [("data.bin", True), ("Größe 水", True), ("a\nb", False), ("\u202ea", False), ("..", False)]
)
def test_usable_name(name: str, usable: bool) -> None:
    assert (usable_name(name) == name) is usable


def test_a_ticket_that_was_cut_off_says_so_and_what_to_do():
    with pytest.raises(DecodeError, match="damaged or cut off") as found:
        Ticket.parse("wherry:pGFhgXV0")
    assert found.value.hint == "copy it again, in full"
