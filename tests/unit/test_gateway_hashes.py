"""Blocks of hashes that nothing is kept by: what the gateway says of them, wherever they lie (specs/0033 §4)."""

from __future__ import annotations

from gateways import Tree, ask, gateway

from wherry import dagcbor
from wherry.cid import DAG_CBOR, RAW
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs


async def test_a_block_of_another_hash_is_said_to_be_that_wherever_it_lies():
    tree = Tree()
    other = PublicCID.make(1, RAW, 0x1E, b"\x01" * 32)
    within = str(tree.put(dagcbor.encode([other]), DAG_CBOR))
    above = str(tree.node(unixfs.Data(unixfs.DIRECTORY), (b"leaf", other, 5)))
    async with gateway(tree.source()) as address:
        for path in (
            f"{other}?format=raw", f"{other}?format=car", f"{other}", f"{above}/leaf", f"{above}/leaf?format=raw",
            f"{above}/leaf?format=car", f"{within}/0?format=car", f"{within}/0?format=raw",
        ):  # fmt: skip
            answer = await ask(address, f"/ipfs/{path}")
            assert (answer.status, b"its hash is blake3" in answer.body) == (404, True), path
            kept = await ask(address, f"/ipfs/{path}", Cache_Control="only-if-cached")
            assert kept.status == 412, path
        page = await ask(address, f"/ipfs/{above}/")  # what lies beside it is of use
        assert (page.status, page.whole) == (200, True)
        assert not (await ask(address, f"/ipfs/{above}?format=car")).whole
        assert (await ask(address, "/ipfs/bafynone?format=raw")).status == 400
