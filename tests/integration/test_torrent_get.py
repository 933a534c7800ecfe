"""`wherry get` of torrents and magnet links: from an ordinary client, and from the web seed that `serve` is (specs/0036 §9)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from liars import Dripping, lying
from seeding import made, seeding
from torrentgets import LOOPBACK, children, getting, planted, progress, wherry

from wherry.errors import UnsafeName
from wherry.session import Session
from wherry_cli.demo import compare
from wherry_torrent.places import kept_out

lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(name="tree")
def _tree(tmp_path):
    return planted(tmp_path)


def added(tmp_path, path):
    async def run():
        async with Session.open(home=tmp_path / "other", environ={}) as session:
            return await session.add(str(path))

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
def test_a_torrent_comes_from_an_ordinary_client(tmp_path, tree, kind):
    torrent = tmp_path / "x.torrent"
    made(tree.parent, "tree", torrent, kind=kind)
    with seeding(torrent, tree.parent) as peer:
        result = getting(tmp_path, torrent, tmp_path / "got", sources=[peer])
    assert list(compare(tree, tmp_path / "got")) == []
    reference = added(tmp_path, tree)
    assert (result.cid, result.unixfs_cid) == (reference.cid, reference.unixfs_cid)
    assert ((result.btih is None), (result.btmh is None)) == (kind == "v2", kind == "v1")
    assert result.fetched_bytes >= result.bytes == reference.bytes
    assert sorted(os.listdir(tmp_path)) == ["got", "home", "other", "source", "x.torrent"]
    again = getting(tmp_path, torrent, tmp_path / "got")  # is here: nobody is asked
    assert (again.cid, again.fetched_bytes) == (result.cid, 0)


@pytest.mark.parametrize("kind", ["v1", "hybrid"])
def test_a_magnet_link_comes_from_an_ordinary_client(tmp_path, tree, kind):
    magnet = made(tree.parent, "tree", tmp_path / "x.torrent", kind=kind)
    with seeding(tmp_path / "x.torrent", tree.parent) as peer:
        result = getting(tmp_path, magnet, tmp_path / "got", sources=[peer])
        assert list(compare(tree, tmp_path / "got")) == []
        hinted = f"{magnet}&x.pe=a..b:1&x.pe={peer}"  # the first is no address, and is left out
        again = getting(tmp_path, hinted, tmp_path / "got")  # asks for the metadata alone
    assert (again.cid, again.fetched_bytes) == (result.cid, 0)
    assert result.cid == added(tmp_path, tree).cid


@pytest.mark.parametrize("kind", ["native", "unixfs", "file"])
def test_what_serve_seeds_has_the_same_cid_when_it_came(tmp_path, tree, kind):
    what = tree / "large" if kind == "file" else tree

    async def run():
        async with Session.open(home=tmp_path / "serving", environ={}) as session:
            found = await session.add(str(what))
            async with session.serve((), listen=["http://127.0.0.1:0"]) as serving:
                cid = found.unixfs_cid if kind == "unixfs" else found.cid
                torrent = tmp_path / "x.torrent"
                await session.export_torrent(cid, str(torrent), webseeds=serving.listen)
                async with Session.open(home=tmp_path / "home", environ=LOOPBACK) as other:
                    return found, await other.get_torrent(str(torrent), output=str(tmp_path / "got"))

    found, result = asyncio.run(run())
    assert (result.cid, result.unixfs_cid) == (found.cid, found.unixfs_cid)
    assert result.fetched_bytes >= found.bytes


def killed(tmp_path, magnet, peer, least):
    """A get that is killed when so many bytes are there."""
    words = ["get", magnet, "--from", peer, "-o", tmp_path / "got", "--limit-down", "600 kB/s", "--progress", "json"]
    with wherry(tmp_path, *words) as process:
        progress(process, least)
        below = children(process.pid)
        process.kill()
        process.stderr.read()
        assert process.wait() == -signal.SIGKILL
    assert len(below) == 1
    while Path(f"/proc/{below[0]}").exists():  # it ends by itself, when wherry is gone, and saves what it has
        time.sleep(0.02)


def cancelled(tmp_path, magnet, peer, least):
    """The same in this process, cancelled as Ctrl-C does it."""

    async def run():
        enough = asyncio.Event()

        def observe(event):
            if getattr(event, "phase", "") == "fetch" and event.bytes_done >= least:
                enough.set()

        environ = {**LOOPBACK, "WHERRY_LIMITS__DOWN": "600 kB/s"}
        async with Session.open(home=tmp_path / "home", environ=environ) as session:
            getting = session.get_torrent(str(magnet), output=str(tmp_path / "got"), sources=[peer], observe=observe)
            task = asyncio.create_task(getting)
            await enough.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


@pytest.mark.parametrize("end", [killed, cancelled])
def test_what_came_before_the_end_is_not_fetched_again(tmp_path, tree, end):
    torrent, large = tmp_path / "x.torrent", 1 << 20
    magnet = made(tree.parent, "tree", torrent)
    with seeding(torrent, tree.parent) as peer:
        before = set(children(os.getpid()))
        end(tmp_path, magnet, peer, large // 3)
        assert set(children(os.getpid())) == before
        assert not (tmp_path / "got").exists()
        assert b"5:trees" not in (tmp_path / ".got.wherry-torrent" / "resume").read_bytes()  # they grow with the torrent
        result = getting(tmp_path, magnet, tmp_path / "got", sources=[peer])
    assert 0 < result.fetched_bytes < result.bytes - large // 6
    assert list(compare(tree, tmp_path / "got")) == []


def test_what_version_2_alone_has_goes_on_from_a_web_seed_that_knows_no_hashes(tmp_path):
    data, torrent = os.urandom(2 << 20), tmp_path / "x.torrent"
    (tmp_path / "file").write_bytes(data)
    made(tmp_path, "file", torrent, kind="v2")
    let = threading.Event()
    let.set()
    with lying(type("Seed", (Dripping,), {"data": data, "let": let})) as server:
        cancelled(tmp_path, torrent, f"http://{server}/", len(data) // 3)
        result = getting(tmp_path, torrent, tmp_path / "got", sources=[f"http://{server}/"], wait_s=15.0)
    assert 0 < result.fetched_bytes < len(data) * 5 // 6
    assert (tmp_path / "got").read_bytes() == data


def hostile(tree, torrent, path):
    """A torrent whose file is to be written to ``path``; as a client that does not look would seed it."""
    data = (tree / "sub" / "a name").read_bytes()
    info = {b"name": b"tree", b"piece length": 1 << 16, b"pieces": hashlib.sha1(data).digest()}
    info[b"files"] = [{b"length": len(data), b"path": [part.encode() for part in path]}]
    torrent.write_bytes(lt.bencode({b"info": info}))
    place = tree.parents[1] / "blind" / lt.load_torrent_file(str(torrent)).ti.layout().file_path(0)
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    return f"magnet:?xt=urn:btih:{hashlib.sha1(lt.bencode(info)).hexdigest()}"


def test_a_hostile_torrent_makes_nothing(tmp_path, tree):
    hostile(tree, tmp_path / "x.torrent", ["..", "..", "evil"])
    with wherry(tmp_path, "get", "x.torrent", "-o", "got") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (5, "")
    assert "'..' is not a file name" in err
    assert sorted(os.listdir(tmp_path)) == ["blind", "home", "source", "x.torrent"]


@pytest.mark.parametrize("path", [["..", "..", "evil"], ["a", "/etc/evil"], ["a", "nul"]])
def test_hostile_metadata_of_a_magnet_link_makes_nothing(tmp_path, tree, path):
    magnet = hostile(tree, tmp_path / "x.torrent", path)
    with seeding(tmp_path / "x.torrent", tmp_path / "blind", blindly=True) as peer, pytest.raises(UnsafeName):
        getting(tmp_path, magnet, tmp_path / "got", sources=[peer])
    assert sorted(os.listdir(tmp_path)) == ["blind", "home", "source", "x.torrent"]


def test_nobody_is_waited_for_without_end(tmp_path, tree):
    magnet = made(tree.parent, "tree", tmp_path / "x.torrent")
    with wherry(tmp_path, "get", magnet, "--from", "127.0.0.1:9", "--wait", "2", "-o", "got") as process:
        _, err = process.communicate()
    assert process.returncode == 7
    assert "nobody gave anything of the metadata" in err
    assert "127.0.0.1:9" in err
    assert sorted(os.listdir(tmp_path)) == ["home", "source", "x.torrent"]


def test_addresses_where_no_peer_is_are_not_asked():
    kept = kept_out(lt, ["169.254.169.254"])  # whom the user names is asked
    strangers = kept_out(lt, [])
    for ip in (
        "169.254.169.254",
        "169.254.170.2",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
    ):
        assert strangers.access(ip) == 1, ip
    for ip in ("192.0.2.1", "10.0.0.1", "127.0.0.1", "fd00::1", "2001:db8::1", "::1"):
        assert strangers.access(ip) == 0, ip
    assert (kept.access("169.254.169.254"), kept.access("169.254.169.253")) == (0, 1)
