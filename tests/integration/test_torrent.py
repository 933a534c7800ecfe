"""`wherry export --torrent`: an ordinary client makes the same, and downloads from `wherry serve` alone (specs/0036)."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from wherry.session import Session
from wherry.torrent.metainfo import Metainfo
from wherry_cli.demo import compare

lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PIECE = 1 << 16
SIZES = [1, 16_384, 16_385, PIECE, PIECE + 1, 3 * PIECE + 5]


def theirs(folder, name, *, hybrid):
    """Has libtorrent make the torrent; of version 1 alone where ``hybrid`` is None."""
    flags = {None: lt.create_torrent.v1_only, False: lt.create_torrent.v2_only, True: 0}[hybrid]
    made = lt.create_torrent(lt.list_files(str(folder / name)), PIECE, flags)
    lt.set_piece_hashes(made, str(folder))
    return made.generate()


def ours(root, name, *, hybrid):
    run = Metainfo(name, piece_bytes=PIECE, hybrid=bool(hybrid), v1_only=hybrid is None)
    paths = [root] if root.is_file() else sorted((path for path in root.rglob("*") if path.is_file()), key=os.fsencode)
    for path in paths:
        run.begin(path.relative_to(root).parts if path != root else ())
        run.update(path.read_bytes())
        run.end()
    return lt.bdecode(run.finish())


def check_same(mine, reference):
    keys = (b"file tree", b"files", b"length", b"pieces", b"piece length", b"meta version", b"name")
    for key in keys:
        assert mine[b"info"].get(key) == reference[b"info"].get(key), key
    assert mine.get(b"piece layers") == reference.get(b"piece layers")


@pytest.mark.parametrize("hybrid", [True, False, None])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_described_as_libtorrent_does_it(tmp_path, size, hybrid):
    (tmp_path / "file").write_bytes(os.urandom(size))
    check_same(ours(tmp_path / "file", "file", hybrid=hybrid), theirs(tmp_path, "file", hybrid=hybrid))


@pytest.mark.parametrize("hybrid", [True, False])
def test_a_tree_is_described_as_libtorrent_does_it(tmp_path, hybrid):
    for number, size in enumerate(SIZES):
        path = tmp_path / "tree" / f"sub-{number % 2}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    (tmp_path / "tree" / "empty").touch()
    check_same(ours(tmp_path / "tree", "tree", hybrid=hybrid), theirs(tmp_path, "tree", hybrid=hybrid))


def downloaded(torrent, folder):
    """Has libtorrent download it; it knows nobody but the web seed."""
    session = lt.session(
        {
            "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
            "listen_interfaces": "127.0.0.1:0",
        }
    )  # fmt: skip
    adding = lt.load_torrent_file(str(torrent))
    adding.save_path = str(folder)
    handle = session.add_torrent(adding)
    end = time.monotonic() + 60
    while not handle.status().is_seeding:
        assert time.monotonic() < end, handle.status().state
        time.sleep(0.05)
    session.remove_torrent(handle)


@pytest.mark.parametrize("kind", ["native", "unixfs", "file", "part", "part that is a file"])
def test_an_ordinary_client_downloads_from_a_node_that_serves(tmp_path, kind):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom((3 << 20) + 17))
    (tree / "sub" / "a name").write_bytes(b"small")
    (tree / "sub" / "empty").touch()
    below = {"part": "sub", "part that is a file": "sub/a name"}.get(kind, "")

    async def run():
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            what = tree / "large" if kind == "file" else tree
            added = await session.add(str(what))
            cid = added.unixfs_cid if kind == "unixfs" else added.cid
            async with session.serve((), listen=["http://127.0.0.1:0"]) as serving:
                torrent = tmp_path / "x.torrent"
                named = f"/ipfs/{cid}/{below}" if below else cid
                made = await session.export_torrent(named, str(torrent), webseeds=serving.listen)
                assert made.bytes == (5 if below else added.bytes)
                await asyncio.to_thread(downloaded, torrent, tmp_path / "got")
            return what / below, Path(tmp_path / "got" / (below.rpartition("/")[2] or cid))

    what, got = asyncio.run(run())
    if what.is_file():
        assert got.read_bytes() == what.read_bytes()
    else:
        assert list(compare(what, got)) == []


@pytest.mark.parametrize(
    ("client", "v1_only", "kind"),
    [("libtorrent", True, ""), ("aria2", True, ""), ("aria2", False, ""), ("aria2", False, "unixfs"), ("aria2", False, "sub")],
)
def test_clients_that_know_no_padding_finish_too(tmp_path, client, v1_only, kind):
    aria2 = shutil.which("aria2c")
    if client == "aria2" and aria2 is None:
        pytest.skip("aria2 is not installed")
    tree, torrent = tmp_path / "tree", tmp_path / "x.torrent"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom((1 << 20) + 17))
    (tree / "sub" / "a name").write_bytes(b"small")
    (tree / "sub" / "another").write_bytes(b"other")  # as much padding as behind the first
    (tree / "sub" / "empty").touch()
    quiet = ["-q", "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--seed-time=0", "--bt-stop-timeout=60"]

    async def run():
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            added = await session.add(str(tree))
            cid = added.unixfs_cid if kind == "unixfs" else added.cid
            what = f"{cid}/sub" if kind == "sub" else cid
            async with session.serve((), listen=["http://127.0.0.1:0"]) as serving:
                await session.export_torrent(what, str(torrent), webseeds=serving.listen, v1_only=v1_only)
                if client == "libtorrent":
                    await asyncio.to_thread(downloaded, torrent, tmp_path / "got")
                else:
                    words = [aria2, *quiet, "-d", str(tmp_path / "got"), str(torrent)]
                    await asyncio.to_thread(subprocess.run, words, check=True, timeout=90)
            return what.rpartition("/")[2]

    got = tmp_path / "got" / asyncio.run(run())
    assert (got / ".pad").exists() is not v1_only  # aria2 writes them down
    shutil.rmtree(got / ".pad", ignore_errors=True)
    assert list(compare(tree / "sub" if kind == "sub" else tree, got)) == []
