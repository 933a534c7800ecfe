"""DAGs that are large, deep, doubled, cut or wrong, as the gateway walks, lists and sends them."""

from __future__ import annotations

from functools import partial

import pytest
from gateways import Tree, ask, gateway

from wherry import dagcbor
from wherry.block import Block
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import LimitExceeded, WherryError
from wherry.gateway import order
from wherry.gateway.blocks import Blocks
from wherry.gateway.files import listing, look
from wherry.gateway.order import Walk, resolve
from wherry.gateway.request import CarWish
from wherry.limits import GATEWAY_READS_MAX
from wherry.publiccid import PublicCID
from wherry.unixfs.data import FILE as UNIXFS_FILE
from wherry.unixfs.data import HAMT_SHARD, Data

# A large directory


def test_a_large_directory_is_listed_page_by_page_from_few_blocks():
    tree = Tree()
    child = tree.file(b"x")
    names = [f"file-{number:05}" for number in range(20_000)]
    root = PublicCID(tree.names(dict.fromkeys([name.encode() for name in names], child)).cid)
    assert sum(cid.codec == DAG_PB for cid in tree.blocks) > 100
    seen, after, pages = [], "", 0
    while True:
        blocks = Blocks(tree.source(), GATEWAY_READS_MAX)
        page = listing(blocks, look(blocks, root, ()), after)
        assert len(page.rows) <= 1000
        assert GATEWAY_READS_MAX - blocks._left < 400  # of those of the whole
        seen += [row.name for row in page.rows]
        pages += 1
        if not page.more:
            break
        after = page.more
    assert pages == 20
    assert sorted(seen) == sorted(names)


# Hostile DAGs


def walked(tree, cid, **more):
    return [sent.cid for sent in Walk(Blocks(tree.source()), CarWish(**more)).blocks(resolve(Blocks(tree.source()), cid, ()))]


