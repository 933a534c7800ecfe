"""Files of this machine through the gateway of a real `wherry serve`: by sendfile, in parts, of both kinds of datasets."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from gateways import ask, car_blocks

pytestmark = pytest.mark.integration


@pytest.fixture
def served(tree, wherry, start):
    added = json.loads(wherry("add", tree, "--json").stdout)
    process = start("serve", tree, "--listen", "http://127.0.0.1:0", "--json")
    return process.said()["listen"][0], added["cid"], added["unixfs_cid"]


async def test_every_file_of_both_datasets_can_be_read(served, tree):
    address, *roots = served
    for root in roots:
        for path in sorted(found for found in tree.rglob("*") if found.is_file() and not found.is_symlink()):
            answer = await ask(address, f"/ipfs/{root}/{quote(str(path.relative_to(tree)))}")
            assert (answer.status, answer.whole) == (200, True), path
            assert answer.body == path.read_bytes(), path
        assert (await ask(address, f"/ipfs/{root}/latest")).body == b"data/large.bin"
        page = await ask(address, f"/ipfs/{root}/names/")
        assert b">%s<" % "日本語".encode() in page.body
        large = (tree / "data/large.bin").read_bytes()
        for start, stop in ((0, 1), (1_048_575, 1_048_577), (100, 3_000_000), (2_000_000, len(large)), (5, 6)):
            part = await ask(address, f"/ipfs/{root}/data/large.bin", Range=f"bytes={start}-{stop - 1}")
            assert (part.status, part.body) == (206, large[start:stop])


async def test_a_car_of_files_is_whole_and_verifies(served, tree):
    address, native, root = served
    for cid in (native, root):
        answer = await ask(address, f"/ipfs/{cid}?format=car")
        assert answer.whole
        blocks = car_blocks(answer.body)
        assert blocks[0][0] == cid
        held = {data for _, data in blocks}
        for path in (tree / "readme.txt", tree / "data/exactly-1MiB.bin"):
            assert path.read_bytes() in held
    entity = await ask(address, f"/ipfs/{root}/data/large.bin?format=car&entity-bytes=1048576:1048577")
    assert [len(data) for _, data in car_blocks(entity.body)][-1] == 1 << 20
    assert len(car_blocks(entity.body)) == 4  # two directories, the file, one leaf


async def test_a_file_that_changed_ends_the_answer_abnormally(served, tree):
    address, _, root = served
    (tree / "data/large.bin").write_bytes(b"something else")
    for path in (f"/ipfs/{root}?format=car", f"/ipfs/{root}/data/large.bin?format=car", f"/ipfs/{root}/data/large.bin"):
        answer = await ask(address, path)
        assert answer.status != 200 or not answer.whole
        assert b"something else" not in answer.body
