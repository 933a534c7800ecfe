"""Serving from a session to a session, over every transport that there is, with every way of reading files."""

from __future__ import annotations

import asyncio
import filecmp
import os
from contextlib import asynccontextmanager

import pytest

from wherry.errors import LocalError, UsageError
from wherry.session import Session
from wherry.testing.certificates import make_certificate

pytestmark = pytest.mark.integration


@asynccontextmanager
async def session(home, **overrides):
    async with Session.open(
        home=home,
        environ={"PATH": os.environ["PATH"]},
        overrides={key.replace("__", "."): value for key, value in overrides.items()},
    ) as opened:
        yield opened


def same(one, two):
    found = filecmp.dircmp(one, two, ignore=[], hide=[])
    return not (found.left_only or found.right_only or found.diff_files or found.funny_files) and all(
        same(one / name, two / name) for name in found.common_dirs
    )


@pytest.mark.parametrize("verify", ["stat", "hash"])
@pytest.mark.parametrize("way", ["http", "https", "token", "file-home", "file-copy"])
async def test_a_tree_arrives(way, verify, tree, tmp_path):
    ours, theirs = {"serve__verify": verify}, {}
    if way == "https":
        certificate, key = make_certificate(tmp_path)
        ours |= {"transport__http__tls_cert": str(certificate), "transport__http__tls_key": str(key)}
        theirs |= {"transport__http__tls_ca": str(certificate)}
    if way == "token":
        ours |= {"transport__http__token": "s3cret"}
        theirs |= {"transport__http__token": "s3cret"}
    async with session(tmp_path / "a", **ours) as sender, session(tmp_path / "b", **theirs) as receiver:
        cid = (await sender.add(str(tree))).cid
        async with sender.serve(listen=["http://127.0.0.1:0"]) as serving:
            sources = {"file-home": [f"file://{tmp_path}/a"], "file-copy": [f"file://{tree}", *serving.listen]}
            got = await receiver.get(cid, sources=sources.get(way, serving.listen), output=str(tmp_path / "copy"))
    assert same(tree, tmp_path / "copy")
    assert got.bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())


async def test_a_generated_source_arrives(tmp_path):
    async with session(tmp_path / "a") as sender, session(tmp_path / "b") as receiver:
        cid = (await sender.add("synth://20MiB?seed=3")).cid
        async with sender.serve(listen=["http://127.0.0.1:0"]) as serving:
            got = await receiver.get(cid, sources=serving.listen, output="null:")
    assert got.fetched_bytes >= 20 << 20


async def test_several_listeners_open_and_close_together(tree, tmp_path):
    async with session(tmp_path / "a") as sender:
        async with sender.serve([str(tree)], listen=["http://127.0.0.1:0", "http://127.0.0.1:0"]) as serving:
            assert len(set(serving.listen)) == 2
            with pytest.raises(LocalError, match="cannot listen"):
                async with sender.serve(listen=["http://127.0.0.1:0", serving.listen[0]]):
                    pass
        for address in serving.listen:
            host, port = address.removeprefix("http://").split(":")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))


async def test_what_cannot_be_listened_on(tmp_path):
    async with session(tmp_path / "a") as sender:
        for address in ("file:///tmp", "gopher://x", "http://0.0.0.0:0"):
            with pytest.raises(UsageError):
                async with sender.serve(listen=[address]):
                    pass
