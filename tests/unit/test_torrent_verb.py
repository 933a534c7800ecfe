"""`wherry get` of torrents: the session, the verb, and the process that runs the library (specs/0036 §9, §11)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys

import pytest
from faketorrent import DATA, INFO, MAGNET, Fake, get

from wherry.errors import LocalError, PluginError, UsageError
from wherry.observe import Note
from wherry.session import Session
from wherry.torrent.read import read_torrent
from wherry_cli.app import run as wherry
from wherry_cli.verbs.get import is_torrent


@pytest.fixture
def torrent(tmp_path):
    path = tmp_path / "x.torrent"
    path.write_bytes(DATA)
    return str(path)


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
    assert (list(fake.wanted.peers), list(fake.wanted.webseeds)) == (
        ["127.0.0.1:1"],
        ["http://127.0.0.1:2/ipfs/", "http://127.0.0.1:2/"],
    )
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


def test_peers_that_a_link_names_may_lead_nowhere(tmp_path):
    python = tmp_path / "python"
    ready, fail = '{"event": "ready", "version": 1}', '{"event": "fail", "text": "enough"}'
    python.write_text(f"#!/bin/sh\necho '{ready}'; head -n 1 > {tmp_path}/start; echo '{fail}'\n")
    python.chmod(0o755)
    notes = []

    def work(opened):
        link = f"{MAGNET}&x.pe=a..b:1&x.pe=127.0.0.1:9"
        return opened.get_torrent(
            link, sources=["127.0.0.1:8"], output=str(tmp_path / "got"), observe=lambda event: notes.append(str(event))
        )

    with pytest.raises(LocalError, match="enough"):
        session(tmp_path, work, WHERRY_TRANSPORT__TORRENT__PYTHON=str(python))
    start = json.loads((tmp_path / "start").read_text())
    assert (start["peers"], start["hints"]) == ([["127.0.0.1", 8]], [["127.0.0.1", 9]])
    assert any("left out: a..b:1" in note for note in notes)


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


def test_a_torrent_on_a_server_is_to_be_fetched_first(tmp_path, capsys):
    assert wherry(["--home", str(tmp_path / "home"), "get", "https://files.example/x.torrent"]) == 2
    assert "first, and name the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "helped"), [(["--include", "x"], True), (["--exclude", "x", "--dry-run"], True), (["--dry-run"], False)]
)
def test_who_wants_a_part_is_told_how(tmp_path, torrent, words, helped, capsys):
    assert wherry(["--home", str(tmp_path / "home"), "get", torrent, *words, "-o", str(tmp_path / "got")]) == 2
    assert ("the CID that it prints" in capsys.readouterr().err) is helped
    assert not (tmp_path / "got").exists()


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


def test_what_no_client_would_take_is_not_exported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = ["--home", str(tmp_path / "home")]
    cids = []
    for name, data in (("full", b"x"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        assert wherry([*home, "add", "-q", name]) == 0
        cids.append(capsys.readouterr().out.split()[0])
    full, empty = cids
    for tracker in ("foo", "ftp://h/", "http://\u00e4/", "udp://"):
        assert wherry([*home, "export", full, "--torrent", "t", "--tracker", tracker]) == 2
        assert "is no tracker" in capsys.readouterr().err
    assert wherry([*home, "export", full, "--torrent", "t", *(f"--tracker=http://t{n}/" for n in range(51))]) == 2
    assert "at most 50" in capsys.readouterr().err
    assert wherry([*home, "export", empty, "--torrent", "t"]) == 2
    assert "no byte in it" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_a_torrent_goes_to_standard_output(tmp_path, capfdbinary):
    (tmp_path / "f").write_bytes(b"x")
    home = ["--home", str(tmp_path / "home")]
    assert wherry([*home, "add", "-q", str(tmp_path / "f")]) == 0
    cid = capfdbinary.readouterr().out.split()[0].decode()
    assert wherry([*home, "export", cid, "--torrent", "-", "--tracker", "udp://t:1"]) == 0
    assert read_torrent(capfdbinary.readouterr().out).trackers == ("udp://t:1",)


def test_an_export_warns_of_names_that_clients_may_change(tmp_path):
    (tmp_path / "tree").mkdir()
    for name in ("plain", "a\\b"):
        (tmp_path / "tree" / name).write_bytes(b"x")
    notes = []

    async def work(opened):
        added = await opened.add(str(tmp_path / "tree"))
        await opened.export_torrent(added.cid, str(tmp_path / "x.torrent"), observe=notes.append)
        return added.cid

    cid = session(tmp_path, work)
    (told,) = (note.text for note in notes if isinstance(note, Note))
    assert told.startswith(rf"'{cid}/a\\b': the name has '\\' in it")
