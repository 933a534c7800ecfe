"""`verify` and `stat` from end to end: links that are named themselves, and what a CID is called in what is said of it."""

from __future__ import annotations

import os

import pytest

from wherry.publiccid import PublicCID
from wherry.session import Session

DAG_JSON = 0x0129


@pytest.mark.parametrize("unixfs", [False, True])
async def test_a_link_that_is_named_is_compared_itself(home, tree, tmp_path, unixfs):
    os.symlink(tree / "data/large.bin", tmp_path / "followed")
    async with Session.open(home=home) as session:
        added = await session.add(str(tree))
        cid = added.unixfs_cid if unixfs else added.cid
        link, file = f"{cid}/latest", f"{cid}/data/large.bin"
        assert (await session.verify(link, str(tree / "latest"))).ok
        assert (await session.verify(file, str(tmp_path / "followed"))).ok
        for place, problem in (
            (tmp_path / "followed", f"points to {str(tree / 'data/large.bin')!r}, not 'data/large.bin'"),
            (tree / "readme.txt", "should be a symbolic link"),
            (tree / "absent", "is missing (No such file or directory)"),
        ):
            (found,) = (await session.verify(link, str(place))).differences
            assert found.problem == problem


async def test_stat_names_what_was_asked_for(home, tree):
    async with Session.open(home=home) as session:
        added = await session.add(str(tree))
        assert (await session.stat(added.cid)).cid == added.cid
        assert (await session.stat(f"{added.cid}/readme.txt")).cid != added.cid
        old = PublicCID.parse(added.unixfs_cid).to_version(0)
        found = await session.stat(str(old))
        assert (found.cid, found.kind, found.held) == (added.unixfs_cid, "dir", True)
        raw = PublicCID.parse((await session.stat(f"{added.cid}/readme.txt")).cid)
        for other in (PublicCID.inlined(raw.codec, b"hello\n"), raw.to_codec(DAG_JSON)):
            for text in (str(other), other.to_base("base58btc")):
                found = await session.stat(text)
                assert (found.cid, found.bytes) == (str(other), 6)


async def test_what_was_selected_is_not_held_whole(home, tree, tmp_path):
    async with Session.open(home=home) as owner, Session.open(home=tmp_path / "other") as session:
        cid = (await owner.add(str(tree))).cid
        async with owner.serve(listen=["http://127.0.0.1:0"]) as serving:
            for selected, held in ({"include": ["data/**"]}, False), ({}, True):
                await session.get(cid, sources=serving.listen, output=str(tmp_path / f"got-{held}"), **selected)
                assert (await session.stat(cid)).held is held


async def test_verify_counts_the_files_whose_content_it_compared(tmp_path):
    data = tmp_path / "counted"
    data.mkdir()
    for name in ("lost", "other", "longer", "same"):
        (data / name).write_bytes(b"four")
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        cid = (await session.add(str(data))).cid
        (data / "lost").unlink()
        (data / "other").write_bytes(b"5our")
        (data / "longer").write_bytes(b"longer")
        (data / "more").write_bytes(b"more")
        result = await session.verify(cid, str(data))
    assert (result.files, result.bytes) == (2, 8)
    assert {each.path for each in result.differences} == {"lost", "other", "longer", "more"}
