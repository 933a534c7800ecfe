"""What a gateway makes of conditions, of lists of types, and of names that are there twice."""

from __future__ import annotations

import asyncio

import pytest
from gateways import CAR_TYPE, RAW_TYPE, Tree, ask, gateway

from wherry.cid import CID, RAW
from wherry.errors import IntegrityError
from wherry.gateway import headers as said
from wherry.gateway.blocks import Blocks
from wherry.gateway.files import content, look
from wherry.gateway.request import target, unable, wish
from wherry.manifest import FILE, Entry, dir_block
from wherry.publiccid import PublicCID
from wherry.unixfs.data import DIRECTORY, Data
from wherry.unixfs.data import FILE as UNIXFS_FILE
from wherry_http.places import parse_base

HTML = "text/html, application/vnd.ipld.car;q=0.1"


@pytest.fixture
def site():
    tree = Tree()
    root = tree.dir(**{"note.txt": tree.file(b"hello"), "sub": tree.dir(a=tree.file(b"a")), "to": tree.link(b"note.txt")})
    return tree, str(PublicCID(root.cid))


async def sent(address, path, *lines):
    """A request with header lines as they are; gives the status of its answer."""
    base = parse_base(address)
    reader, writer = await asyncio.open_connection(base.host, base.port)
    try:
        head = [f"GET {path} HTTP/1.1", f"Host: {base.host}:{base.port}", "Connection: close", *lines]
        writer.write("\r\n".join([*head, "", ""]).encode())
        return int((await asyncio.wait_for(reader.read(), 20)).split()[1])
    finally:
        writer.close()


# Conditions


@pytest.mark.parametrize(
    ("if_match", "tag", "expected"),
    [
        (None, '"a"', True), ("*", '"a"', True), (" * ", 'W/"a"', True), ('"a"', '"a"', True), ('"b", "a"', '"a"', True),
        ('"b"', '"a"', False), ('W/"a"', '"a"', False), ('W/"a"', 'W/"a"', False), ('"a"', 'W/"a"', False), ("", '"a"', False),
        ("a", '"a"', False), ('"b,' * 100_000 + '"a"', '"a"', False),
    ],
)  # fmt: skip
def test_if_match_is_compared_strongly(if_match, tag, expected):
    assert said.matched(if_match, tag) is expected


KINDS = ["", "note.txt", "sub/", "to", "note.txt?format=raw", "?format=dag-json", "?format=tar", "?format=car"]


@pytest.mark.parametrize("path", KINDS)
async def test_what_is_there_under_another_tag_is_not_given(site, path):
    tree, root = site
    async with gateway(tree.source()) as address:
        at = f"/ipfs/{root}/{path}"
        tag = (await ask(address, at)).headers["etag"]
        by_tag = 412 if tag.startswith("W/") else 200
        for if_match, expected in (("*", 200), (tag, by_tag), (f'"x", {tag}', by_tag), ('"x"', 412)):
            answer = await ask(address, at, If_Match=if_match)
            assert (answer.status, answer.whole) == (expected, True)
            assert (await ask(address, at, method="HEAD", If_Match=if_match)).status == expected
            assert answer.headers["etag"] == tag
        assert (await ask(address, at, If_Match=f"W/{tag}".replace("W/W/", "W/"))).status == 412
        assert await sent(address, at, 'If-Match: "x"', f"If-Match: {tag}") == by_tag
        assert await sent(address, at, 'If-Match: "x"', f"If-None-Match: {tag}") == 412
        assert await sent(address, at, "If-Match: *", f"If-None-Match: {tag}") == 304
        assert await sent(address, at, 'If-Match: "x"', "Range: bytes=9999999-") == 412


async def test_a_condition_changes_nothing_of_what_is_not_there(site):
    tree, root = site
    absent = PublicCID.of(RAW, b"nobody has it")
    async with gateway(tree.source()) as address:
        for path in (f"{absent}?format=raw", f"{absent}?format=car", f"{absent}", f"{root}/none"):
            for if_match in ("*", '"x"'):
                assert (await ask(address, f"/ipfs/{path}", If_Match=if_match)).status == 404


@pytest.mark.parametrize("path", KINDS)
async def test_several_lines_are_one_list(site, path):
    tree, root = site
    async with gateway(tree.source()) as address:
        at = f"/ipfs/{root}/{path}"
        tag = (await ask(address, at)).headers["etag"]
        assert await sent(address, at, 'If-None-Match: "x"', 'If-None-Match: "y"') == 200
        assert await sent(address, at, 'If-None-Match: "x"', f"If-None-Match: {tag}") == 304


# Types


