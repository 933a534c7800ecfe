"""`wherry get` of torrents beside web seeds that lie: who is banned, who is asked once more, what is kept (specs/0036 §11)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest
from liars import Dripping, HeldLiar, Liar, SlowLiar, lying
from seeding import made, seeding
from torrentgets import LOOPBACK, children, getting, noted, planted, progress, until, wherry

from wherry.errors import NoSource, WherryError
from wherry.observe import Note
from wherry.session import Session
from wherry_cli.demo import compare

lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(name="tree")
def _tree(tmp_path):
    return planted(tmp_path)


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
    assert len(again) <= honest + 1  # each once, the liar too, which has two addresses


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


def test_a_get_that_is_killed_while_a_source_is_on_trial_goes_on(tmp_path, tree):
    HeldLiar.let.clear()
    HeldLiar.over.clear()
    torrent = tmp_path / "x.torrent"
    (tree / "large").write_bytes(os.urandom((24 << 20) + 17))  # the liar is asked for 8 MiB at once
    made(tree.parent, "tree", torrent)
    before = set(children(os.getpid()))
    with lying(HeldLiar) as liar, seeding(torrent, tree.parent, rate=4 << 20) as peer:
        (seed,) = set(children(os.getpid())) - before
        words = ["get", torrent, "--from", f"http://{liar}/", "--from", peer, "-o", tmp_path / "got", "--progress", "json"]
        words += ["--json", "--wait", "9"]  # less than a silent round has where nobody waits
        with wherry(tmp_path, *words) as process:
            progress(process, 8 << 20)
            os.kill(seed, signal.SIGSTOP)  # it stays connected, and gives nothing
            HeldLiar.let.set()
            until(process, noted("sent what is not in the torrent"))
            HeldLiar.let.clear()
            until(process, noted("is asked once more, alone"))
            event = until(process, lambda event: event.get("event") == "progress" and event["phase"] == "fetch")
            (child,) = children(process.pid)
            process.kill()
            process.stderr.read()
            assert process.wait() == -signal.SIGKILL
        while Path(f"/proc/{child}").exists():
            time.sleep(0.02)
        os.kill(seed, signal.SIGCONT)
        HeldLiar.over.set()
        HeldLiar.let.set()
        with wherry(tmp_path, *words) as process:
            out, err = process.communicate()
    assert process.returncode == 0, err
    assert list(compare(tree, tmp_path / "got")) == []
    result, kept = json.loads(out), event["bytes_done"]  # whole pieces: what was not is given up when it is begun anew
    assert kept > 1 << 20
    assert result["fetched_bytes"] <= result["bytes"] - kept + (1 << 18)  # some blocks may be asked for twice at the end


def test_a_hybrid_whose_versions_disagree_is_begun_anew_and_then_given_up(tmp_path, tree):
    """What a liar's blocks may do to one piece looks the same, and goes away when it is begun anew; this does not."""
    torrent, notes = tmp_path / "x.torrent", []
    made(tree.parent, "tree", torrent)
    whole = lt.bdecode(torrent.read_bytes())
    whole[b"info"][b"pieces"] = bytes(20) + whole[b"info"][b"pieces"][20:]
    torrent.write_bytes(lt.bencode(whole))

    class Honest(Liar):
        """A web seed of what is there: a seed of libtorrent's would notice, and give nothing."""

        def do_GET(self):  # noqa: N802  # http.server has it so
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


@pytest.mark.parametrize("honest", [True, False])
def test_a_web_seed_that_holds_up_a_peer_is_left_out_and_asked_again_if_that_vanishes(tmp_path, honest):
    data, torrent, notes = os.urandom(32 << 20), tmp_path / "x.torrent", []
    (tmp_path / "file").write_bytes(data)
    made(tmp_path, "file", torrent, piece=1 << 20)
    handler = type("Seed", (Dripping,), {"data": data if honest else b"", "let": threading.Event()})
    before = set(children(os.getpid()))
    with lying(handler) as server, seeding(torrent, tmp_path, rate=4 << 20) as peer:
        (seed,) = set(children(os.getpid())) - before

        def observe(event):
            notes.extend([event.text] if isinstance(event, Note) else [])
            if honest and isinstance(event, Note) and "is left out" in event.text:
                os.kill(seed, signal.SIGKILL)
                handler.let.set()

        getting(tmp_path, torrent, tmp_path / "got", sources=[f"http://{server}/", peer], wait_s=30.0, observe=observe)
        handler.let.set()
    assert (tmp_path / "got").read_bytes() == data
    assert notes[0] == f"{server} is slow, and is left out: others have the rest before it gives what it holds"
    assert not honest or notes[1] == f"{server} is asked again: nobody else gives anything"
    assert not [text for text in notes if text.startswith(f"{peer} sent what is not")]
