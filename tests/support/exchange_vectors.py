"""Messages of the native exchange for specs/vectors/exchange.json.

    python tests/support/exchange_vectors.py

writes the file anew. What is in it was looked at by a person once; the test reads the file alone.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from wherry.cid import CID, RAW
from wherry.wire.encoding import blocks_head, encode
from wherry.wire.messages import (
    MAGIC,
    BlocksFlag,
    Bye,
    Cancel,
    Choke,
    Error,
    Fault,
    Follow,
    Have,
    HaveFlag,
    Hello,
    Peers,
    Ping,
    Pong,
    Proof,
    Record,
    Resolve,
    Unchoke,
    Unfollow,
    Want,
)

PAGE = Path(__file__).parents[2] / "specs/vectors/exchange.json"
NAME = bytes.fromhex("002408011220") + bytes(range(32))  # of an Ed25519 key
HASHED = b"\x12\x20" + bytes(32)  # of a key that is too long to stand there itself
ROOT, LEAF = CID.of(RAW, b"root"), CID.of(RAW, b"leaf")

VALID = {
    "hello": Hello(bytes(range(32)), "", ("tcp://192.0.2.1:4290",), ("zstd", "lz4"), 64, bytes(16), b"", True),
    "hello that joins": Hello(bytes(32), "", (), (), 1, b"", bytes(range(16)), False),
    "hello of who takes names": Hello(bytes(32), names=True),
    "proof of nothing": Proof(),
    "proof of both": Proof(bytes(32), bytes(64)),
    "follow": Follow(ROOT),
    "unfollow": Unfollow(ROOT),
    "have everything": Have(ROOT, (), HaveFlag.COMPLETE),
    "have, choosy": Have(ROOT, ((0, 1048576),), HaveFlag.COMPLETE | HaveFlag.CHOOSY),
    "have some": Have(ROOT, ((0, 1), (300, 1048576), (1 << 40, (1 << 40) + 5))),
    "have gained": Have(ROOT, ((7, 9),), HaveFlag.GAINED),
    "have nothing": Have(ROOT, (), HaveFlag.NOTHING),
    "want": Want(0, 1 << 20, (LEAF, ROOT), (4, None)),
    "cancel": Cancel(7),
    "choke": Choke(),
    "unchoke": Unchoke(),
    "peers": Peers(("tcp://192.0.2.1:4290", "unix:///run/w")),
    "ping": Ping(1 << 60),
    "pong": Pong(0),
    "error": Error(Fault.DENIED, "no"),
    "bye": Bye("done"),
    "resolve": Resolve(NAME),
    "resolve of a hash": Resolve(HASHED),
    "record": Record(NAME, b"record"),
    "record of nothing": Record(NAME, b""),
}


def message(kind, body, flags=0, zero=0, length=None):
    return struct.pack(">BBHI", kind, flags, zero, len(body) if length is None else length) + body


INVALID = {
    "an unknown kind": message(0, b""),
    "another unknown kind": message(18, b""),
    "flags that there are not": message(3, ROOT, flags=1),
    "bytes that must be zero": message(12, bytes(8), zero=1),
    "a body beyond its bound": message(12, b"", length=9),
    "hello without its magic": message(1, b"GET / HTTP/1.1\r\n\r\n"),
    "hello that is no map": message(1, MAGIC + b"\x80"),
    "hello without a version": message(1, MAGIC + b"\xa0"),
    "follow of no CID": message(3, bytes(36)),
    "have with a span that is cut off": message(5, ROOT + b"\x00\x80"),
    "have with half a span": message(5, ROOT + b"\x00"),
    "have with an empty span": message(5, ROOT + b"\x00\x00"),
    "have with spans that touch": message(5, ROOT + b"\x00\x01\x00\x01"),
    "have with a number longer than it need be": message(5, ROOT + b"\x80\x00\x01"),
    "have beyond any dataset": message(5, ROOT + b"\x00" + b"\xff" * 8 + b"\x7f"),
    "have of nothing, with a span": message(5, ROOT + b"\x00\x01", flags=8),
    "have that is choosy without everything": message(5, ROOT, flags=4),
    "want of nothing": message(6, bytes(8)),
    "want of half a block": message(6, bytes(8) + LEAF),
    "want of a block that is too large": message(6, bytes(8) + LEAF + struct.pack(">I", (4 << 20) + 1)),
    "want of more bytes than a batch": message(6, bytes(4) + b"\xff" * 4 + LEAF + bytes(4)),
    "cancel of half a number": message(8, b"\0\0"),
    "choke with a body": message(9, b"", length=1),
    "peers that are cut off": message(11, b"\0\x05tcp"),
    "peers of no address": message(11, b"\0\x03a b"),
    "error of an unknown kind": message(14, b"\x09"),
    "error without a kind": message(14, b""),
    "hello whose names is no truth": message(
        1, MAGIC + encode(Hello(bytes(32), names=True))[24:].replace(b"\x65names\xf5", b"\x65names\x01")
    ),
    "resolve of nothing": message(16, b""),
    "resolve of no name": message(16, b"\x13" + NAME[1:]),
    "resolve of a name that is cut off": message(16, NAME[:-1]),
    "resolve of a name and more": message(16, NAME + b"\0"),
    "resolve that has no end": message(16, b"", length=65),
    "resolve of who was not told that it may": message(16, NAME),
    "record without a name": message(17, b""),
    "record of a name that is cut off": message(17, b"\x40" + NAME),
    "record that is too large": message(17, bytes([len(NAME)]) + NAME + bytes(10241)),
    "record beyond its bound": message(17, b"", length=10306),
    "record of what nobody asked for": message(17, bytes([len(NAME)]) + NAME + b"record"),
}


def shown(value):
    if isinstance(value, CID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [shown(one) for one in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


if __name__ == "__main__":
    valid = [
        {"name": name, "kind": type(one).__name__, "fields": {key: shown(value) for key, value in one._asdict().items()},
         "bytes": encode(one).hex()}
        for name, one in VALID.items()
    ]  # fmt: skip
    blocks = [{"request": 3, "length": 100, "flags": 1, "bytes": blocks_head(3, 100, BlocksFlag.FINAL).hex()}]
    invalid = [{"why": why, "bytes": data.hex()} for why, data in INVALID.items()]
    PAGE.write_text(json.dumps({"valid": valid, "blocks": blocks, "invalid": invalid}, indent=1) + "\n")
