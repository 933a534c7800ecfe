"""The vectors of specs/0004 §8, and the tables there, against the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exchange_states import PAGE, renewed
from exchange_vectors import shown

from wherry.errors import PeerProtocolError
from wherry.wire.connection import Connection
from wherry.wire.encoding import blocks_head, decode, decode_head, encode
from wherry.wire.messages import HEAD_BYTES, BlocksFlag
from wherry.wire.states import Stage

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/exchange.json").read_text())


def feed(wire, data):
    """Puts bytes where they belong, and zeros behind them."""
    pieces = wire.incoming()
    while data:
        piece = next(pieces)
        piece[:] = data[: len(piece)].ljust(len(piece), b"\0")
        data = data[len(piece) :]
    next(pieces)


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["name"])
def test_valid_messages_are_read_and_written(case):
    data = bytes.fromhex(case["bytes"])
    head = decode_head(data[:HEAD_BYTES])
    message = decode(head, data[HEAD_BYTES:])
    assert head.length == len(data) - HEAD_BYTES
    assert type(message).__name__ == case["kind"]
    assert {key: shown(value) for key, value in message._asdict().items()} == case["fields"]
    assert encode(message) == data


@pytest.mark.parametrize("case", VECTORS["blocks"])
def test_heads_of_blocks(case):
    assert blocks_head(case["request"], case["length"], BlocksFlag(case["flags"])).hex() == case["bytes"]


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["why"])
def test_invalid_messages_are_refused_and_the_peer_is_named(case):
    wire = Connection("peer:1", dialled=False, requests_max=4)
    wire.got = Stage.NEW if case["why"].startswith("hello") else Stage.OPEN
    with pytest.raises(PeerProtocolError) as caught:
        feed(wire, bytes.fromhex(case["bytes"]) + bytes(8))
    assert caught.value.peer == "peer:1"
    assert not wire.received


def test_the_diagrams_are_those_of_the_tables():
    text = PAGE.read_text()
    assert renewed(text) == text
