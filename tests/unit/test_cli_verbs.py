"""Every verb over a session of the test's own: what it asks of the engine, what it prints, how it ends."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from wherry.cid import CID, DAG_CBOR, RAW
from wherry.observe import Note, Progress
from wherry.results import (
    AddResult,
    Check,
    DifferenceReport,
    GetPlan,
    GetResult,
    LsEntry,
    RepairResult,
    SourcePlan,
    SourceReport,
    Stat,
    VerifyResult,
)
from wherry.ticket import Ticket
from wherry_cli.app import run
from wherry_cli.invocation import Invocation

TREE = CID.of(DAG_CBOR, b"tree")
LEAF = CID.of(RAW, b"leaf")


def added(**changes):
    fields = {"cid": str(TREE), "files": 3, "bytes": 3 << 20, "new_blocks": 4, "reused_blocks": 1, "seconds": 2.0}
    return AddResult(**(fields | changes))


def got(**changes):
    sources = [SourceReport(address="http://h:1", bytes=1 << 20, blocks=1, errors=0)]
    fields = {"cid": str(TREE), "path": "out", "bytes": 1 << 20, "fetched_bytes": 1 << 20, "seconds": 0.5, "sources": sources}
    return GetResult(**(fields | changes))


class Serving:
    def __init__(self, listen):
        self.listen = listen
        self.added = []

    async def forever(self):
        return


class FakeSession:
    """Notes each call, and answers with what the test put in."""

    def __init__(self, **answers):
        self.calls = []
        self.answers = answers
        self.events = []
        self.listen = ["http://127.0.0.1:4290"]
        self.opened = {}

    def __getattr__(self, name):
        async def method(*arguments, observe=None, **options):
            self.calls.append((name, arguments, options))
            for event in self.events:
                observe(event)
            return self.answers[name]

        return method

    @asynccontextmanager
    async def serve(self, paths, **options):
        self.calls.append(("serve", (paths,), options))
        yield Serving(self.listen)

    async def cat(self, *arguments, **options):
        self.calls.append(("cat", arguments, options))
        for piece in self.answers["cat"]:
            yield piece

    async def ls(self, *arguments, **options):
        self.calls.append(("ls", arguments, options))
        for entry in self.answers["ls"]:
            if isinstance(entry, Exception):
                raise entry
            yield entry


def go(session, *argv):
    """Runs a line over ``session``; the options that it was opened with are kept in ``session.opened``."""

    @asynccontextmanager
    async def opener(**options):
        session.opened = options
        yield session

    return run(argv, Invocation(opener=opener, environ={}))


# add


def test_add_prints_the_cid_and_a_line_about_it(capsys):
    session = FakeSession(add=added())
    assert go(session, "add", "data") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{TREE}\n3 files, 3.0 MiB in 2.0s (1.5 MiB/s); 4 new blocks, 1 known\n"
    assert captured.err == ""
    assert session.calls == [("add", ("data",), {})]  # what was not said is left to the configuration
    assert session.opened["verb"] == "add"


def test_add_quiet_prints_the_cid_alone(capsys):
    session = FakeSession(add=added(warnings=["odd"]))
    session.events = [Note("warning", "odd"), Progress(verb="add", phase="hash")]
    assert go(session, "add", "data", "-q") == 0
    assert capsys.readouterr() == (f"{TREE}\n", "")


def test_add_json_is_one_object(capsys):
    assert go(FakeSession(add=added()), "--json", "add", "data") == 0
    found = json.loads(capsys.readouterr().out)
    assert found | {"schema": "wherry/add/1", "cid": str(TREE), "new_blocks": 4, "reused_blocks": 1} == found


def test_add_passes_on_what_was_said():
    session = FakeSession(add=added())
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


def test_add_says_a_warning_once(capsys):
    session = FakeSession(add=added(warnings=["seen \x1b", "unseen"]))
    session.events = [Note("warning", "seen \x1b")]
    go(session, "add", "data")
    assert capsys.readouterr().err == "warning: seen \\x1b\nwarning: unseen\n"


def test_home_and_config_reach_the_session():
    session = FakeSession(add=added())
    go(session, "--home", "/h", "add", "data", "--config", "/c")
    assert (session.opened["home"], session.opened["config"]) == (Path("/h"), Path("/c"))


# share and serve


def test_share_prints_the_cid_and_two_lines_to_paste(capsys, tmp_path):
    session = FakeSession(add=added())
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


def test_share_on_loopback_says_who_can_reach_it(capsys):
    assert go(FakeSession(add=added()), "share", ".") == 0
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


def test_share_of_a_name_that_cannot_be_shown_leaves_the_name_out(capsys, tmp_path):
    path = tmp_path / "a\x1bb"
    path.mkdir()
    assert go(FakeSession(add=added()), "share", str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"wherry get {TREE} --from http://127.0.0.1:4290"
    assert lines[2] == f"wherry get {Ticket(TREE, ('http://127.0.0.1:4290',), None)}"


def test_share_json_and_quiet(capsys):
    assert go(FakeSession(add=added()), "share", "/x/data", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wherry/share/1"
    assert found["listen"] == ["http://127.0.0.1:4290"]
    assert found["command"] == f"wherry get {TREE} --from http://127.0.0.1:4290 -o data"
    assert (found["cid"], found["bytes"]) == (str(TREE), 3 << 20)
    assert go(FakeSession(add=added()), "share", "/x/data", "-q") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{found['ticket']}\n"
    assert captured.err == ""


def test_serve_prints_an_address_a_line(capsys):
    session = FakeSession()
    session.listen = ["http://127.0.0.1:1", "file:///home"]
    assert go(session, "serve", "--listen", "http://127.0.0.1:0") == 0
    assert capsys.readouterr() == ("http://127.0.0.1:1\nfile:///home\n", "")
    assert session.calls == [("serve", ((),), {"listen": ("http://127.0.0.1:0",)})]


def test_serve_adds_first_and_says_so(capsys):
    assert go(FakeSession(add=added()), "serve", "a", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["listen"]) == ("wherry/serve/1", ["http://127.0.0.1:4290"])
    assert [each["cid"] for each in found["added"]] == [str(TREE)] * 2


def test_tls_and_token_go_to_the_http_transport(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = FakeSession(add=added())
    go(session, "serve", "--tls-cert", "c.pem", "--tls-key", "/k.pem", "--token-file", "t")
    assert session.opened["overrides"] == {
        "transport.http.tls_cert": str(tmp_path / "c.pem"),
        "transport.http.tls_key": "/k.pem",
        "transport.http.token_file": str(tmp_path / "t"),
    }
    go(session, "serve")
    assert "overrides" not in session.opened


# get


def test_get_prints_where_it_is_and_how_it_came(capsys):
    session = FakeSession(get=got(path="out\x1b"))
    assert go(session, "get", str(TREE), "--from", "http://h:1", "--from", "lab", "-o", "out") == 0
    assert capsys.readouterr().out == "out\\x1b\n1.0 MiB, of which 1.0 MiB fetched in 0.5s (2.0 MiB/s) from 1 source\n"
    (call,) = session.calls
    assert call[1] == (str(TREE),)
    assert call[2] == {
        "sources": ("http://h:1", "lab"), "output": "out", "include": (), "exclude": (), "force": False, "dry_run": False
    }  # fmt: skip


def test_get_of_what_is_complete_says_so(capsys):
    assert go(FakeSession(get=got(fetched_bytes=0)), "get", str(TREE)) == 0
    assert capsys.readouterr().out == "out\n1.0 MiB, nothing to fetch\n"


def test_get_passes_on_what_was_said():
    session = FakeSession(get=got())
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
    assert go(session, "get", str(TREE), *argv, "--token-file", "/t") == 0
    options = session.calls[0][2]
    assert options | {
        "include": ("a*",), "exclude": ("*.b",), "force": True, "wait_s": 300.0, "links": "keep",
        "names": "posix", "max_bytes": 2 * 10**9,
    } == options  # fmt: skip
    assert session.opened["overrides"] == {"transport.http.token_file": "/t"}


@pytest.mark.parametrize(
    ("what", "target"),
    [
        (str(TREE), str(TREE)),
        (str(Ticket(TREE, ("http://h:1",), "data")), "data"),
        (str(Ticket(TREE, ("http://h:1",), None)), str(TREE)),
    ],
)
def test_get_without_a_destination_makes_one_in_the_current_directory(what, target):
    session = FakeSession(get=got())
    assert go(session, "get", what) == 0
    assert session.calls[0][1] == (what,)
    assert session.calls[0][2]["output"] == target


def test_get_of_a_broken_ticket_asks_nothing_of_the_engine(capsys):
    session = FakeSession()
    assert go(session, "get", "wherry:AAAA") == 5
    assert session.calls == []


def test_get_dry_run_prints_the_plan(capsys):
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
    assert go(FakeSession(get=plan), "get", str(TREE), "--dry-run") == 0
    text = capsys.readouterr().out
    assert "to fetch: 6 B; here already: 4 B" in text
    assert "it does not fit" in text
    assert "from x\\x1b: no (no \\x07)" in text
    assert go(FakeSession(get=plan), "get", str(TREE), "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fits"] is False


def test_get_seed_stays_and_serves(capsys):
    session = FakeSession(get=got())
    assert go(session, "get", str(TREE), "--seed", "--listen", "http://127.0.0.1:0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["listen"]) == ("wherry/get/1", ["http://127.0.0.1:4290"])
    assert [call[0] for call in session.calls] == ["get", "serve"]


@pytest.mark.parametrize("argv", [("--seed", "--dry-run"), ("--listen", "http://h:1"), ("--allow-public",)])
def test_get_refuses_what_makes_no_sense(argv):
    session = FakeSession()
    assert go(session, "get", str(TREE), *argv) == 2
    assert session.calls == []


# cat, ls, stat, verify


def test_cat_writes_raw_bytes(capfdbinary):
    data = [bytes(range(256)), memoryview(b"\xff\x00")]
    session = FakeSession(cat=data)
    assert go(session, "cat", f"{TREE}/a/b", "--offset", "1MiB", "--length", "7") == 0
    assert capfdbinary.readouterr() == (bytes(range(256)) + b"\xff\x00", b"")
    assert session.calls == [("cat", (f"{TREE}/a/b",), {"sources": (), "offset": 1 << 20, "length": 7})]


def test_cat_into_a_stream_without_a_descriptor(capsysbinary):
    assert go(FakeSession(cat=[b"\xff\x00"]), "cat", "x") == 0
    assert capsysbinary.readouterr().out == b"\xff\x00"


def test_cat_has_no_json(capsys):
    assert go(FakeSession(), "cat", "x", "--json") == 2


def entry(name, kind="file", **changes):
    fields = {"size": 5, "cid": str(LEAF), "executable": False, "mtime": None, "target": None, "entries": None}
    return LsEntry(name=name, kind=kind, **(fields | changes))


ENTRIES = [
    entry("a\x1b[2J\u202e"),
    entry("bin", "dir", size=7, cid=str(TREE), entries=12),
    entry("link", "symlink", cid=None, size=0, target="to\x07"),
    entry("run", executable=True, mtime=86400.5),
    entry("old", mtime=-1e12),
]


def test_ls_prints_names_safely(capsys):
    assert go(FakeSession(ls=ENTRIES), "ls", "x") == 0
    assert capsys.readouterr().out.splitlines() == ["a\\x1b[2J\\u202e", "bin/", "link@", "run*", "old"]


def test_ls_of_a_file_that_has_no_name_shows_what_was_asked_for(capsys):
    assert go(FakeSession(ls=[entry("")]), "ls", str(LEAF)) == 0
    assert capsys.readouterr().out == f"{LEAF}\n"


def test_ls_long(capsys):
    assert go(FakeSession(ls=ENTRIES), "ls", "-l", "x") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["-", "5", "-", str(LEAF), "a\\x1b[2J\\u202e"]
    assert lines[1].split() == ["d", "7", "-", str(TREE), "bin/"]
    assert lines[2].split() == ["l", "0", "-", "-", "link@", "->", "to\\x07"]
    assert lines[3].split() == ["x", "5", "1970-01-02", "00:00:00", str(LEAF), "run*"]
    assert lines[4].split() == ["-", "5", str(-(10**12)), str(LEAF), "old"]


def test_ls_json_is_one_object(capsys):
    assert go(FakeSession(ls=ENTRIES), "ls", "--json", "x") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["what"]) == ("wherry/ls/1", "x")
    of_file = {"name": "a\x1b[2J\u202e", "kind": "file", "size": 5, "cid": str(LEAF), "executable": False}
    assert found["entries"][0] == of_file | {"mtime": None, "target": None, "entries": None}
    assert found["entries"][1]["entries"] == 12
    assert found["entries"][2] | {"kind": "symlink", "cid": None, "target": "to\x07"} == found["entries"][2]
    assert found["entries"][3] | {"executable": True, "mtime": 86400.5} == found["entries"][3]


def test_ls_json_of_nothing_is_an_object_too(capsys):
    assert go(FakeSession(ls=[]), "ls", "--json", "x") == 0
    assert json.loads(capsys.readouterr().out)["entries"] == []


def test_ls_json_that_fails_at_once_prints_no_object(capsys):
    from wherry.errors import NotFound

    assert go(FakeSession(ls=[NotFound("no")]), "ls", "--json", "x") == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["error"] == "NotFound"


def test_stat(capsys):
    found = Stat(
        cid=str(TREE),
        kind="dir",
        bytes=2048,
        files=None,
        entries=3,
        blocks=None,
        chunk_bytes=1 << 20,
        meta={"a\x1b": "b"},
        held=True,
    )
    assert go(FakeSession(stat=found), "stat", "x") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "size     2,048 bytes (2.0 KiB)" in lines
    assert "meta     a\\x1b = b" in lines
    assert not [line for line in lines if line.startswith(("blocks", "files"))]
    assert go(FakeSession(stat=found), "stat", "x", "-q") == 0
    assert capsys.readouterr().out == "2048\n"


def verified(*differences, more=0):
    found = [DifferenceReport(path=path, problem=problem) for path, problem in differences]
    fields = {"cid": str(TREE), "path": "data", "files": 2, "bytes": 1024, "seconds": 1.0}
    return VerifyResult(ok=not found, differences=found, more_differences=more, **fields)


def test_verify_that_finds_nothing(capsys):
    session = FakeSession(verify=verified())
    assert go(session, "verify", "x", "data") == 0
    assert capsys.readouterr() == ("ok: 2 files, 1.0 KiB verified in 1.0s\n", "")
    assert session.calls == [("verify", ("x", "data"), {"sources": ()})]


def test_verify_differences_are_on_standard_error(capsys):
    found = verified(("a\x1b", "other bytes"), ("b", "not there"), more=1500)
    assert go(FakeSession(verify=found), "verify", "x", "data") == 11
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:4] == [
        "a\\x1b: other bytes",
        "b: not there",
        "... and 1,500 more",
        "error: 'data' differs from its CID in 1,502 places",
    ]


def test_verify_differences_as_json(capsys):
    found = verified(("a", "other bytes"))
    assert go(FakeSession(verify=found), "verify", "x", "data", "--json") == 11
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"] is False
    assert json.loads(captured.err)["error"] == "VerifyFailed"


# doctor and repair


def check(status, hint=None):
    return Check(name=f"{status} thing", status=status, detail="so it is \x1b", hint=hint)


def test_doctor_is_content_with_warnings(capsys):
    assert go(FakeSession(doctor=[check("ok"), check("warn", "look")]), "doctor") == 0
    assert capsys.readouterr().out == "ok    ok thing: so it is \\x1b\nwarn  warn thing: so it is \\x1b\n      hint: look\n"


def test_doctor_that_finds_a_fault_is_not(capsys):
    checks = [check("ok"), check("fail", "mend")]
    assert go(FakeSession(doctor=checks), "doctor", "--json") == 10
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["ok"], [each["status"] for each in found["checks"]]) == (
        "wherry/doctor/1",
        False,
        ["ok", "fail"],
    )


def test_doctor_tells_of_a_home_that_does_not_open(capsys):
    from wherry.errors import HomeTooNew

    @asynccontextmanager
    async def opener(**options):
        raise HomeTooNew("made by wherry 9", hint="upgrade")
        yield

    assert run(["doctor", "--json"], Invocation(opener=opener)) == 10
    found = json.loads(capsys.readouterr().out)
    assert found["checks"] == [{"name": "open", "status": "fail", "detail": "made by wherry 9", "hint": "upgrade"}]


def test_repair_prints_each_figure(capsys):
    session = FakeSession(repair=RepairResult(roots=2, kept=3, dropped=["a \x1b", "b"], files=4, bytes=5, seconds=0.5))
    assert go(session, "repair") == 0
    assert capsys.readouterr().out == "roots: 2\nkept: 3\ndropped: a \\x1b\ndropped: b\nfiles: 4\nbytes: 5\nseconds: 0.5\n"
    assert session.opened["verb"] == "repair"


# config and plugins


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "wherry.toml"
    path.write_text('[get]\nwait = "5s"\n')
    return path


def broken(config):
    config.write_text('[get]\nwiat = "5s"\nlinks = "eat \\u202e"\n')
    return config


def problems_of(config, capsys):
    run(["config", "check", "--json", "--config", str(config)], Invocation(environ={}))
    return json.loads(capsys.readouterr().out)


def test_config_show_tells_values_and_origins(config, capsys):
    if not problems_of(config, capsys)["ok"]:
        pytest.skip("wherry's own plugins are not installed here")
    assert run(["config", "show", "--origin", "--config", str(config)], Invocation(environ={})) == 0
    text = capsys.readouterr().out
    assert f"# file {config}" in next(line for line in text.splitlines() if line.startswith("wait = "))


def test_config_check_reports_everything_on_standard_error(config, capsys):
    assert run(["config", "check", "--config", str(broken(config))], Invocation(environ={})) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'get.wiat: unknown option (did you mean "wait"?)' in captured.err
    assert "get.links" in captured.err
    assert "\u202e" not in captured.err


def test_config_check_as_json(config, capsys):
    found = problems_of(broken(config), capsys)
    assert (found["schema"], found["ok"]) == ("wherry/config-check/1", False)
    assert {"get.wiat", "get.links"} <= {problem["key"] for problem in found["problems"]}


def test_config_schema_is_json_schema(capsys):
    assert run(["config", "schema"], Invocation(environ={})) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "wherry.toml"
    assert run(["config", "schema", "--json"], Invocation(environ={})) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "wherry/config-schema/1"


def listed(name, kind="transport", status="ok", **changes):
    from wherry.plugin.manager import Listed

    fields = {"plugin": name, "distribution": "dist", "version": "1", "summary": "moves \x1b blocks", "cause": ""}
    return Listed(name=name, kind=kind, status=status, **(fields | changes))


def test_plugins_list_and_info(capsys):
    from wherry.errors import PluginNotFound
    from wherry_cli.render import Out
    from wherry_cli.verbs.plugins import find, show_info, show_list

    lines = [listed("http"), listed("disk", "cache"), listed("bad.one", "", "broken", summary="", cause="no module \x07")]
    out = Out(as_json=False, quiet=False, color="never", environ={})
    show_list(out, lines)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["transport", "http", "ok", "moves", "\\x1b", "blocks"]
    assert shown[2].split() == ["-", "bad.one", "broken", "no", "module", "\\x07"]
    show_info(out, find(lines, "cache.disk"))
    assert "disk  cache, ok" in capsys.readouterr().out
    with pytest.raises(PluginNotFound, match="htpt") as caught:
        find(lines, "htpt")
    assert caught.value.hint == 'did you mean "http"?'


def test_plugins_list_as_json(capsys):
    assert run(["plugins", "list", "--json"], Invocation(environ={})) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wherry/plugins/1"
    assert isinstance(found["plugins"], list)


def test_plugins_of_an_unknown_kind(capsys):
    assert run(["plugins", "list", "--kind", "toaster"], Invocation(environ={})) == 2
    assert "transport" in capsys.readouterr().err


# bench and demo


def test_bench_hands_its_options_to_the_benchmarks(monkeypatch):
    import sys

    calls = []
    monkeypatch.setitem(sys.modules, "wherry_cli.bench", SimpleNamespace(run=lambda run_of, **options: calls.append(options)))
    line = ["bench", "add-large", "synth", "--size", "1GiB", "--dir", "/x", "--quick", "--rounds", "2"]
    assert run(line, Invocation()) == 0
    assert run(["bench", "--list"], Invocation()) == 0
    nothing = {"names": [], "size_bytes": None, "directory": None, "show_list": True, "quick": False, "rounds": None}
    names = ["add-large", "synth"]
    size = {"names": names, "size_bytes": 1 << 30, "directory": Path("/x"), "show_list": False, "quick": True, "rounds": 2}
    assert calls == [size, nothing]


def test_demo_prints_the_figures(monkeypatch, capsys):
    from wherry_cli import demo

    figures = demo.DemoResult(
        cid="bafy", files=3, bytes=10**9, links_left_out=2, add_seconds=2.0, get_seconds=1.0, fetched_bytes=10**9,
        share_peak_bytes=64 << 20, get_peak_bytes=32 << 20,
    )  # fmt: skip
    seen = []
    monkeypatch.setattr(demo, "run_demo", lambda source, work, **options: (seen.append((source, work)), figures)[1])
    assert run(["demo", "--size", "1MiB"], Invocation()) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "identical: 3 files, 953.7 MiB, bafy"
    assert "add: 2.0s, 500 MB/s\nget: 1.0s, 1,000 MB/s\nmemory at most: share 64.0 MiB, get 32.0 MiB\n" in text
    assert not seen[0][1].exists()  # cleaned up
    assert run(["demo", "--json", "."], Invocation()) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["identical"], found["get_bytes_per_second"]) == ("wherry/demo/1", True, 1e9)


def test_demo_of_nothing_is_an_error(capsys):
    assert run(["demo", "/nonexistent/x"], Invocation()) == 6
