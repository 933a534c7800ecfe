"""Reading what another implementation wrote: the public fixtures of the gateway conformance suite, where they are at hand."""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path

import pytest
from getting import A
from unixfs_dags import Dag, offered

from wherry.dag.walk import EnterFile, Leaf
from wherry.errors import DecodeError
from wherry.publiccid import PublicCID

FOLDER = os.environ.get("WHERRY_FIXTURES", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="WHERRY_FIXTURES does not say where the public fixtures are")

ROOTS = {
    "dir-with-duplicate-files": "bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy",
    "gateway-raw-block": "bafybeie72edlprgtlwwctzljf6gkn2wnlrddqjbkxo3jomh4n7omwblxly",
    "single-layer-hamt-with-multi-block-files": "bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i",
    "subdir-with-mixed-block-files": "bafybeidh6k2vzukelqtrjsmd4p52cpmltd2ufqrdtdg6yigi73in672fwu",
    "subdir-with-two-single-block-files": "bafybeietjm63oynimmv5yyqay33nui4y4wx6u3peezwetxgiwvfmelutzu",
}
FILE_3K = "QmYhmPjhFjYFyaoiuNzYv8WGavpSRDwdHWe5B4M5du5Rtk"
WITH_CBOR = "bafybeia264q44a3kmfc2otctzu4egp2k235o3t7mslz2yjraymp4nv6asi"


def number(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def opened(name):
    """The blocks of a CAR file; each checked by itself."""
    data = (Path(FOLDER) / f"{name}.car").read_bytes()
    length, at = number(data, 0)
    at, dag = at + length, Dag()
    while at < len(data):
        length, at = number(data, at)
        cid, start = PublicCID.read(data, at)
        cid.verify(data[start : at + length])
        dag.blocks[cid.block()] = data[start : at + length]
        at += length
    return dag


def link(text):
    return PublicCID.parse(text), 0, 0


@pytest.mark.parametrize("name", ROOTS)
async def test_each_is_got_whole(name, world, tmp_path):
    dag = opened(name)
    files = {step.path: step.entry.size for step in dag.steps(link(ROOTS[name])) if isinstance(step, EnterFile)}
    async with offered(world, dag), world.node() as session:
        await session.get(ROOTS[name], sources=[A], output=str(tmp_path / "copy"))
        assert (await session.verify(ROOTS[name], str(tmp_path / "copy"))).ok
        found = {str(file.relative_to(tmp_path / "copy")): file.stat().st_size for file in (tmp_path / "copy").rglob("*.txt")}
        assert found == files
        for path in list(files)[:5]:
            async with aclosing(session.cat(f"{ROOTS[name]}/{path}")) as pieces:
                data = b"".join([piece async for piece in pieces])
            assert data == (tmp_path / "copy" / path).read_bytes()


def test_a_sharded_directory_of_a_thousand_files():
    dag = opened("single-layer-hamt-with-multi-block-files")
    root = link(ROOTS["single-layer-hamt-with-multi-block-files"])
    names = {step.entry.name for step in dag.steps(root) if isinstance(step, EnterFile)}
    assert names == {f"{number}.txt" for number in range(1, 1001)}
    dag.asked.clear()
    assert dag.find(root, "1.txt").size == 1026
    assert len(dag.asked) == 3  # the root, one shard, the file's own root


def test_the_blocks_of_a_range_are_enough():
    dag = opened("file-3k-and-3-blocks-missing-block")
    assert dag.root(link(FILE_3K)).entry.size == 3072
    offsets = [step.offset for step in dag.steps(link(FILE_3K), start=0, stop=1000) if isinstance(step, Leaf)]
    assert offsets == [0]
    assert len([step for step in dag.steps(link(FILE_3K), start=2048) if isinstance(step, Leaf)]) == 1
    with pytest.raises(KeyError):
        dag.steps(link(FILE_3K))


async def test_what_is_no_unixfs_is_listed_and_not_written(world, tmp_path):
    dag = opened("dir-with-dag-cbor-with-links")
    async with offered(world, dag), world.node() as session:
        async with aclosing(session.ls(WITH_CBOR, sources=[A])) as listed:
            names = [entry.name async for entry in listed]
        assert "document" in names
        with pytest.raises(DecodeError, match="dag-cbor"):
            await session.get(WITH_CBOR, sources=[A], output=str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