def test_a_dag_that_doubles_at_each_level_costs_its_blocks():
    tree = Tree()
    size, at = 1, tree.put(b"x")
    for _ in range(60):
        size *= 2
        at = tree.node(Data(UNIXFS_FILE, None, size, (size // 2, size // 2)), (b"", at, 1), (b"", at, 1))
    for scope in ("all", "entity"):
        assert len(walked(tree, at, scope=scope)) == 61


def test_so_does_one_that_first_fills_the_memory_of_a_walk(monkeypatch):
    monkeypatch.setattr(order, "Seen", partial(order.Seen, 200))
    tree = Tree()
    at = tree.put(dagcbor.encode([]), DAG_CBOR)
    for _ in range(60):
        at = tree.put(dagcbor.encode([at, at]), DAG_CBOR)
    many = [tree.put(dagcbor.encode([number]), DAG_CBOR) for number in range(300)]
    root = tree.put(dagcbor.encode([*many, at]), DAG_CBOR)
    assert len(walked(tree, root)) == 1 + 300 + 61


def test_a_walk_remembers_all_that_it_may_and_then_the_last():
    seen = order.Seen(10)
    assert [seen.add(bytes([number % 10])) for number in range(20)] == [True] * 10 + [False] * 10
    assert seen.add(b"more")
    for number in range(100):
        seen.add(bytes([number + 10]))
        assert sum(bytes([last + 10]) in seen for last in range(number + 1)) >= min(number + 1, 5)
        assert len(seen._new) + len(seen._old) <= 10


def test_a_deep_chain_is_walked_without_recursion():
    tree = Tree()
    at = tree.put(b"x")
    for _ in range(5000):
        at = tree.node(Data(UNIXFS_FILE, None, 1, (1,)), (b"", at, 1))
    assert len(walked(tree, at)) == 5001


@pytest.mark.parametrize("fanout", [0, 3, 7, 12, 2048, 2**60])
def test_a_shard_of_a_bad_fanout_is_refused(fanout):
    tree = Tree()
    at = tree.node(Data(HAMT_SHARD, b"\x01", hash_type=0x22, fanout=fanout), (b"00x", tree.put(b"x"), 1))
    for what in (lambda: resolve(Blocks(tree.source()), at, ("x",)), lambda: look(Blocks(tree.source()), at, ())):
        with pytest.raises(WherryError):
            what()


@pytest.mark.parametrize("name", [b" 1x", b"+1x", b"1_x", b"0xx", b"0ax"])
def test_a_bucket_that_is_not_written_in_two_digits_is_refused(name):
    tree = Tree()
    at = tree.node(Data(HAMT_SHARD, b"\x02", hash_type=0x22, fanout=256), (name, tree.put(b"x"), 1))
    with pytest.raises(WherryError, match="order of its buckets"):
        look(Blocks(tree.source()), at, ())


def test_shards_deeper_than_a_hash_are_refused():
    tree = Tree()
    wanted = "name"
    at = tree.put(b"x")
    from wherry.gateway.nodes import name_hash  # the bomb is made to measure: a shard in each bucket of this name

    bits = name_hash(wanted.encode())
    for level in reversed(range(30)):
        bucket = bits >> max(61 - 3 * level, 0) & 7
        at = tree.node(Data(HAMT_SHARD, bytes([1 << bucket]), hash_type=0x22, fanout=8), (b"%X" % bucket, at, 1))
    with pytest.raises(LimitExceeded):
        resolve(Blocks(tree.source()), at, (wanted,))
    blocks = Blocks(tree.source(), 1000)
    with pytest.raises(LimitExceeded):
        listing(blocks, look(blocks, at, ()), "")


def test_a_listing_of_nothing_but_shards_reads_no_more_than_it_may():
    tree = Tree()
    at = tree.node(Data(HAMT_SHARD, b"", hash_type=0x22, fanout=8))
    for _ in range(18):  # 8**18 empty shards, of 19 blocks
        at = tree.node(Data(HAMT_SHARD, b"\xff", hash_type=0x22, fanout=8), *[(b"%X" % bucket, at, 1) for bucket in range(8)])
    blocks = Blocks(tree.source(), GATEWAY_READS_MAX)
    with pytest.raises(LimitExceeded):
        listing(blocks, look(blocks, at, ()), "")


@pytest.mark.parametrize(
    "make",
    [
        lambda tree: tree.node(Data(UNIXFS_FILE, None, 9, (9,)), (b"", tree.put(b"abc"), 3)),  # a leaf shorter than listed
        lambda tree: tree.node(Data(UNIXFS_FILE, None, 6, (3, 3)), (b"", tree.put(b"abc"), 3), (b"", CID.of(RAW, b"no"), 3)),
        lambda tree: tree.node(
            Data(UNIXFS_FILE, None, 8, (8,)), (b"", tree.node(Data(UNIXFS_FILE, b"abc", 3)), 3)
        ),  # a node that is smaller than its parent says
    ],
)
async def test_a_file_that_lies_or_lacks_a_block_never_ends_well(make):
    tree = Tree()
    at = make(tree)
    async with gateway(tree.source()) as address:
        answer = await ask(address, f"/ipfs/{at}")
        assert answer.status != 200 or not answer.whole


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\x0a\x02\x08\x01\x0a\x00", b"\x12\x03\x0a\x01\x00", b"\x0a\x02\x08\x09"])
async def test_a_malformed_node_is_a_path_that_does_not_resolve(data):
    tree = Tree()
    at = tree.put(data, DAG_PB)
    async with gateway(tree.source()) as address:
        for query in ("/x", "/x?format=car", "/"):
            assert (await ask(address, f"/ipfs/{at}{query}")).status == 404
        assert (await ask(address, f"/ipfs/{at}?format=raw")).body == data


async def test_a_damaged_node_is_not_decoded():
    tree = Tree()
    at = PublicCID(tree.dir(a=tree.file(b"x")).cid)
    tree.blocks[at.block()] = tree.blocks[Block(at.block(), b"").cid][:-1] + b"\0"
    async with gateway(tree.source()) as address:
        assert (await ask(address, f"/ipfs/{at}/a?format=car")).status == 404
