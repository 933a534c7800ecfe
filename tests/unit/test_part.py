"""What a running get gives on: leaves that it has written, made again where they are sealed."""

from __future__ import annotations

import os
import random

import pytest

from wherry.block import EMPTY_LEAF
from wherry.cid import CID, DAG_PB, RAW
from wherry.errors import SourceChanged
from wherry.manifest import FILE, PLAIN, Entry
from wherry.sealing.seal import Scheme
from wherry.transfer.part import PartSource
from wherry.transfer.sink import Piece, Slot
from wherry.transfer.target import Target
from wherry.unixfs.wrap import Wrapping, wrapping
from wherry.wiring import Wiring

SIZE = 100_000


@pytest.fixture(params=["encrypted", "unixfs"])
def sealed(request, tmp_path):
    """How leaves are sealed, a key for one, and the codec of its block."""
    if request.param == "encrypted":
        return Wiring(tmp_path, None, {}).sealings.of(Scheme("xchacha20poly1305")), bytes(32), RAW
    return Wrapping(), wrapping(SIZE, 2), DAG_PB


def test_a_sealed_leaf_goes_out_only_if_it_is_what_it_was(tmp_path, sealed):
    sealing, key, codec = sealed
    plain = random.Random(1).randbytes(SIZE)
    block = bytes(sealing.seal_leaf(plain, key, 0, final=True))
    cid = CID.of(codec, block)
    target = Target(str(tmp_path / "target"), Entry("", FILE, EMPTY_LEAF, SIZE, 1), {"cid": "bafy", "selection": ""})
    try:
        with open(target.part, "wb") as file:
            file.write(plain)
        part = PartSource(cid, target, None, sealing, lambda cid: None)
        part.gained([[Piece(Slot("", cid, SIZE, PLAIN, 0, SIZE, key), cid, 0, SIZE, key)]])
        (held,) = part.find([cid])
        view = memoryview(bytearray(held.size))
        held.read_into(view)
        assert bytes(view) == block
        with open(target.part, "r+b") as file:
            file.seek(SIZE // 2)
            file.write(bytes([plain[SIZE // 2] ^ 1]))
        with pytest.raises(SourceChanged, match=str(cid)):
            held.read_into(view)
        os.truncate(target.part, SIZE - 1)
        with pytest.raises(SourceChanged):
            held.read_into(view)
    finally:
        target.close()
