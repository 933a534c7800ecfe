"""`wherry get` of torrents and magnet links: from an ordinary client, and from the web seed that `serve` is (specs/0036 §9)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from seeding import made, seeding

from wherry.errors import NoSource, UnsafeName, WherryError
from wherry.observe import Note
from wherry.session import Session
from wherry_cli.demo import compare
from wherry_torrent.client import kept_out

lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LOOPBACK = {"WHERRY_TRANSPORT__TORRENT__LISTEN": "127.0.0.1:0"}


@pytest.fixture
def tree(tmp_path):
    """A folder, ``source/tree``, to be seeded."""
    root = tmp_path / "source" / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(os.urandom((1 << 20) + 17))
    (root / "sub" / "a name").write_bytes(b"small")
    (root / "sub" / "empty").touch()
    return root


def getting(tmp_path, what, output, **options):
    """Gets a torrent in this process; gives the result, and what `add` says of the source."""

    async def run():
        async with Session.open(home=tmp_path / "home", environ=LOOPBACK) as session:
            return await session.get_torrent(str(what), output=str(output), **options)

    return asyncio.run(run())


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


def wherry(tmp_path, *words, **options):
    environ = {**os.environ, **LOOPBACK, "WHERRY_HOME": str(tmp_path / "home")}
    return subprocess.Popen(
        [sys.executable, "-m", "wherry_cli", *map(str, words)], env=environ, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def progress(process, least):
    """Waits until so many bytes are there; gives how many."""
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "progress" and event["phase"] == "fetch" and event["bytes_done"] >= least:
            return event["bytes_done"]
    raise AssertionError("it ended before")


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
            getting = session.get_torrent(magnet, output=str(tmp_path / "got"), sources=[peer], observe=observe)
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
        result = getting(tmp_path, magnet, tmp_path / "got", sources=[peer])
    assert 0 < result.fetched_bytes < result.bytes - large // 6
    assert list(compare(tree, tmp_path / "got")) == []


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


class Liar(BaseHTTPRequestHandler):
    """A web seed of zeros."""

    protocol_version = "HTTP/1.1"
    delay_s = 0.0

    def do_GET(self):
        time.sleep(self.delay_s)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/*")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(bytes(last - first + 1))

    def log_message(self, *words):
        pass


class SlowLiar(Liar):
    """One whose blocks come when others have given the rest of the same pieces."""

    delay_s = 1.0


class Server(ThreadingHTTPServer):
    """Says nothing of clients that go away in the midst of an answer."""

    def handle_error(self, request, client_address):
        pass


@contextmanager
def lying(handler=Liar):
    """Runs a web seed that lies; gives HOST:PORT."""
    with Server(("127.0.0.1", 0), handler) as liar:
        thread = threading.Thread(target=liar.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{liar.server_port}"
        finally:
            liar.shutdown()
            thread.join()


def test_a_source_that_lies_is_left_and_nothing_of_it_counts(tmp_path, tree):
    torrent, notes = tmp_path / "x.torrent", []
    made(tree.parent, "tree", torrent)
    with lying() as liar, seeding(torrent, tree.parent) as peer:
        url = f"http://{liar}/"
        with pytest.raises(NoSource, match=re.escape(url)):
            getting(tmp_path, torrent, tmp_path / "got", sources=[url], wait_s=2.0, observe=notes.append)
        assert not (tmp_path / "got").exists()
        getting(tmp_path, torrent, tmp_path / "got", sources=[url, peer])
    assert list(compare(tree, tmp_path / "got")) == []


def rounds(notes):
    """The notes of each round: the first of each but the first says who is asked again."""
    found = [[]]
    for text in notes:
        if "is asked once more" in text:
            found.append([])
        found[-1].append(text)
    return found


@pytest.mark.parametrize("honest", [1, 2])
def test_who_gave_the_rest_of_what_a_liar_spoilt_is_asked_once_more(tmp_path, tree, honest):
    torrent, notes = tmp_path / "x.torrent", []
    (tree / "large").write_bytes(os.urandom((8 << 20) + 17))
    made(tree.parent, "tree", torrent, piece=1 << 20)
    with lying(SlowLiar) as liar, ExitStack() as stack:
        rate = (2 << 20) // honest  # four seconds for all: it answers before they have given everything
        peers = [stack.enter_context(seeding(torrent, tree.parent, rate=rate)) for _ in range(honest)]
        getting(tmp_path, torrent, tmp_path / "got", sources=[f"http://{liar}/", *peers], wait_s=30.0, observe=notes.append)
    assert list(compare(tree, tmp_path / "got")) == []
    told = [note.text for note in notes if isinstance(note, Note)]
    banned = [f"{who} sent what is not in the torrent, and is asked no more" for who in (liar, *peers)]
    assert banned[0] in told
    assert all(len(set(each)) == len(each) for each in rounds(told)), told  # once for each in a round
    again = [text for text in told if "is asked once more" in text]
    if set(banned) <= set(told):  # nobody was left
        assert again[0].split()[0] in peers
    assert len(again) <= honest + 2  # each once; the liar has two addresses


def test_what_an_earlier_run_banned_is_asked_anew(tmp_path, tree):
    torrent = tmp_path / "x.torrent"
    (tree / "large").write_bytes(os.urandom((8 << 20) + 17))
    made(tree.parent, "tree", torrent, piece=1 << 20)

    async def until_banned(sources):
        seen = asyncio.Event()

        def observe(event):
            if isinstance(event, Note) and event.text.startswith(f"{sources[1]} sent what is not"):
                seen.set()

        async with Session.open(home=tmp_path / "home", environ=LOOPBACK) as session:
            getting = session.get_torrent(str(torrent), output=str(tmp_path / "got"), sources=sources, observe=observe)
            task = asyncio.create_task(getting)
            await asyncio.wait([task, asyncio.create_task(seen.wait())], return_when=asyncio.FIRST_COMPLETED)
            task.cancel()
            await asyncio.wait([task])

    with seeding(torrent, tree.parent) as peer:
        with lying(SlowLiar) as liar:
            asyncio.run(until_banned([f"http://{liar}/", peer]))
        getting(tmp_path, torrent, tmp_path / "got", sources=[peer], wait_s=30.0)
    assert list(compare(tree, tmp_path / "got")) == []


def test_a_hybrid_whose_versions_disagree_is_begun_anew_and_then_given_up(tmp_path, tree):
    """What a liar's blocks may do to one piece looks the same, and goes away when it is begun anew; this does not."""
    torrent, notes = tmp_path / "x.torrent", []
    made(tree.parent, "tree", torrent)
    whole = lt.bdecode(torrent.read_bytes())
    whole[b"info"][b"pieces"] = bytes(20) + whole[b"info"][b"pieces"][20:]
    torrent.write_bytes(lt.bencode(whole))

    class Honest(Liar):
        """A web seed of what is there: a seed of libtorrent's would notice, and give nothing."""

        def do_GET(self):
            path = tree.parent / unquote(self.path[1:])
            if not path.is_file():
                self.send_error(404)
                return
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{path.stat().st_size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            self.wfile.write(path.read_bytes()[first : last + 1])

    with lying(Honest) as server, pytest.raises(WherryError, match="v1 and v2 hashes"):
        getting(tmp_path, torrent, tmp_path / "got", sources=[f"http://{server}/"], wait_s=30.0, observe=notes.append)
    assert len([note for note in notes if isinstance(note, Note) and "fetched anew" in note.text]) == 3
    assert not (tmp_path / "got").exists()


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
