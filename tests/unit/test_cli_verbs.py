"""The verbs that add, serve and get over a session of the test's own: what each asks, what it prints, how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wherry.cid import CID, DAG_CBOR
from wherry.observe import Note, Progress
from wherry.results import AddResult, GetPlan, GetResult, SourcePlan, SourceReport
from wherry.ticket import Ticket

TREE = CID.of(DAG_CBOR, b"tree")


def added(**changes):
    fields = {
        "cid": str(TREE), "files": 3, "bytes": 3 << 20, "new_blocks": 4, "reused_blocks": 1, "unique_bytes": 2 << 20,
        "stored_bytes": 1536, "seconds": 2.0,
    }  # fmt: skip
    return AddResult(**(fields | changes))


def got(**changes):
    sources = [SourceReport(address="http://h:1", bytes=1 << 20, blocks=1, errors=0)]
    fields = {"cid": str(TREE), "path": "out", "bytes": 1 << 20, "fetched_bytes": 1 << 20, "seconds": 0.5, "sources": sources}
    return GetResult(**(fields | changes))


# add


def test_add_prints_the_cid_and_a_line_about_it(capsys, go, fake_session):
    session = fake_session(add=added())
    assert go(session, "add", "data") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{TREE}\n3 files, 3.0 MiB in 2.0s (1.5 MiB/s); 4 new blocks, 1 known; 2.0 MiB new, 1.5 KiB stored\n"
    assert captured.err == ""
    assert session.calls == [("add", ("data",), {})]  # what was not said is left to the configuration
    assert session.opened["verb"] == "add"


def test_add_quiet_prints_the_cid_alone(capsys, go, fake_session):
    session = fake_session(add=added(warnings=["odd"]))
    session.events = [Note("warning", "odd"), Progress(verb="add", phase="hash")]
    assert go(session, "add", "data", "-q") == 0
    assert capsys.readouterr() == (f"{TREE}\n", "")


def test_add_json_is_one_object(capsys, go, fake_session):
    assert go(fake_session(add=added()), "--json", "add", "data") == 0
    found = json.loads(capsys.readouterr().out)
    assert found | {"schema": "wherry/add/1", "cid": str(TREE), "new_blocks": 4, "reused_blocks": 1} == found


def test_add_passes_on_what_was_said(go, fake_session):
    session = fake_session(add=added())
    argv = [
        "add",
        "synth://1GiB?seed=1",
        "--chunker",
        "fixed:4MiB",
        "--mtime",
        "--name",
        "n",
        "--meta",
        "a=b=c",
        "--meta",
        "d=",
    ]
    assert go(session, *argv) == 0
    options = {"chunker": "fixed:4MiB", "mtime": True, "name": "n", "meta": {"a": "b=c", "d": ""}}
    assert session.calls == [("add", ("synth://1GiB?seed=1",), options)]


def test_add_says_a_warning_once(capsys, go, fake_session):
    session = fake_session(add=added(warnings=["seen \x1b", "unseen"]))
    session.events = [Note("warning", "seen \x1b")]
    go(session, "add", "data")
    assert capsys.readouterr().err == "warning: seen \\x1b\nwarning: unseen\n"


def test_home_and_config_reach_the_session(go, fake_session):
    session = fake_session(add=added())
    go(session, "--home", "/h", "add", "data", "--config", "/c")
    assert (session.opened["home"], session.opened["config"]) == (Path("/h"), Path("/c"))


# share and serve


def test_share_prints_the_cid_and_two_lines_to_paste(capsys, tmp_path, go, fake_session):
    session = fake_session(add=added())
    session.listen = ["http://192.0.2.7:4290", "http://192.0.2.8:4290"]
    path = tmp_path / "my data"
    path.mkdir()
    assert go(session, "share", str(path), "--listen", "http://192.0.2.7:0", "--allow-public") == 0
    captured = capsys.readouterr()
    ticket = Ticket(TREE, tuple(session.listen), "my data")
    assert captured.out.splitlines() == [
        str(TREE),
        f"wherry get {TREE} --from http://192.0.2.7:4290 --from http://192.0.2.8:4290 -o 'my data'",
        f"wherry get {ticket} -o 'my data'",
    ]
    assert "Only this machine" not in captured.err
    assert session.calls[0] == ("serve", ((),), {"listen": ("http://192.0.2.7:0",), "allow_public": True})


def test_share_on_loopback_says_who_can_reach_it(capsys, go, fake_session):
    assert go(fake_session(add=added()), "share", ".") == 0
    assert "Only this machine can reach" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("https://localhost:1", True),
        ("http://10.0.0.1:1", False),
        ("http://h:1", False),
    ],
)
def test_loopback(address, loopback):
    from wherry_cli.verbs.share import is_loopback

    assert is_loopback(address) is loopback


def test_share_of_a_name_that_cannot_be_shown_leaves_the_name_out(capsys, tmp_path, go, fake_session):
    path = tmp_path / "a\x1bb"
    path.mkdir()
    assert go(fake_session(add=added()), "share", str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"wherry get {TREE} --from http://127.0.0.1:4290"
    assert lines[2] == f"wherry get {Ticket(TREE, ('http://127.0.0.1:4290',), None)}"


def test_share_json_and_quiet(capsys, go, fake_session):
    assert go(fake_session(add=added()), "share", "/x/data", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wherry/share/1"
    assert found["listen"] == ["http://127.0.0.1:4290"]
    assert found["command"] == f"wherry get {TREE} --from http://127.0.0.1:4290 -o data"
    assert (found["cid"], found["bytes"]) == (str(TREE), 3 << 20)
    assert go(fake_session(add=added()), "share", "/x/data", "-q") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{found['ticket']}\n"
    assert captured.err == ""


def test_serve_prints_an_address_a_line(capsys, go, fake_session):
    session = fake_session()
    session.listen = ["http://127.0.0.1:1", "file:///home"]
    assert go(session, "serve", "--listen", "http://127.0.0.1:0") == 0
    assert capsys.readouterr() == ("http://127.0.0.1:1\nfile:///home\n", "")
    assert session.calls == [("serve", ((),), {"listen": ("http://127.0.0.1:0",)})]


def test_serve_says_what_a_locator_cannot_do(capsys, go, fake_session):
    session = fake_session()
    session.events = [Note("warning", "the locator mdns cannot announce\x1b"), Note("info", "never mind")]
    assert go(session, "serve") == 0
    assert capsys.readouterr().err == "warning: the locator mdns cannot announce\\x1b\n"


def test_serve_adds_first_and_says_so(capsys, go, fake_session):
    assert go(fake_session(add=added()), "serve", "a", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["listen"]) == ("wherry/serve/1", ["http://127.0.0.1:4290"])
    assert [each["cid"] for each in found["added"]] == [str(TREE)] * 2


def test_tls_goes_to_the_http_transport_and_the_token_to_all(tmp_path, monkeypatch, go, fake_session):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("c.pem", "k.pem", "t"):
        (tmp_path / name).write_text("secret")
    session = fake_session(add=added())
    go(session, "serve", "--tls-cert", "c.pem", "--tls-key", "~/k.pem", "--token-file", "t")
    assert session.opened["overrides"] == {
        "transport.http.tls_cert": str(tmp_path / "c.pem"),
        "transport.http.tls_key": str(tmp_path / "k.pem"),
        "transport.http.token_file": str(tmp_path / "t"),
        "transport.tcp.token_file": str(tmp_path / "t"),
    }
    go(session, "serve")
    assert "overrides" not in session.opened


@pytest.mark.parametrize("option", ["--token-file", "--tls-cert", "--tls-key"])
def test_a_file_that_is_not_there_is_said_by_the_name_of_its_option(capsys, tmp_path, go, fake_session, option):
    assert go(fake_session(), "serve", option, str(tmp_path / "none")) == 2
    assert f"{option} '{tmp_path}/none': there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8"), (None, "cannot be read"),
        (b" secret", "holds no token: its character 1 is ' '"),
        (b"\xef\xbb\xbfsecret", "holds no token: its character 1 is '\\ufeff'"),
        ("tök€n".encode(), "holds no token: its character 2 is '\\xf6'"),
        (b"a\0b", "holds no token: its character 2 is '\\x00'"),
        (b"x" * 1001, "holds no token: it has 1,001 characters"), (b"two\nlines", "holds no token: its character 4 is '\\n'"),
    ],
)  # fmt: skip
def test_a_file_without_a_token_is_said_by_the_name_of_its_option(capsys, tmp_path, go, data, said):
    (tmp_path / "t").mkdir() if data is None else (tmp_path / "t").write_bytes(data)
    assert go(None, "stat", str(TREE), "--token-file", str(tmp_path / "t")) == 2
    error = capsys.readouterr().err
    assert f"--token-file '{tmp_path}/t' {said}" in error
    assert "hint: " in error
    assert "WHERRY_" not in error


def test_a_token_may_come_through_a_pipe(capsys, tmp_path, go, fake_session, monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, b"s3cret\n")
    os.close(writer)
    session = fake_session()
    go(session, "serve", "--token-file", f"/dev/fd/{reader}")
    os.close(reader)
    assert session.opened["overrides"] == {f"transport.{name}.token": "s3cret" for name in ("http", "tcp")}
    monkeypatch.setattr("wherry_cli.tokens._PIPE_S", 0.1)
    os.mkfifo(tmp_path / "t")
    assert go(None, "serve", "--token-file", str(tmp_path / "t")) == 2
    assert f"--token-file '{tmp_path}/t' cannot be read: nobody wrote all of it in 0.1 s" in capsys.readouterr().err
    reader, writer = os.pipe()
    os.write(writer, b"s3cret\n")
    os.close(writer)
    assert go(None, "up", "--token-file", f"/dev/fd/{reader}") == 2
    os.close(reader)
    error = capsys.readouterr().err
    assert "is a pipe, and a daemon reads a file" in error
    assert "s3cret" not in error


# get


def test_get_counts_the_sources_that_gave_something(capsys, go, fake_session):
    one = got().sources[0]
    liar = SourceReport(address="http://liar:1", bytes=0, blocks=0, errors=1)
    assert go(fake_session(get=got(sources=[liar, one])), "get", str(TREE)) == 0
    assert capsys.readouterr().out.endswith("from 1 source\n")


def test_get_prints_where_it_is_and_how_it_came(capsys, go, fake_session):
    session = fake_session(get=got(path="out\x1b"))
    assert go(session, "get", str(TREE), "--from", "http://h:1", "--from", "lab", "-o", "out") == 0
    assert capsys.readouterr().out == "out\\x1b\n1.0 MiB, of which 1.0 MiB fetched in 0.5s (2.0 MiB/s) from 1 source\n"
    (call,) = session.calls
    assert call[1] == (str(TREE),)
    assert call[2] == {
        "sources": ("http://h:1", "lab"), "output": "out", "include": (), "exclude": (), "force": False, "dry_run": False
    }  # fmt: skip


def test_get_of_what_is_complete_says_so(capsys, go, fake_session):
    assert go(fake_session(get=got(fetched_bytes=0)), "get", str(TREE)) == 0
    assert capsys.readouterr().out == "out\n1.0 MiB, nothing to fetch\n"


def test_get_passes_on_what_was_said(go, fake_session, tmp_path):
    session = fake_session(get=got())
    (tmp_path / "t").write_text("secret")
    argv = [
        "--include",
        "a*",
        "--exclude",
        "*.b",
        "--force",
        "--wait",
        "5min",
        "--links",
        "keep",
        "--names",
        "posix",
        "--max-bytes",
        "2GB",
    ]
    assert go(session, "get", str(TREE), *argv, "--token-file", str(tmp_path / "t")) == 0
    options = session.calls[0][2]
    assert options | {
        "include": ("a*",), "exclude": ("*.b",), "force": True, "wait_s": 300.0, "links": "keep",
        "names": "posix", "max_bytes": 2 * 10**9,
    } == options  # fmt: skip
    assert session.opened["overrides"] == {f"transport.{name}.token_file": str(tmp_path / "t") for name in ("http", "tcp")}


@pytest.mark.parametrize(
    ("what", "target"),
    [
        (str(TREE), str(TREE)),
        (f"{TREE}/a/b.txt", "b.txt"),
        (f"/ipfs/{TREE}/a/", "a"),
        (str(Ticket(TREE, ("http://h:1",), "data")), "data"),
        (str(Ticket(TREE, ("http://h:1",), None)), str(TREE)),
    ],
)
def test_get_without_a_destination_makes_one_in_the_current_directory(what, target, go, fake_session):
    session = fake_session(get=got())
    assert go(session, "get", what) == 0
    assert session.calls[0][1] == (what,)
    assert session.calls[0][2]["output"] == target


def test_get_of_a_broken_ticket_asks_nothing_of_the_engine(capsys, go, fake_session):
    session = fake_session()
    assert go(session, "get", "wherry:AAAA") == 5
    assert session.calls == []


def test_get_dry_run_prints_the_plan(capsys, go, fake_session):
    sources = [
        SourcePlan(address="http://h:1", reachable=True, detail=""),
        SourcePlan(address="x\x1b", reachable=False, detail="no \x07"),
    ]
    plan = GetPlan(
        cid=str(TREE),
        path="out",
        files=2,
        bytes=10,
        have_bytes=4,
        want_bytes=6,
        free_bytes=5,
        fits=False,
        sources=sources,
    )
    assert go(fake_session(get=plan), "get", str(TREE), "--dry-run") == 0
    text = capsys.readouterr().out
    assert "to fetch: 6 B; here already: 4 B" in text
    assert "it does not fit" in text
    assert "from x\\x1b: no (no \\x07)" in text
    assert go(fake_session(get=plan), "get", str(TREE), "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fits"] is False


def test_get_seed_stays_and_serves(capsys, go, fake_session):
    session = fake_session(get=got())
    assert go(session, "get", str(TREE), "--seed", "--listen", "http://127.0.0.1:0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["listen"]) == ("wherry/get/1", ["http://127.0.0.1:4290"])
    assert [call[0] for call in session.calls] == ["serve", "get"]  # others get from it what is here already


def test_get_seed_without_an_address_serves_when_all_is_here(capsys, go, fake_session):
    session = fake_session(get=got())
    assert go(session, "get", str(TREE), "--seed", "--json") == 0
    assert [call[0] for call in session.calls] == ["get", "serve"]


def test_get_that_listens_ends_when_all_is_here(capsys, go, fake_session):
    session = fake_session(get=got())
    assert go(session, "get", str(TREE), "--listen", "http://127.0.0.1:0", "--json") == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "wherry/get/1"
    assert [call[0] for call in session.calls] == ["serve", "get"]


@pytest.mark.parametrize("argv", [("--seed", "--dry-run"), ("--listen", "http://h:1", "--dry-run"), ("--allow-public",)])
def test_get_refuses_what_makes_no_sense(argv, go, fake_session):
    session = fake_session()
    assert go(session, "get", str(TREE), *argv) == 2
    assert session.calls == []


def test_an_empty_target_is_no_target(capsys, go, fake_session):
    assert go(fake_session(), "get", str(TREE), "-o", "") == 2
    assert "-o names nothing" in capsys.readouterr().err
