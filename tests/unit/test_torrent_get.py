"""The get of a torrent, with a transport that writes files: what is checked, kept, told and given up (specs/0036 §9)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from contextlib import suppress

import pytest
from torrents import BIG, CONTENTS, hybrid

from wherry.abc.torrents import TorrentState
from wherry.errors import (
    DataError,
    IntegrityError,
    LimitExceeded,
    LocalError,
    NoSource,
    NoSpace,
    NotFound,
    PluginError,
    TargetBusy,
    TargetExists,
    UnsafeName,
    UsageError,
)
from wherry.observe import Note
from wherry.session import Session
from wherry.torrent.bencode import decode, encode
from wherry.torrent.read import read_torrent
from wherry.transfer import torrent_in, torrent_place
from wherry.transfer.torrent_in import Rules, TorrentGet, given
from wherry_cli.app import run as wherry
from wherry_cli.verbs.get import is_torrent

DATA, FILES = CONTENTS["hybrid"]
INFO = read_torrent(DATA).info
MAGNET = f"magnet:?xt=urn:btih:{hashlib.sha1(INFO).hexdigest()}&dn=its%20name"
RULES = Rules(portable=True, bytes_max=None, force=False, sync=True, wait_s=None, lost_s=60.0)


class Fake:
    """A transport that has everything."""

    def __init__(self, files=FILES, *, info=INFO, states=(), damage=()):
        self.files, self.info, self.states = files, info, states
        self.damage = list(damage)  # for each call, a file that is spoilt
        self.calls, self.wanted = 0, None

    async def torrent(self, wanted, approve):
        self.calls, self.wanted = self.calls + 1, wanted
        places = wanted.files if wanted.files is not None else await approve(self.info)
        for state in self.states:
            yield state
        for index, (place, content) in enumerate(zip(places, self.files, strict=True)):
            path = os.path.join(wanted.folder, place.path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if content:  # empty ones are core's to make
                with open(path, "wb") as file:
                    file.write(content if index not in self.damage[:1] else content[:-1] + b"!")
        del self.damage[:1]
        yield TorrentState("fetch", sum(map(len, self.files)), sum(map(len, self.files)), 10, 1)


@pytest.fixture
def torrent(tmp_path):
    path = tmp_path / "x.torrent"
    path.write_bytes(DATA)
    return str(path)


def get(what, target, fake, rules=RULES, observe=None):
    return asyncio.run(
        TorrentGet(given(what), str(target), fake, rules, observe or (lambda event: None)).run(["h:1"], ["http://w/"], 1.0, 2.0)
    )


def check(target):
    assert (target / "a").read_bytes() == BIG
    assert (target / "b" / "c").read_bytes() == b"x"
    assert (target / "empty").read_bytes() == b""
    assert [name for name in os.listdir(target.parent) if name.endswith("-torrent")] == []


@pytest.mark.parametrize("magnet", [False, True])
def test_it_comes_and_gets_its_name(tmp_path, torrent, magnet):
    fake = Fake()
    found = get(MAGNET if magnet else torrent, tmp_path / "got", fake)
    check(tmp_path / "got")
    assert found.info == INFO
    wanted = fake.wanted
    assert (list(wanted.peers), list(wanted.webseeds), wanted.up, wanted.down) == (["h:1"], ["http://w/"], 1.0, 2.0)
    assert wanted.magnet == (MAGNET.partition("&")[0] if magnet else "")
    get(torrent, tmp_path / "got", fake)  # here already
    assert fake.calls == 1


def test_a_single_file(tmp_path):
    path = tmp_path / "x.torrent"
    path.write_bytes(hybrid([((), BIG)], name="file"))
    get(str(path), tmp_path / "got", Fake([BIG]))
    assert (tmp_path / "got").read_bytes() == BIG
    assert get(str(path), tmp_path / "got", Fake([])).single


def test_what_a_library_vouches_for_wrongly_is_looked_at_again_and_then_refused(tmp_path, torrent):
    notes = []
    fake = Fake(damage=[0])
    get(torrent, tmp_path / "got", fake, observe=notes.append)
    assert fake.calls == 2
    assert "'a' is not what the torrent says" in notes[0].text
    check(tmp_path / "got")
    with pytest.raises(IntegrityError, match="'b/c' is not what"):
        get(torrent, tmp_path / "other", Fake(damage=[1, 1]))
    assert not (tmp_path / "other").exists()


def test_what_is_not_in_the_torrent_is_not_kept(tmp_path, torrent):
    class More(Fake):
        async def torrent(self, wanted, approve):
            os.makedirs(f"{wanted.folder}/data/b/more", exist_ok=True)
            os.symlink("/etc/passwd", f"{wanted.folder}/data/link")
            async for state in super().torrent(wanted, approve):
                yield state

    get(torrent, tmp_path / "got", More())
    check(tmp_path / "got")
    assert sorted(os.listdir(tmp_path / "got")) == ["a", "b", "empty"]
    assert os.listdir(tmp_path / "got" / "b") == ["c"]


@pytest.mark.parametrize("link", ["a", "b", ""])
def test_no_link_is_followed(tmp_path, torrent, link):
    class Linked(Fake):
        async def torrent(self, wanted, approve):
            async for state in super().torrent(wanted, approve):
                yield state
            place = os.path.join(wanted.folder, "data", link).rstrip("/")
            with suppress(FileExistsError, IsADirectoryError):
                os.rename(place, tmp_path / "aside")
                os.symlink(tmp_path / "aside", place)

    with pytest.raises((IntegrityError, LocalError)):
        get(torrent, tmp_path / "got", Linked())
    assert not (tmp_path / "got").exists()


def test_what_is_there_is_left_unless_forced(tmp_path, torrent):
    target = tmp_path / "got"
    for make in (lambda: target.write_text("mine"), target.mkdir, (target / "more").mkdir):
        if target.is_file():
            target.unlink()
        make()
        with pytest.raises(TargetExists, match="is there already"):
            get(torrent, target, Fake())
        with pytest.raises(TargetExists, match="is there already"):
            get(MAGNET, target, Fake())
    get(torrent, target, Fake(), RULES._replace(force=True))
    check(target)
    assert get(MAGNET, target, Fake([])).info == INFO  # the info dictionary says that it is here


def test_a_folder_of_another_get_is_not_taken(tmp_path, torrent):
    class Cut(Fake):
        async def torrent(self, wanted, approve):
            async for _ in super().torrent(wanted, approve):
                with pytest.raises(TargetBusy):
                    await TorrentGet(given(torrent), str(tmp_path / "got"), Fake(), RULES, lambda event: None).run(
                        [], [], None, None
                    )
                raise LocalError("cut")
            yield

    with pytest.raises(LocalError, match="cut"):
        get(torrent, tmp_path / "got", Cut())
    other = tmp_path / "y.torrent"
    other.write_bytes(CONTENTS["version 1"][0])
    with pytest.raises(TargetExists, match="a part of another torrent"):
        get(str(other), tmp_path / "got", Fake())
    get(torrent, tmp_path / "got", Fake())
    check(tmp_path / "got")


def test_a_magnet_link_asks_for_its_metadata_once(tmp_path):
    class Cut(Fake):
        async def torrent(self, wanted, approve):
            if self.files is not None:
                assert wanted.files is None
                await approve(self.info)
            else:
                assert wanted.files is not None
            raise LocalError("cut")
            yield

    with pytest.raises(LocalError, match="cut"):
        get(MAGNET, tmp_path / "got", Cut())
    with pytest.raises(LocalError, match="cut"):  # the same torrent, by its other infohash
        get(f"magnet:?xt=urn:btmh:1220{hashlib.sha256(INFO).hexdigest()}", tmp_path / "got", Cut(files=None))
    fake = Fake()
    get(MAGNET, tmp_path / "got", fake)
    assert [place.path for place in fake.wanted.files] == ["data/a", "data/b/c", "data/empty"]
    check(tmp_path / "got")


@pytest.mark.parametrize(
    ("info", "error"),
    [
        (read_torrent(CONTENTS["version 1"][0]).info, IntegrityError),
        (b"d", DataError),
        (b"", DataError),
    ],
)
def test_metadata_that_is_not_the_links_is_refused(tmp_path, info, error):
    with pytest.raises(error):
        get(MAGNET, tmp_path / "got", Fake(info=info))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("magnet", [False, True])
@pytest.mark.parametrize("name", [b"..", b"a/b", b"/etc/passwd", b"nul", b"\xff", b""])
def test_nothing_is_written_for_a_name_that_is_none(tmp_path, name, magnet):
    whole = encode({"info": decode(INFO) | {b"name": name}, "piece layers": decode(DATA)[b"piece layers"]})
    info = encode(decode(whole)[b"info"])
    what = f"magnet:?xt=urn:btih:{hashlib.sha1(info).hexdigest()}"
    if not magnet:
        what = str(tmp_path / "x.torrent")
        (tmp_path / "x.torrent").write_bytes(whole)
    before = os.listdir(tmp_path)
    with pytest.raises(UnsafeName):
        get(what, tmp_path / "got", Fake(info=info))
    assert os.listdir(tmp_path) == before


def test_bounds_and_room_are_looked_at_first(tmp_path, torrent, monkeypatch):
    fake = Fake()
    with pytest.raises(LimitExceeded, match="raise --max-bytes"):
        get(torrent, tmp_path / "got", fake, RULES._replace(bytes_max=10))
    monkeypatch.setattr(torrent_place, "free_bytes", lambda path: 100)
    with pytest.raises(NoSpace):
        get(torrent, tmp_path / "got", fake)
    assert fake.calls == 0


@pytest.mark.parametrize("case", [(0, None, 25), (5, None, 60), (0, 3.0, 3), (5, 90.0, 90)])
def test_a_download_that_stands_still_is_told_and_ended(tmp_path, torrent, monkeypatch, case):
    came, wait_s, most = case
    now, notes = [0.0], []
    monkeypatch.setattr(torrent_in.time, "monotonic", lambda: now[0])

    class Still(Fake):
        async def torrent(self, wanted, approve):
            while True:
                yield TorrentState("fetch", came, 100, came, 2, [("192.0.2.1:1", "it \x1b sleeps")])
                now[0] += 1.0

    with pytest.raises(NoSource, match=r"2 peers connected; '192.0.2.1:1': 'it \\x1b sleeps'"):
        get(torrent, tmp_path / "got", Still(), RULES._replace(wait_s=wait_s), notes.append)
    assert most - 1 <= now[0] <= most + 1
    assert len([note for note in notes if isinstance(note, Note)]) == (most > 10)


def test_progress_says_what_goes_on(tmp_path, torrent):
    run = TorrentGet(given(torrent), str(tmp_path / "got"), Fake(), RULES, lambda event: None)
    assert (run.progress().phase, run.progress().bytes_done) == ("fetch", 0)
    run._state = TorrentState("check", 7)
    assert (run.progress().phase, run.progress().bytes_done) == ("verify", 7)
    run._state = TorrentState("fetch", 8, 9, 10, 3)
    assert (run.progress().bytes_done, run.progress().bytes_total, run.progress().sources_alive) == (8, run.torrent.size, 3)


def test_names_of_targets(torrent):
    assert given(torrent).name == "n"
    assert given(MAGNET).name == "its name"
    assert given(MAGNET.partition("&")[0]).name == hashlib.sha1(INFO).hexdigest()
    with pytest.raises(NotFound):
        given("/nowhere/x.torrent")


def session(tmp_path, work, **environ):
    async def run():
        async with Session.open(home=tmp_path / "home", environ=environ) as opened:
            return await work(opened)

    return asyncio.run(run())


def test_the_session_adds_what_came(tmp_path, torrent, monkeypatch):
    async def work(opened):
        fake = Fake()
        fake.__class__ = type("Fake", (Fake,), {})
        monkeypatch.setattr(opened._wiring, "build", lambda kind, name: fake)
        result = await opened.get_torrent(torrent, output=str(tmp_path / "got"), sources=["127.0.0.1:1", "http://127.0.0.1:2/"])
        added = await opened.add(str(tmp_path / "got"))
        return fake, result, added

    fake, result, added = session(tmp_path, work, WHERRY_LIMITS__DOWN="2 MB/s", WHERRY_LIMITS__TRANSFER_DOWN="1 MB/s")
    assert (result.cid, result.unixfs_cid, result.bytes, result.files) == (added.cid, added.unixfs_cid, added.bytes, 3)
    assert (fake.wanted.down, fake.wanted.up) == (1e6, None)
    assert (list(fake.wanted.peers), list(fake.wanted.webseeds)) == (["127.0.0.1:1"], ["http://127.0.0.1:2/"])
    assert result.btih == hashlib.sha1(INFO).hexdigest()
    assert result.btmh == hashlib.sha256(INFO).hexdigest()


@pytest.mark.parametrize("sources", [["nonsense"], ["h:99999"], ["file:///x"], ["h:1"] * 21])
def test_sources_of_torrents(tmp_path, torrent, sources):
    with pytest.raises(UsageError):
        session(tmp_path, lambda opened: opened.get_torrent(torrent, sources=sources))


def test_a_library_that_is_not_there_is_named_with_what_brings_it(tmp_path, torrent):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    environ = {"WHERRY_TRANSPORT__TORRENT__PYTHON": str(python)}
    with pytest.raises(PluginError, match="libtorrent is not installed") as caught:
        session(tmp_path, lambda opened: opened.get_torrent(torrent, output=str(tmp_path / "got")), **environ)
    assert 'pip install "wherry[torrent]"' in caught.value.hint
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo nonsense", "no line of JSON"),
        ("echo '{}'", "of another version"),
        ("echo it broke >&2", "ended: it broke"),
        ("sleep 60; true", "said nothing"),
        ("""echo '{"event": "ready", "version": 1}'; echo '{"event": "state"}'""", "no state"),
        ("""echo '{"event": "ready", "version": 1}'; echo '{"event": "fail", "text": "no \\u001b", "errno": 28}'""", "No|no"),
    ],
)
def test_a_process_that_is_none_is_an_error(tmp_path, torrent, script, said):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    environ = {"WHERRY_TRANSPORT__TORRENT__PYTHON": str(python), "WHERRY_TRANSPORT__TORRENT__START_TIMEOUT": "0.5s"}
    with pytest.raises((PluginError, LocalError), match=said):
        session(tmp_path, lambda opened: opened.get_torrent(torrent, output=str(tmp_path / "got")), **environ)


def test_an_interpreter_that_is_none(tmp_path, torrent):
    environ = {"WHERRY_TRANSPORT__TORRENT__PYTHON": "/nowhere/python"}
    with pytest.raises(PluginError, match="cannot be run"):
        session(tmp_path, lambda opened: opened.get_torrent(torrent), **environ)


def test_a_torrent_is_no_source_of_blocks(tmp_path):
    async def work(opened):
        transport = opened._wiring.build("transport", "torrent")
        async with transport.connect(MAGNET):
            pass

    with pytest.raises(UsageError, match="no source of blocks"):
        session(tmp_path, work)


@pytest.mark.parametrize(
    "words", [["--include", "x"], ["--dry-run"], ["-o", "null:"], ["--allow-public"], ["--listen", "http://127.0.0.1:0"]]
)
def test_options_that_mean_nothing_for_torrents(tmp_path, torrent, words, capsys):
    assert wherry(["--home", str(tmp_path / "home"), "get", torrent, *words]) == 2
    assert "error:" in capsys.readouterr().err


def test_the_verb_says_both_cids(tmp_path, torrent, monkeypatch, capsys):
    target = tmp_path / "got"
    get(torrent, target, Fake())
    for _ in range(2):
        assert wherry(["--home", str(tmp_path / "home"), "get", torrent, "-o", str(target), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["schema"] == "wherry/torrent-get/1"
    assert wherry(["--home", str(tmp_path / "home"), "get", torrent, "-o", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(target)
    assert lines[1:3] == [f"CID: {found['cid']}", f"in UnixFS, for any IPFS tool: {found['unixfs_cid']}"]
    assert "nothing to fetch" in lines[3]


@pytest.mark.parametrize(
    ("what", "so"),
    [
        ("magnet:?xt=x", True), ("MAGNET:?x", True), ("nowhere/x.torrent", True), ("x.TORRENT", True), ("x.iso", False),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/x.torrent", False),
        ("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8/x.torrent", False),
    ],
)  # fmt: skip
def test_what_is_taken_for_a_torrent(what, so):
    assert is_torrent(what) == so