@pytest.mark.parametrize(
    ("path", "trustless", "accept", "expected"),
    [
        ("/ipfs/C", True, HTML, "car"), ("/ipfs/C", False, HTML, None), ("/ipfs/C/x", True, HTML, "car"),
        ("/ipfs/C", True, f"application/x-tar, {RAW_TYPE};q=0.2, {CAR_TYPE};q=0.1", "raw"),
        ("/ipfs/C/x", True, f"{RAW_TYPE}, {CAR_TYPE};q=0.1", "car"),
        ("/ipfs/C/x", False, f"{RAW_TYPE}, {CAR_TYPE};q=0.1", "raw"),
        ("/ipfs/C", False, f"application/vnd.ipfs.ipns-record, {CAR_TYPE};q=0.1", "car"),
        ("/ipns/N", True, f"application/vnd.ipfs.ipns-record, {CAR_TYPE};q=0.1", "ipns-record"),
        ("/ipfs/C", True, "text/html, application/vnd.ipld.car;q=0", None), ("/ipfs/C", True, "text/html", None),
        ("/ipfs/C", True, "text/html, */*;q=0.8", None), ("/ipfs/C", True, "application/x-tar", "tar"),
        ("/ipfs/C", True, "application/vnd.ipfs.ipns-record", "ipns-record"),
    ],
)  # fmt: skip
def test_of_a_list_the_best_that_is_given_counts(path, trustless, accept, expected):
    asked = target(path.replace("C", str(PublicCID.of(RAW, b""))).replace("N", "k51"))
    assert wish("", accept, unable(asked, trustless=trustless)).format == expected


async def test_a_trustless_gateway_gives_a_client_the_car_that_it_takes(site):
    tree, root = site
    async with gateway(tree.source(), gateway="trustless") as address:
        answer = await ask(address, f"/ipfs/{root}", Accept="text/html, application/vnd.ipld.car;q=0.1;dups=y")
        assert answer.status == 200
        assert answer.headers["content-type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=y"
        assert (await ask(address, f"/ipfs/{root}", Accept="text/html")).status == 400
        assert (await ask(address, f"/ipfs/{root}", Accept="application/x-tar")).status == 406


# What people are shown


async def test_of_two_entries_of_one_name_a_page_shows_the_first():
    tree = Tree()
    first, second, other = (tree.put(data) for data in (b"first", b"second", b"other"))
    links = [(b"name", second, None), (b"name", first, 5), (b"name", first, 5), (b"other", other, 5)]
    root = tree.node(Data(DIRECTORY), *links)
    async with gateway(tree.source()) as address:
        body = (await ask(address, f"/ipfs/{root}/")).body.decode()
        assert (await ask(address, f"/ipfs/{root}/name")).body == b"second"
        rest = (await ask(address, f"/ipfs/{root}/?after=name")).body.decode()
    assert [body.count(str(one)) for one in (second, first, other)] == [1, 0, 1]
    assert [rest.count(str(one)) for one in (second, first, other)] == [0, 0, 1]


async def test_what_is_no_directory_is_said_to_be_none(site):
    tree, root = site
    async with gateway(tree.source()) as address:
        file = await ask(address, f"/ipfs/{root}/note.txt/")
        link = await ask(address, f"/ipfs/{root}/to/")
    assert (file.status, file.body) == (404, b"this is a file; leave out the / at the end\n")
    assert (link.status, link.body) == (404, b"this is a link; leave out the / at the end\n")


async def test_a_page_that_is_not_there_names_no_command(site):
    tree, root = site
    leaf = CID(tree.put(b"plain"))
    node = dir_block([Entry("file", FILE, leaf, 5)])
    tree.emit(node)
    async with gateway(tree.source()) as address:
        for cid in (root, str(node.cid)):
            answer = await ask(address, f"/ipfs/{cid}/none")
            assert answer.status == 404
            assert b"wherry" not in answer.body
            assert b"'none'" in answer.body
            assert b"the page of the directory above shows what there is" in answer.body
        car = await ask(address, f"/ipfs/{node.cid}/none?format=car")
        assert (car.status, b"wherry" in car.body) == (404, False)


# Sizes


@pytest.mark.parametrize("lie", [-1, 1])
@pytest.mark.parametrize("deep", [False, True])
def test_no_byte_is_given_of_a_part_that_is_not_as_long_as_its_parent_says(lie, deep):
    tree = Tree()
    part = tree.put(b"a" * 10)
    if deep:  # a file of one part, which is right about it, where its own parent is not
        part = tree.node(Data(UNIXFS_FILE, None, 10, (10,)), (b"", part, 10))
    whole = Data(UNIXFS_FILE, None, 15 + lie, (10 + lie, 5))
    root = tree.node(whole, (b"", part, 10), (b"", tree.put(b"b" * 5), 5))
    blocks = Blocks(tree.source())
    thing = look(blocks, root, ())
    for start, stop in ((0, thing.size), (3, 7)):
        with pytest.raises(IntegrityError, match="its parent says"):
            list(content(blocks, thing, start, stop))


@pytest.mark.parametrize("lie", [-1, 1])
def test_no_byte_is_given_of_a_leaf_that_is_not_as_long_as_its_manifest_says(lie):
    tree = Tree()
    leaf = CID(tree.put(b"a" * 10))
    root = dir_block([Entry("f", FILE, leaf, 10 + lie)])
    tree.emit(root)
    blocks = Blocks(tree.source())
    thing = look(blocks, PublicCID(root.cid), ("f",))
    with pytest.raises(IntegrityError, match="its parent says"):
        list(content(blocks, thing, 0, thing.size))
