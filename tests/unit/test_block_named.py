"""An error of decoding names the block that it is about, wherever that block is read."""

from __future__ import annotations

import pytest

from wherry import dagcbor, ipld
from wherry.block import Block
from wherry.car import header, section_head
from wherry.cid import CID, DAG_CBOR, DAG_PB
from wherry.errors import DataError, DecodeError, LimitExceeded
from wherry.gateway.nodes import links, view
from wherry.ipld import DAG_JSON
from wherry.publiccid import PublicCID
from wherry.session import Session

UNSORTED = bytes.fromhex("a2 6162 01 6161 02")  # {"b": 1, "a": 2}
MALFORMED = {
    "unsorted keys": (DAG_CBOR, UNSORTED),
    "a float of 16 bits": (DAG_CBOR, bytes.fromhex("f93e00")),
    "tag 0": (DAG_CBOR, bytes.fromhex("c06161")),
    "undefined": (DAG_CBOR, bytes.fromhex("f7")),
    "a list that does not end": (DAG_JSON, b"[1"),
    "a field that does not end": (DAG_PB, b"\x0a\x03\x08\x01"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_who_reads_a_block_is_told_which(what):
    codec, data = MALFORMED[what]
    cid = PublicCID.of(codec, data)
    for read in (ipld.read_block, links, *((view,) if codec == DAG_PB else ())):
        with pytest.raises(DecodeError) as caught:
            read(cid, data)
        assert caught.value.message.startswith(f"block {cid}: ")
        assert caught.value.message.count(str(cid)) == 1


def test_the_kind_of_the_error_stays():
    deep = b"\x81" * 70 + b"\x01"
    cid = PublicCID.of(DAG_CBOR, deep)
    with pytest.raises(LimitExceeded, match=f"block {cid}: "):
        ipld.read_block(cid, deep)


@pytest.mark.parametrize("data", [b"\xa2\x66wherry\x65dir/1\x61a\x02", b"\xa1\x66wherry\x65dir/1", b"\xa0"])
def test_a_node_of_a_manifest_is_named(data):
    from wherry.manifest import decode

    cid = CID.of(DAG_CBOR, data)
    with pytest.raises(DataError) as caught:
        decode(Block(cid, data))
    assert caught.value.message.startswith(f"block {cid}")
    assert caught.value.message.count(str(cid)) == 1


async def test_the_verbs_say_which_block_it_is_and_how_its_bytes_are_had(tmp_path):
    bad = PublicCID.of(DAG_CBOR, UNSORTED)
    data = dagcbor.encode({"to": bad})
    root = PublicCID.of(DAG_CBOR, data)
    (tmp_path / "x.car").write_bytes(
        header([root]) + section_head(root, len(data)) + data + section_head(bad, len(UNSORTED)) + UNSORTED
    )
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        (found,) = (await session.import_car(str(tmp_path / "x.car"))).roots
        assert found.malformed
        assert found.missing.startswith(f"block {bad}: DAG-CBOR: ")
        for verb, what in ((session.dag_get, f"{root}/to"), (session.dag_get, f"{bad}/a"), (session.dag_ls, f"{root}/to")):
            with pytest.raises(DecodeError, match=f"block {bad}: DAG-CBOR: ") as caught:
                await verb(what)
            assert "--output-codec raw" in caught.value.hint
        assert (await session.dag_get(f"{root}/to", codec="raw")).data == UNSORTED
        with pytest.raises(DecodeError, match=f"block {bad}"):
            await session.get(str(bad), output=str(tmp_path / "got"))
