"""A name is not published for a path that a dataset does not have, as far as that can be told from what is here."""

from __future__ import annotations

import asyncio
import json

import pytest

from wherry.errors import NotFound, UsageError
from wherry.session import Encryption, Session

EMPTY = "/ipfs/bafkqaaa"


def session(tmp_path, home="home"):
    return Session.open(home=tmp_path / home, environ={})


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "file").write_bytes(b"x" * 1000)
    (root / "sub" / "other").write_bytes(b"y" * 1000)
    return root


def test_a_slip_in_a_path_is_no_name(tmp_path, data):
    async def work():
        async with session(tmp_path) as mine:
            added = await mine.add(str(data))
            for root in (added.cid, added.unixfs_cid):
                for path in ("fiel", "sub/file", "file/x"):
                    with pytest.raises(NotFound):
                        await mine.publish_name(f"{root}/{path}")
                for path in ("file", "sub", "sub/other"):
                    assert (await mine.publish_name(f"{root}/{path}")).value == f"/ipfs/{root}/{path}"

    asyncio.run(work())


def test_where_nothing_can_be_told_it_is_published_and_nobody_asked(tmp_path, data):
    async def work():
        async with session(tmp_path) as mine, session(tmp_path, "other") as other:
            plain = await other.add(str(data))
            sealed = await mine.add(str(data), encryption=Encryption())
            mine._addresses = pytest.fail  # a path is looked up here, and nowhere else
            block = await mine.dag_put(json.dumps({"a": {"b": 1}}).encode())
            far = (
                "bafkrgqhhyivzstcz3hhswshfjgy6ertgmnqeleynhwt4dlfsthi4hn7zgh4uvlsb5xncykzapi3ocd4lzogukir6ksdy6wzrnz6ohnv4aglcs"
            )
            for what in (f"{plain.cid}/a", f"{plain.unixfs_cid}/a", f"{sealed.cid}/a", f"{block.cid}/a/b", far, f"{far}/a"):
                assert (await mine.publish_name(what)).value == f"/ipfs/{what}"

    asyncio.run(work())


def test_nobody_keeps_a_record_for_longer_than_it_is_valid(tmp_path):
    async def work():
        async with session(tmp_path) as mine:
            with pytest.raises(UsageError):
                await mine.publish_name(EMPTY, lifetime_s=60.0, ttl_s=61.0)
            assert (await mine.publish_name(EMPTY, lifetime_s=60.0)).ttl == 60.0
            assert (await mine.publish_name(EMPTY, lifetime_s=60.0, ttl_s=10.0)).ttl == 10.0
            assert (await mine.publish_name(EMPTY)).ttl == 300.0

    asyncio.run(work())
