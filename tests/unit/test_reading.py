"""`verify` and `stat` from end to end: links that are named themselves, and what a CID is called in what is said of it."""

from __future__ import annotations

import os

import pytest

from wherry.session import Session


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
