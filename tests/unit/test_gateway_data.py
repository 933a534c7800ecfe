"""Archives and data of the path gateway: what is in them, hostile ones, and their bounds (specs/0033 §12, §13)."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from gateways import Tree, ask, gateway

from wherry import dagcbor
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.gateway.data import shape_of
from wherry.limits import TREE_DEPTH_MAX
from wherry.manifest import DIR, FILE, LINK, Attrs, Entry, dataset_block, dir_block
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs

DAG_JSON = 0x0129


def opened(body):
    """The members of an archive: name, type, mode, bytes or target."""
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return [
            (one.name, one.type, one.mode, archive.extractfile(one).read() if one.isreg() else one.linkname)
            for one in archive.getmembers()
        ]


async def test_an_archive_has_everything_under_one_name():
    tree = Tree()
    large = tree.file(b"a" * 300_000, b"b" * 300_000, b"c" * 10)
    many = tree.names({f"{number:05}".encode() + b"n" * 245: tree.file(b"x") for number in range(900)})
    long = "ä" * 120
    root = tree.names(
        {b"large": large, b"link": tree.link(b"large"), b"empty": tree.file(b""), long.encode(): tree.dir(), b"many": many}
    )
    cid = str(PublicCID(root.cid))
    async with gateway(tree.source()) as address:
        answer = await ask(address, f"/ipfs/{cid}?format=tar")
        again = await ask(address, f"/ipfs/{cid}?format=tar", version="1.0")
        below = await ask(address, f"/ipfs/{cid}/large?format=tar")
        head = await ask(address, f"/ipfs/{cid}?format=tar", method="HEAD")
        same = await ask(address, f"/ipfs/{cid}?format=tar", If_None_Match=answer.headers["etag"])
        sent = await ask(address, f"/ipfs/{cid}?format=tar", Range="bytes=1-2")
        liked = await ask(address, f"/ipfs/{cid}", Accept="application/x-tar")
    assert answer.whole
    assert answer.body == again.body == sent.body == liked.body
    assert liked.headers["content-location"] == f"/ipfs/{cid}?format=tar"
    assert len(answer.body) % 512 == 0
    found = {name: rest for name, *rest in opened(answer.body)}
    assert found.pop(cid) == [tarfile.DIRTYPE, 0o755, ""]
    assert found.pop(f"{cid}/large") == [tarfile.REGTYPE, 0o644, b"a" * 300_000 + b"b" * 300_000 + b"c" * 10]
    assert found.pop(f"{cid}/link") == [tarfile.SYMTYPE, 0o644, "large"]
    assert found.pop(f"{cid}/empty") == [tarfile.REGTYPE, 0o644, b""]
    assert found.pop(f"{cid}/{long}")[0] == tarfile.DIRTYPE
    assert found.pop(f"{cid}/many")[0] == tarfile.DIRTYPE
    assert {rest[2] for rest in found.values()} == {b"x"}
    assert len(found) == 900
    inner = str(PublicCID(large.cid))
    assert [name for name, *_ in opened(below.body)] == [inner]
    assert below.headers["content-disposition"] == f'attachment; filename="{inner}.tar"'
    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", "application/x-tar")
    assert (same.status, same.body) == (304, b"")


async def test_an_archive_of_a_dataset_of_wherrys_own():
    tree = Tree()
    leaf = CID.of(RAW, b"native")
    tree.blocks[leaf] = b"native"
    run = Entry("run", FILE, leaf, 6, attrs=Attrs(executable=True, mtime=(1_700_000_000, 5)))
    inner = dir_block([Entry("b.txt", FILE, leaf, 6), Entry("l", LINK, target="b.txt")])
    top = dir_block([Entry("d", DIR, inner.cid, 6, 3), run])
    root = dataset_block(Entry("", DIR, top.cid, 12, 5), {})
    for block in (inner, top, root):
        tree.emit(block)
    async with gateway(tree.source()) as address:
        answer = await ask(address, f"/ipfs/{root.cid}?format=tar")
    name = str(PublicCID(top.cid))
    assert opened(answer.body) == [
        (name, tarfile.DIRTYPE, 0o755, ""),
        (f"{name}/d", tarfile.DIRTYPE, 0o755, ""),
        (f"{name}/d/b.txt", tarfile.REGTYPE, 0o644, b"native"),
        (f"{name}/d/l", tarfile.SYMTYPE, 0o644, "b.txt"),
        (f"{name}/run", tarfile.REGTYPE, 0o755, b"native"),
    ]


def directory(tree, *rows):
    return tree.node(unixfs.Data(unixfs.DIRECTORY), *rows)


def before(tree):
    """So much that an archive begins before what lies behind it is looked at."""
    data = bytes(20_000)
    leaf = tree.put(data)
    return directory(tree, *[(b"%02d" % number, leaf, len(data)) for number in range(20)])


@pytest.mark.parametrize(
    "name", [b"..", b".", b"", b"a/../../b", b"/etc/passwd", b"a/b", b"a\\..\\..\\b", b"x\0y", b"\xff\xfe"]
)
async def test_a_name_that_leads_elsewhere_ends_the_archive(name):
    tree = Tree()
    good, bad = tree.put(b"good"), tree.put(b"bad")
    root = directory(tree, (b"0-good", good, 4), (name, bad, 3))
    many = before(tree)
    late = directory(tree, (b"0", many, 0), (b"1", directory(tree, (name, bad, 3)), 0))
    async with gateway(tree.source()) as address:
        refused = await ask(address, f"/ipfs/{root}?format=tar")  # it is seen before the archive begins
        assert (refused.status, refused.headers["content-type"]) == (404, "text/plain; charset=utf-8")
        answer = await ask(address, f"/ipfs/{late}?format=tar")
        assert answer.status == 200
        assert not answer.whole
        assert b"bad" not in answer.body
        assert (await ask(address, "/ipfs/bafkqaaa?format=raw")).status == 200  # and the server goes on


async def test_what_is_missing_lies_or_nests_too_deep_ends_the_archive():
    tree = Tree()
    absent = PublicCID(CID.of(RAW, b"absent"))
    deep = directory(tree)
    for _ in range(TREE_DEPTH_MAX + 2):
        deep = directory(tree, (b"d", deep, 0))
    leaf = tree.put(b"four")
    liar = tree.node(unixfs.Data(unixfs.FILE, filesize=9, blocksizes=(9,)), (b"", leaf, 4))
    data = tree.put(dagcbor.encode({"some": "data"}), DAG_CBOR)
    wrong = (absent, deep, liar, data)
    many = before(tree)
    roots = [directory(tree, (b"x", what, 0)) for what in wrong]
    behind = [directory(tree, (b"0", many, 0), (b"1", root, 0)) for root in roots]
    async with gateway(tree.source()) as address:
        for root, late in zip(roots, behind, strict=True):
            answer = await ask(address, f"/ipfs/{root}?format=tar")
            assert (answer.status, answer.whole) == (404, True), root
            answer = await ask(address, f"/ipfs/{late}?format=tar")
            assert (answer.status, answer.whole) == (200, False), root
        assert (await ask(address, f"/ipfs/{absent}?format=tar")).status == 404
        assert (await ask(address, f"/ipfs/{data}?format=tar")).status == 406


async def test_of_equal_names_the_first_counts():
    tree = Tree()
    root = directory(tree, (b"a", tree.put(b"one"), 3), (b"a", tree.put(b"two"), 3))
    async with gateway(tree.source()) as address:
        answer = await ask(address, f"/ipfs/{root}?format=tar")
    assert [rest[-1] for rest in opened(answer.body)] == ["", b"one"]


def test_as_what_data_is_given():
    cases = {
        (0x55, None): None, (0x70, "json"): None, (0x55, "cbor"): None, (0x71, None): ("dag-cbor", True),
        (0x71, "cbor"): ("cbor", True), (0x71, "json"): ("json", False), (0x0129, "json"): ("json", True),
        (0x0129, "dag-cbor"): ("dag-cbor", False), (0x0200, None): ("json", True), (0x0200, "dag-json"): ("dag-json", False),
        (0x51, "cbor"): ("cbor", True), (0x70, "dag-json"): ("dag-json", False), (0x55, "dag-cbor"): ("dag-cbor", False),
    }  # fmt: skip
    for (codec, wanted), expected in cases.items():
        found = shape_of(codec, wanted)
        assert (found if found is None else tuple(found)) == expected, (codec, wanted)


async def test_data_is_given_in_other_forms_as_far_as_it_has_them():
    tree = Tree()
    leaf = tree.put(b"\0\1raw")
    value = {"a": [1, None, leaf], "b": b"bytes"}
    cbor = tree.put(dagcbor.encode(value), DAG_CBOR)
    broken = tree.put(b"\xff\xff", DAG_CBOR)
    odd = directory(tree, (b"\xff", leaf, 5))
    large = tree.put(dagcbor.encode({"x": ["\x01" * 1000] * 1000}), DAG_CBOR)
    async with gateway(tree.source()) as address:
        as_json = await ask(address, f"/ipfs/{cbor}?format=dag-json")
        liked = await ask(address, f"/ipfs/{cbor}", Accept="application/vnd.ipld.dag-json")
        assert (liked.body, liked.headers["content-location"]) == (as_json.body, f"/ipfs/{cbor}?format=dag-json")
        assert json.loads(as_json.body) == {"a": [1, None, {"/": str(leaf)}], "b": {"/": {"bytes": "Ynl0ZXM"}}}
        assert (await ask(address, f"/ipfs/{leaf}?format=dag-json")).body == b'{"/":{"bytes":"AAFyYXc"}}'
        assert (await ask(address, f"/ipfs/{leaf}?format=dag-cbor")).body == b"\x45\0\1raw"
        assert (await ask(address, f"/ipfs/{cbor}/a/2")).body == b"\0\1raw"
        assert (await ask(address, f"/ipfs/{cbor}/a/1?format=dag-json")).status == 501
        assert (await ask(address, f"/ipfs/{cbor}?format=dag-json", If_None_Match=as_json.headers["etag"])).status == 304
        for refused in (broken, odd):
            assert (await ask(address, f"/ipfs/{refused}?format=dag-json")).status == 406
        unfolded = await ask(address, f"/ipfs/{large}?format=dag-json")  # a byte of it takes six
        assert json.loads(unfolded.body) == {"x": ["\x01" * 1000] * 1000}
        assert int(unfolded.headers["content-length"]) > 6_000_000
        part = await ask(address, f"/ipfs/{large}?format=dag-json", Range="bytes=3000000-3000009")
        assert part.body == unfolded.body[3_000_000:3_000_010]
        page = await ask(address, f"/ipfs/{cbor}", Accept="text/html,application/json;q=0.9")
        again = await ask(address, f"/ipfs/{cbor}", Accept="text/html", If_None_Match=page.headers["etag"])
        assert again.status == 304
        assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b"<script" not in page.body
        assert page.headers["content-security-policy"].startswith("sandbox;")
    async with gateway(tree.source(), gateway="trustless") as address:
        for name in ("dag-json", "tar", "json"):
            assert (await ask(address, f"/ipfs/{cbor}?format={name}")).status == 406
        assert (await ask(address, f"/ipfs/{cbor}/a/2?format=raw")).status == 400


async def test_a_page_of_data_shows_what_is_hostile_as_text():
    tree = Tree()
    evil = tree.put(dagcbor.encode({"<script>alert(1)</script>": "\u202e</pre><img src=x>"}), DAG_CBOR)
    async with gateway(tree.source()) as address:
        page = await ask(address, f"/ipfs/{evil}/", Accept="text/html")
    assert page.status == 200
    assert b"<script>" not in page.body
    assert b"<img" not in page.body
    assert "\u202e".encode() not in page.body


async def test_data_with_a_key_that_manifests_have_is_data_unless_its_kind_is_one_of_theirs():
    tree = Tree()
    others = [
        tree.put(dagcbor.encode(value), DAG_CBOR)
        for value in ({"some": "data"}, {"wherry": True}, {"wherry": "boat"}, {"wherry": "boat/1"}, ["wherry"])
    ]
    newer = tree.put(dagcbor.encode({"wherry": "dir/7"}), DAG_CBOR)
    async with gateway(tree.source()) as address:
        for other in others:
            data = await ask(address, f"/ipfs/{other}")
            assert (data.status, data.headers["content-type"]) == (200, "application/vnd.ipld.dag-cbor")
        refused = await ask(address, f"/ipfs/{newer}")
        assert (refused.status, b"a newer wherry" in refused.body) == (404, True)
