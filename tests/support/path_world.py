"""What the cases of a path gateway are asked of: small DAGs, built here by plain code, and names that lead to them."""

from __future__ import annotations

import json
import time

import cbor2
from gateways import Tree

from wherry import dagpb
from wherry.car import header, section_head
from wherry.cid import DAG_CBOR
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.multibase import encode_base58
from wherry.nodekey import NodeKey
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs

JSON, CBOR, DAG_JSON = 0x0200, 0x51, 0x0129
UTF8_TEXT = b"I am a file on a path with UTF-8\n"
HELLO = b"hello\n"
PERCENT = "Portugal%2C+España=Peninsula Ibérica.txt"
SIX_HOURS_NS = 6 * 3600 * 10**9


class World:
    """Blocks by public CID, and records by name."""

    def __init__(self):
        self.tree = Tree()
        self.blocks = {}
        self.records = {}
        self._listing()
        self._cached()
        self._tricky()
        self._data()
        self._orders()
        for cid, data in self.tree.blocks.items():
            self.blocks[PublicCID(cid)] = data

    def leaf(self, data):
        return self.tree.file(data)

    def block(self, codec, data):
        cid = PublicCID.of(codec, data)
        self.blocks[cid] = data
        return cid

    def name(self, seed, value):
        """Publishes a value under a key of this test; gives its name."""
        key = NodeKey(bytes([seed]) * 32)
        name = Name.of(key.public)
        self.records[str(name)] = create(key, value, 1, time.time_ns() + SIX_HOURS_NS)
        return str(name)

    def _listing(self):
        tree, raw = self.tree, self.leaf
        self.json_file = PublicCID(raw(b'{"is": "json", "in": ["a", "file"]}').cid)
        inner = tree.names({"file-źł.txt".encode(): raw(UTF8_TEXT), b"t.json": raw(b'{"is": "json", "in": ["a", "file"]}')})
        middle = tree.names({"ę".encode(): inner})
        self.root = PublicCID(tree.names({"ą".encode(): middle}).cid)
        self.text = PublicCID(raw(UTF8_TEXT).cid)
        self.pb_file = tree.node(unixfs.Data(unixfs.FILE, data=UTF8_TEXT, filesize=len(UTF8_TEXT)))
        self.pb_dir = tree.node(unixfs.Data(unixfs.DIRECTORY), (b"file.txt", self.pb_file, 40))
        self.links = PublicCID(tree.names({b"bar": tree.link(b"foo"), b"foo": raw(b"content")}).cid)
        self.ascii = b"hello from a plain ascii file.\n"
        self.files = PublicCID(tree.names({b"ascii.txt": raw(self.ascii)}).cid)

    def _cached(self):
        tree = self.tree
        page = self.leaf(HELLO)
        four = tree.names({b"index.html": page})
        three = tree.names({b"root4": four})
        two = tree.names({b"root3": three})
        one = tree.names({b"root2": two})
        self.cached = [str(PublicCID(child.cid)) for child in (one, two, three, four, page)]
        self.cached_name = self.name(1, f"/ipfs/{self.cached[0]}")
        self.cached_peer = encode_base58(bytes(PublicCID.parse(self.cached_name).multihash))
        self.inner_name = self.name(2, f"/ipfs/{self.cached[0]}/root2")

    def _tricky(self):
        tree, raw = self.tree, self.leaf
        names = {"a#b?c.txt": b"delimiters", "emoji🚀.txt": b"emoji", "plain.txt": b"plain"}
        self.tricky = PublicCID(tree.names({name.encode(): raw(data) for name, data in names.items()}).cid)
        self.nested = PublicCID(tree.names({b"sub dir": tree.names({b"file!'()*~.txt": raw(b"delims")})}).cid)
        inner = tree.names({b"b.txt": raw(b"inside")})
        rows = [(b"a", inner.cid, inner.tsize), (b"a/b.txt", raw(b"beside").cid, 6)]
        self.slashed = tree.node(unixfs.Data(unixfs.DIRECTORY), *rows)
        self.percent = PublicCID(tree.names({PERCENT.encode(): raw(b"percent")}).cid)

    def _data(self):
        def link(cid):
            return {"/": str(cid)}

        self.data = {}
        for name, codec, plain, dump in (
            ("json", DAG_JSON, JSON, lambda value: json.dumps(value, separators=(",", ":")).encode()),
            ("cbor", DAG_CBOR, CBOR, lambda value: cbor2.dumps(_tagged(value))),
        ):
            last = self.block(codec, dump({"hello": "this is not a link"}))
            middle = self.block(codec, dump({"bar": link(last)}))
            value = {"foo": {"link": link(middle)}}
            root = self.block(codec, dump(value))
            as_is = b'{ "test": "plain",\n "n": [1, 2] }' if name == "json" else cbor2.dumps({"n": [1, 2], "test": "plain"})
            upgradable = b'{"b": 1, "a": [true, null]}' if name == "json" else cbor2.dumps({"a": [True, None], "b": 1})
            self.data[name] = {
                "root": root, "value": value, "plain": self.block(plain, as_is), "up": self.block(plain, upgradable),
                "up_value": {"a": [True, None], "b": 1}, "name": self.name(3 + (name == "cbor"), f"/ipfs/{root}"),
            }  # fmt: skip

    def _orders(self):
        leaf = PublicCID(self.leaf(HELLO).cid)
        folder = unixfs.encode(unixfs.Data(unixfs.DIRECTORY))
        bits = (1 << 0xDF).to_bytes(28, "big")
        shard = unixfs.encode(unixfs.Data(unixfs.HAMT_SHARD, data=bits, hash_type=0x22, fanout=256))
        self.orders = {}
        for kind, name, message in (("Directory", b"hello.txt", folder), ("HAMTShard", b"DFhello.txt", shard)):
            row = dagpb.encode_link(dagpb.PBLink(leaf, name, 6))
            links = dagpb.join([row], None)
            whole = dagpb.join([row], message)
            data = whole[len(links) :]
            assert links + data == whole
            self.orders[f"{kind} with Links before Data field"] = self.block(0x70, whole)
            self.orders[f"{kind} with Data field before Links"] = self.block(0x70, data + links)

    def car(self):
        """All blocks as one CAR."""
        rows = [section_head(cid, len(data)) + data for cid, data in self.blocks.items() if cid.inline is None]
        return header([self.root, self.tricky, self.nested, self.percent]) + b"".join(rows)


def _tagged(value):
    if isinstance(value, dict):
        if list(value) == ["/"]:
            return cbor2.CBORTag(42, b"\0" + bytes(PublicCID.parse(value["/"])))
        return {key: _tagged(inner) for key, inner in sorted(value.items(), key=lambda item: (len(item[0]), item[0]))}
    return value
