"""What the page of a directory says of its entries, how it is written for browsers, and what lies beside all pages."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing

import pytest
from gateways import Records, Tree, ask, gateway

from wherry import dagpb
from wherry.block import Block
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.dag.build import DirBuilder
from wherry.errors import DecodeError, IntegrityError
from wherry.gateway import rows
from wherry.gateway.blocks import Blocks, ReadsMany
from wherry.gateway.files import listing, look
from wherry.manifest import DIR, FILE, Entry, dir_block
from wherry.publiccid import PublicCID
from wherry.store.store import Store
from wherry.transfer.node import Holdings
from wherry.unixfs import data as unixfs
from wherry.unixfs.data import DIRECTORY, SYMLINK, Data
from wherry.unixfs.data import FILE as UNIXFS_FILE

PAGE = {"Sec_Fetch_Site": "cross-site"}
ROW = re.compile(r'<tr><td class="l">(.*?)</td><td>(.*?)</td><td class="n">(.*?)</td>')


def shown(page):
    """The rows of a page: name, link, kind, size."""
    found = []
    for name, kind, size in ROW.findall(page):
        link = re.search(r'href="([^"]*)"', name)
        found.append((re.sub("<[^>]*>", "", name), link and link[1], kind, size))
    return found


@pytest.fixture
def mixed():
    """A tree with a directory that has all kinds, and what one is to see of it."""
    tree = Tree()
    large = tree.names({b"file-%05d" % number: tree.file(b"x") for number in range(6000)})
    assert unixfs.decode(dagpb.inner(tree.blocks[CID(large.cid)])).type == unixfs.HAMT_SHARD
    gone = tree.file(b"a" * 300, b"b" * 300)
    entries = {
        b"dir": tree.dir(a=tree.file(b"a")), b"empty": tree.dir(), b"gone": gone, b"large": large, b"leaf": tree.file(b"hello"),
        b"link": tree.link(b"leaf"), b"two": tree.file(b"a" * 1000, b"b" * 24),
    }  # fmt: skip
    del tree.blocks[CID(gone.cid)]
    links = [(name, PublicCID(child.cid), child.tsize) for name, child in entries.items()]
    links += [(b"cbor", tree.put(b"\xa1\x61a\x01", DAG_CBOR), 4), (b"wrong", tree.put(b"\xff\xff", 0x70), 5)]
    expected = [
        ("cbor", "./cbor", "data", ""), ("dir", "./dir/", "directory", ""), ("empty", "./empty/", "directory", ""),
        ("gone", "./gone", "unknown", ""), ("large", "./large/", "directory", ""), ("leaf", "./leaf", "file", "5 B"),
        ("link", "./link", "symlink", "4 B"), ("two", "./two", "file", "1.0 KiB"), ("wrong", "./wrong", "unknown", ""),
    ]  # fmt: skip
    return tree, tree.node(Data(DIRECTORY), *links), gone, expected


class Counting(Records):
    """Counts the blocks that are looked up and read together; one of them may be damaged."""

    def __init__(self, blocks, *, damaged=False):
        super().__init__(blocks)
        self.asked, self.read, self.damaged = 0, 0, damaged

    def find(self, cids):
        self.asked += 1
        return super().find(cids)

    def small_blocks(self, cids):
        if self.damaged:
            raise IntegrityError("one is damaged")
        self.read += len(cids)
        return {cid: Block(cid, self.blocks[cid]) for cid in cids if cid in self.blocks}


# Kinds and sizes


@pytest.mark.parametrize("source", [Records, Counting, lambda blocks: Counting(blocks, damaged=True)])
async def test_a_page_says_what_each_entry_is(mixed, source):
    tree, root, _, expected = mixed
    async with gateway(source(tree.blocks)) as address:
        page = (await ask(address, f"/ipfs/{root}/")).body.decode()
        assert shown(page) == expected
        assert "Unknown: " in page
        assert (await ask(address, f"/ipfs/{root}/large")).status == 301  # which nobody is sent over any more
        assert "Unknown: " not in (await ask(address, f"/ipfs/{root}/dir/")).body.decode()


async def test_a_page_that_does_not_know_all_is_asked_for_again(mixed):
    tree, root, gone, _ = mixed
    source = tree.source()
    async with gateway(source) as address:
        first = await ask(address, f"/ipfs/{root}/")
        assert first.headers["cache-control"] == "no-cache"
        tag = first.headers["etag"]
        assert (await ask(address, f"/ipfs/{root}/", If_None_Match=tag)).status == 304
        assert (await ask(address, f"/ipfs/{root}/", If_Match=tag)).status == 200
        tree.file(b"a" * 300, b"b" * 300)
        source.blocks.update(tree.blocks)
        assert CID(gone.cid) in source.blocks
        second = await ask(address, f"/ipfs/{root}/", If_None_Match=tag)
        assert second.status == 200
        assert ("gone", "./gone", "file", "600 B") in shown(second.body.decode())
        assert (await ask(address, f"/ipfs/{root}/", If_Match=tag)).status == 412
        whole = await ask(address, f"/ipfs/{PublicCID(tree.dir(a=tree.file(b'a')).cid)}/")
        assert "max-age=604800" in whole.headers["cache-control"]


def test_the_entries_of_a_page_are_looked_up_together_and_read_within_bounds(monkeypatch):
    tree = Tree()
    nodes = [tree.node(Data(UNIXFS_FILE, b"%d" % number + bytes(number * 50))) for number in range(600)]
    root = tree.node(Data(DIRECTORY), *[(b"%04d" % number, cid, 7) for number, cid in enumerate(nodes)])
    source = Counting(tree.blocks)
    found = listing(Blocks(source), look(Blocks(source), root, ()), "").rows
    assert [row.size for row in found] == [len(b"%d" % number) + number * 50 for number in range(600)]
    assert source.asked < 10
    assert source.read == 600
    source.read = 0
    monkeypatch.setattr(rows, "GATEWAY_KINDS_BYTES_MAX", 1_000_000)
    found = listing(Blocks(source), look(Blocks(source), root, ()), "").rows
    known = [row.kind == "file" for row in found]
    assert known == sorted(known, reverse=True)  # the smallest, which here are the first
    assert 195 < sum(known) < 205
    assert source.read == sum(known)
    assert {row.size for row in found if not row.kind} == {None}


def test_what_a_node_holds_is_read_many_at_a_time(tmp_path, mixed, monkeypatch):
    tree, root, _, _ = mixed
    with closing(Store(tmp_path, None)) as store:
        store.nodes.put_many([Block(cid, data) for cid, data in tree.blocks.items()])
        source = Holdings(store)
        assert isinstance(source, ReadsMany)
        monkeypatch.setattr(Blocks, "read", None)  # nothing is left to be read by itself
        found = rows._told(Blocks(source), [PublicCID(cid) for cid in tree.blocks if cid.codec == DAG_PB])
    assert found[root] == ("dir", None)
    assert sum(kind == "link" for kind, _ in found.values()) == 1


def test_what_a_block_stands_for_is_read_without_its_links():
    tree = Tree()
    leaf = PublicCID(CID.from_digest(RAW, hashlib.sha256().digest()))
    for names, size in ((0, 3), (1, 3), (255, 3), (256, 3), (1000, 3), (1000, 300)):
        links = [(b"n" * (at % 3 if size == 3 else 0), leaf, size) for at in range(names)]
        if size == 300:
            links.append((b"n" * 200, leaf, size))
        cid = tree.node(Data(DIRECTORY), *links)
        assert rows.kind_and_size(tree.blocks[cid.block()]) == ("dir", None)
    pieces = (1000,) * 700
    cid = tree.node(Data(UNIXFS_FILE, None, 700_000, pieces), *[(b"", leaf, 1000)] * 700)
    assert rows.kind_and_size(tree.blocks[cid.block()]) == ("file", 700_000)
    for data, expected in (
        (Data(UNIXFS_FILE, b"abc"), ("file", 3)), (Data(SYMLINK, b"abc"), ("link", 3)), (Data(UNIXFS_FILE), ("file", 0)),
        (Data(unixfs.RAW_LEAF, b"ab", 2), ("file", 2)), (Data(unixfs.METADATA), ("", None)),
        (Data(9), ("", None)),
    ):  # fmt: skip
        assert rows.kind_and_size(dagpb.join([], unixfs.encode(data))) == expected


@pytest.mark.parametrize(
    "block", [b"", b"\x12", b"\x12\x05ab", b"\x12\x80", b"\x1a\x00", b"\x0a\x05", b"\x0a\x00", b"\x0a\x01\x08"]
)
def test_a_block_that_tells_nothing_is_refused(block):
    with pytest.raises(DecodeError):
        rows.kind_and_size(block)


@pytest.mark.parametrize("block", [b"\x12", b"\x12\x05ab", b"\x12\x01a\x12\x01", b"\x12\x80\x01a", b"\x0a\x05a"])
def test_a_node_that_is_cut_off_is_not_taken_for_one_without_data(block):
    with pytest.raises(DecodeError):
        dagpb.inner(block)


# Where one is


async def test_a_page_says_where_in_the_whole_it_is():
    tree = Tree()
    child = tree.file(b"x")
    hamt = PublicCID(tree.names({b"file-%05d" % number: child for number in range(6000)}).cid)
    flat = tree.node(Data(DIRECTORY), *[(b"%04d" % number, PublicCID(child.cid), 1) for number in range(2300)])
    async with gateway(tree.source()) as address:
        far, at, pages = [], f"/ipfs/{hamt}/", 0
        while at:
            page = (await ask(address, at)).body.decode()
            assert "This directory is sharded: its entries come in the order of the hashes of their names." in page
            far += [int(one) for one in re.findall(r"About (\d+)% of them come before", page)]
            more = re.search(r'rel="next" href="([^"]*)"', page)
            at = more and f"/ipfs/{hamt}/{more[1]}"
            pages += 1
        assert pages == 6
        assert all(abs(one - 100 * (number + 1) / 6) < 5 for number, one in enumerate(far))
        for query, words in (("", "1 to 1,000"), ("?after=0999", "1,001 to 2,000"), ("?after=1999", "2,001 to 2,300")):
            page = (await ask(address, f"/ipfs/{flat}/{query}")).body.decode()
            assert f"Entries {words} of 2,300, in the order of their names." in page


async def test_a_page_of_a_dataset_does_not_take_what_lies_below_for_its_entries():
    """Nodes of a directory that is cut count the files in its directories, too: numbers from there would be wrong."""
    tree = Tree()
    below = dir_block([Entry(name, FILE, CID.of(RAW, b"x"), 1) for name in ("a", "b")])
    tree.emit(below)
    builder = DirBuilder(tree.emit)
    for number in range(2300):
        builder.add(Entry(f"{number:04}", DIR, below.cid, 2, 3))
    root = PublicCID(builder.finish())
    async with gateway(tree.source()) as address:
        for query in ("", "?after=0999", "?after=1999"):
            page = (await ask(address, f"/ipfs/{root}/{query}")).body.decode()
            assert "<p>The entries come in the order of their names.</p>" in page
            assert not re.search("Entries [0-9]", page)
            assert len(shown(page)) == (300 if "1999" in query else 1000)
        few = (await ask(address, f"/ipfs/{PublicCID(below.cid)}/")).body.decode()
    assert "in the order of" not in few


async def test_a_block_that_is_too_large_for_a_node_is_not_read_for_a_page(monkeypatch):
    tree = Tree()
    root = tree.node(Data(DIRECTORY), (b"large", PublicCID(tree.put(tree.blocks[CID(tree.file(b"a", b"b").cid)], DAG_PB)), 1))
    monkeypatch.setattr(rows, "PB_BYTES_MAX", 10)
    async with gateway(tree.source()) as address:
        page = (await ask(address, f"/ipfs/{root}/")).body.decode()
    assert shown(page) == [("large", "./large", "unknown", "")]


# How it is written


async def test_a_page_fits_a_phone_and_has_no_empty_landmark(mixed):
    tree, root, _, _ = mixed
    async with gateway(tree.source()) as address:
        page = (await ask(address, f"/ipfs/{root}/")).body.decode()
    style = re.search("<style>(.*?)</style>", page)[1]
    breaking = re.findall(r"([^{}]*)\{overflow-wrap:anywhere\}", style)
    assert breaking == ["h1,li,p,td.l,td.c,code"]  # never what is a word: a kind, a size
    assert "@media(max-width:" in style
    assert "color-scheme:light dark" in style
    assert page.count("<nav ") == 1
    assert 'aria-label="Pages"' not in page
    assert not re.search(r"<p>\s*</p>", page)


# Beside all pages


@pytest.mark.parametrize("kind", ["path", "trustless"])
async def test_the_front_page_says_what_this_is(mixed, kind):
    tree, _, _, _ = mixed
    async with gateway(tree.source(), gateway=kind) as address:
        for sent in ({}, PAGE):
            front = await ask(address, "/", **sent)
            assert (front.status, front.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert front.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in front.headers["content-security-policy"]
            assert "access-control-allow-origin" not in front.headers
            for word in (b"wherry", b"/ipfs/CID", b"/ipns/NAME"):
                assert word in front.body
        assert (await ask(address, "/", method="HEAD")).body == b""
        assert (await ask(address, "/", Origin="https://evil.example")).status == 403
        assert (await ask(address, "/", method="POST")).status == 405


@pytest.mark.parametrize("path", ["/favicon.ico", "/robots.txt", "/ipfs", "/x/y", "/%2e%2e/etc/passwd"])
async def test_where_nothing_is_that_is_said_safely(mixed, path):
    tree, _, _, _ = mixed
    async with gateway(tree.source()) as address:
        for sent in ({}, PAGE, {"Sec_Fetch_Site": "same-origin"}):
            answer = await ask(address, path, **sent)
            assert (answer.status, answer.body) == (404, b"nothing is here; ask for /ipfs/CID or /ipns/NAME\n")
            assert answer.headers["content-type"].startswith("text/plain")


async def test_no_refusal_is_made_anything_of(mixed):
    tree, root, _, _ = mixed
    for options in ({}, {"token": "secret"}, {"gateway": "off"}):
        async with gateway(tree.source(), **options) as address:
            for path, sent in (
                ("/", {"Origin": "https://evil.example"}), ("/wherry/v1", PAGE), ("/nothing", {}), ("/", {"method": "POST"}),
                (f"/ipfs/{root}/none", {}), ("/ipfs/nonsense", {}), ("/wherry/v1/blocks", {"method": "POST"}),
                ("/", {"Expect": "a miracle"}), (f"/ipfs/{root}", {"Expect": "a miracle"}),
            ):  # fmt: skip
                answer = await ask(address, path, **sent)
                assert answer.status >= 400
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["server"] == "wherry"  # and nothing of versions
