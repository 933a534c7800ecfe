"""The gateway as a web seed for clients that know no padding files: `.pad/N` is N zeros (specs/0036 §2)."""

from __future__ import annotations

import pytest
from gateways import RAW_TYPE, Tree, ask, gateway

from wherry import dagcbor
from wherry.cid import DAG_CBOR
from wherry.gateway.padding import padding_bytes
from wherry.manifest import DIR, FILE, Entry, dataset_block, dir_block
from wherry.publiccid import PublicCID
from wherry.torrent.metainfo import PIECE_BYTES_MAX
from wherry.units import MiB


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ((".pad", "1"), 1),
        (("sub", "dir", ".pad", "1048575"), 1_048_575),
        ((".pad", str(PIECE_BYTES_MAX - 1)), PIECE_BYTES_MAX - 1),
        ((".pad", str(PIECE_BYTES_MAX)), None),
        ((".pad", "9" * 400), None),
        ((".pad", "0"), None),
        ((".pad", "01"), None),
        ((".pad", "-1"), None),
        ((".pad", "+1"), None),
        ((".pad", "1_0"), None),
        ((".pad", "1\n"), None),
        ((".pad", "\u0661"), None),
        ((".pad", ""), None),
        ((".pad",), None),
        (("1",), None),
        ((), None),
        ((".pad", "1", "2"), None),
        ((".Pad", "1"), None),
    ],
)
def test_what_is_a_padding_file(parts, size):
    assert padding_bytes(parts) == size


@pytest.fixture
def tree():
    return Tree()


def unixfs(tree):
    below = tree.dir(b=tree.file(b"b"))
    return str(PublicCID(tree.names({b"a": tree.file(b"a"), b"sub": below}).cid))


def native(tree):
    leaf = tree.put(b"a")
    inner = dir_block([Entry("b", FILE, leaf.block(), 1)])
    tree.blocks[inner.cid] = inner.data
    block = dir_block([Entry("a", FILE, leaf.block(), 1), Entry("sub", DIR, inner.cid, 1, 2)])
    tree.blocks[block.cid] = block.data
    root = dataset_block(Entry("", DIR, block.cid, 2, 4), {})
    tree.blocks[root.cid] = root.data
    return str(PublicCID(root.cid))


@pytest.mark.parametrize("made", [unixfs, native])
@pytest.mark.parametrize("below", ["", "sub/"])
async def test_zeros_are_given_below_a_directory(tree, made, below):
    base = f"/ipfs/{made(tree)}/{below}"
    async with gateway(tree.source()) as address:
        whole = await ask(address, f"{base}.pad/1000000")
        first = await ask(address, f"{base}.pad/1000000", Range="bytes=0-999999")
        part = await ask(address, f"{base}.pad/1000000", Range="bytes=262143-600000")
        past = await ask(address, f"{base}.pad/7", Range="bytes=7-")
        head = await ask(address, f"{base}.pad/{256 * MiB - 1}", method="HEAD")
        same = await ask(address, f"{base}.pad/7", If_None_Match='"pad-7"')
    assert (whole.status, whole.body) == (200, bytes(1_000_000))
    assert (first.status, first.body, first.headers["content-range"]) == (206, bytes(1_000_000), "bytes 0-999999/1000000")
    assert (part.status, part.body) == (206, bytes(337_858))
    assert whole.headers["content-type"] == "application/octet-stream"
    assert not {"x-ipfs-roots", "ipfs-uri", "x-ipfs-path"} & whole.headers.keys()  # nothing in the dataset is this
    assert (past.status, past.headers["content-range"]) == (416, "bytes */7")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(256 * MiB - 1))
    assert same.status == 304


async def test_nothing_else_is(tree):
    root = unixfs(tree)
    nowhere = PublicCID.of(0x70, b"not here")
    async with gateway(tree.source()) as address:
        for path in (
            f"{root}/a/.pad/5",  # below a file
            f"{root}/none/.pad/5",
            f"{root}/.pad/",
            f"{root}/.pad/5/",
            f"{root}/.pad/05",
            f"{root}/.pad/{PIECE_BYTES_MAX}",
            f"{root}/.pad/5?format=tar",
            f"{root}/.pad/5?format=car",
            f"{root}/.pad/5?format=raw",
            f"{nowhere}/.pad/5",
        ):
            assert (await ask(address, f"/ipfs/{path}")).status == 404, path
        assert (await ask(address, f"/ipfs/{root}/.pad/5", Accept=RAW_TYPE)).status == 404
        data = tree.put(dagcbor.encode({"x": [1]}), DAG_CBOR)
        assert (await ask(address, f"/ipfs/{data}/.pad/5")).status == 404
    async with gateway(tree.source(), gateway="trustless") as address:
        assert (await ask(address, f"/ipfs/{root}/.pad/5")).status == 400


async def test_a_file_that_is_there_goes_before_and_one_that_is_missing_is_not_made_up(tree):
    mine, lost = tree.file(b"mine!"), tree.file(b"lost" * 100_000, b"more")
    root = str(PublicCID(tree.dir(**{".pad": tree.dir(**{"5": mine, "9": lost})}).cid))
    del tree.blocks[lost.cid]
    async with gateway(tree.source()) as address:
        assert (await ask(address, f"/ipfs/{root}/.pad/5")).body == b"mine!"
        assert (await ask(address, f"/ipfs/{root}/.pad/9")).status == 404
        assert (await ask(address, f"/ipfs/{root}/.pad/6")).body == bytes(6)  # a torrent of it has such, too
