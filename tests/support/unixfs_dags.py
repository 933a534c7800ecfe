"""UnixFS DAGs in memory, right ones and wrong ones, made by the codecs alone: what reads them is not asked how they look."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager

import mmh3
from getting import A

from wherry import dagpb
from wherry.block import Block
from wherry.cid import CID, DAG_PB, RAW
from wherry.dag.walk import Need
from wherry.dagpb import PBLink, PBNode
from wherry.publiccid import PublicCID
from wherry.testing.memory import MemoryTransport
from wherry.unixfs.data import DIRECTORY, FILE, HAMT_SHARD, SYMLINK, Data, encode
from wherry.unixfs.find import find
from wherry.unixfs.node import root_of
from wherry.unixfs.walk import UnixWalk
from wherry.unixfs.wrap import unwrap


def bucket_of(name, depth=0):
    number = int.from_bytes(mmh3.mmh3_x64_128_digest(name.encode(), 0)[:8], "little")
    return number >> (56 - 8 * depth) & 255


class Dag:
    """Blocks by the engine's CIDs; each method keeps one and gives its link ``(public CID, bytes below, Tsize)``."""

    def __init__(self, version=1):
        self.blocks = {}
        self.version = version
        self.asked = []

    def raw(self, data):
        self.blocks[CID.of(RAW, data)] = data
        return PublicCID.of(RAW, data), len(data), len(data)

    def node(self, data, links=(), size=0, *, canonical=True):
        node = PBNode(tuple(links), data if data is None or isinstance(data, bytes) else encode(data))
        block = dagpb.encode(node) if canonical else dagpb.join([dagpb.encode_link(link) for link in links], node.data)
        self.blocks[CID.of(DAG_PB, block)] = block
        cid = PublicCID.of(DAG_PB, block)
        return (
            cid if self.version else cid.to_version(0),
            size,
            min(len(block) + sum(link.tsize or 0 for link in links), 1 << 50),
        )

    def leaf(self, data, type=FILE, **fields):
        return self.node(Data(type, data, len(data), **fields), (), len(data))

    def file(self, children, inline=None, name=b"", **fields):
        sizes = tuple(size for _, size, _ in children)
        total = len(inline or b"") + sum(sizes)
        fields = {"filesize": total, "blocksizes": sizes, **fields}
        return self.node(Data(FILE, inline, **fields), [PBLink(cid, name, tsize) for cid, _, tsize in children], total)

    def directory(self, entries, **fields):
        links = [PBLink(cid, as_bytes(name), tsize) for name, (cid, _, tsize) in entries]
        return self.node(Data(DIRECTORY, **fields), links)

    def symlink(self, target):
        return self.node(Data(SYMLINK, as_bytes(target)))

    def shard(self, entries, depth=0, *, bitmap=None, fanout=256, hash_type=0x22):
        """Spreads ``entries`` as kubo does."""
        buckets = {}
        for name, child in entries:
            buckets.setdefault(bucket_of(name, depth), []).append((name, child))
        links = []
        for bucket, some in sorted(buckets.items()):
            if len(some) == 1:
                name, (cid, _, tsize) = some[0]
                links.append(PBLink(cid, b"%02X" % bucket + name.encode(), tsize))
            else:
                cid, _, tsize = self.shard(some, depth + 1)
                links.append(PBLink(cid, b"%02X" % bucket, tsize))
        used = sum(1 << bucket for bucket in buckets)
        bits = used.to_bytes((used.bit_length() + 7) // 8, "big") if bitmap is None else bitmap
        return self.node(Data(HAMT_SHARD, bits, hash_type=hash_type, fanout=fanout), links)

    # Reading

    def root(self, link):
        cid = link[0].block()
        return root_of(Block(cid, self.blocks[cid]))

    def drive(self, walk):
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                self.asked.append(step.cid)
                walk.supply(Block(step.cid, self.blocks[step.cid]))
            else:
                yield step

    def steps(self, link, **options):
        return list(self.drive(UnixWalk(self.root(link).entry, **options)))

    def find(self, link, path):
        search = find(self.root(link).entry, path)
        try:
            need = next(search)
            while True:
                self.asked.append(need.cid)
                need = search.send(Block(need.cid, self.blocks[need.cid]))
        except StopIteration as done:
            return done.value

    def read(self, link, **options):
        """The bytes of a file, put together from its leaves as anybody would."""
        out = bytearray()
        for step in self.steps(link, **options):
            if type(step).__name__ == "Leaf":
                block = step.block.data if step.block is not None else self.blocks[step.cid]
                assert hashlib.sha256(block).digest() == step.cid.digest
                out += unwrapped(block, step)
        return bytes(out)


@asynccontextmanager
async def offered(world, dag, address=A):
    """A home that holds the blocks of ``dag``, and serves them."""
    async with world.node(address.removeprefix("memory://")) as session:
        blocks = [Block(cid, data) for cid, data in dag.blocks.items()]
        session._store.nodes.put_many(blocks)
        async with MemoryTransport(world.network).listen(address, session._store):
            yield


def unwrapped(block, leaf):
    return bytes(unwrap(memoryview(block), leaf.key, leaf.size)) if leaf.key else block


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()
