"""The verbs that read and look after what is there, over a session of the test's own."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from wherry.cid import CID, DAG_CBOR, RAW
from wherry.observe import Note
from wherry.publiccid import PublicCID
from wherry.results import Check, DifferenceReport, LsEntry, RepairResult, Stat, VerifyResult
from wherry_cli.app import run
from wherry_cli.invocation import Invocation

TREE = CID.of(DAG_CBOR, b"tree")
LEAF = CID.of(RAW, b"leaf")


# cat, ls, stat, verify


def test_cat_writes_raw_bytes(capfdbinary, go, fake_session):
    data = [bytes(range(256)), memoryview(b"\xff\x00")]
    session = fake_session(cat=data)
    assert go(session, "cat", f"{TREE}/a/b", "--offset", "1MiB", "--length", "7") == 0
    assert capfdbinary.readouterr() == (bytes(range(256)) + b"\xff\x00", b"")
    assert session.calls == [("cat", (f"{TREE}/a/b",), {"sources": (), "offset": 1 << 20, "length": 7})]


NOTES = [Note("info", "peer is back"), Note("warning", "peer\x07 lies")]


@pytest.mark.parametrize("line", [["cat", "x"], ["ls", "x"], ["stat", "x"], ["stat", "x", "--json"]], ids=" ".join)
def test_what_is_said_of_sources_goes_to_standard_error(capsys, go, fake_session, line):
    fields = {"bytes": 4, "files": 1, "entries": None, "blocks": 1, "chunk_bytes": None, "meta": {}, "held": False}
    session = fake_session(cat=[b"data"], ls=[entry("data")], stat=Stat(cid=str(LEAF), kind="file", **fields))
    assert go(session, *line) == 0
    plain = capsys.readouterr()
    assert plain.err == ""
    session.events = NOTES
    assert go(session, *line) == 0
    assert capsys.readouterr() == (plain.out, "peer is back\nwarning: peer\\x07 lies\n")
    assert go(session, "-q", *line) == 0
    assert capsys.readouterr().err == ""
    assert go(session, "--progress", "json", *line) == 0
    assert [json.loads(told)["text"] for told in capsys.readouterr().err.splitlines()] == [note.text for note in NOTES]


def test_cat_into_a_stream_without_a_descriptor(capsysbinary, go, fake_session):
    assert go(fake_session(cat=[b"\xff\x00"]), "cat", "x") == 0
    assert capsysbinary.readouterr().out == b"\xff\x00"


def test_cat_has_no_json(capsys, go, fake_session):
    assert go(fake_session(), "cat", "x", "--json") == 2


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


def test_ls_prints_names_safely(capsys, go, fake_session):
    assert go(fake_session(ls=ENTRIES), "ls", "x") == 0
    assert capsys.readouterr().out.splitlines() == ["a\\x1b[2J\\u202e", "bin/", "link@", "run*", "old"]


def test_ls_of_a_file_that_has_no_name_shows_what_was_asked_for(capsys, go, fake_session):
    assert go(fake_session(ls=[entry("")]), "ls", str(LEAF)) == 0
    assert capsys.readouterr().out == f"{LEAF}\n"


def test_ls_long(capsys, go, fake_session):
    assert go(fake_session(ls=ENTRIES), "ls", "-l", "x") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["-", "5", "-", str(LEAF), "a\\x1b[2J\\u202e"]
    assert lines[1].split() == ["d", "7", "-", str(TREE), "bin/"]
    assert lines[2].split() == ["l", "0", "-", "-", "link@", "->", "to\\x07"]
    assert lines[3].split() == ["x", "5", "1970-01-02", "00:00:00", str(LEAF), "run*"]
    assert lines[4].split() == ["-", "5", str(-(10**12)), str(LEAF), "old"]


def test_ls_json_is_one_object(capsys, go, fake_session):
    assert go(fake_session(ls=ENTRIES), "ls", "--json", "x") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["what"]) == ("wherry/ls/1", "x")
    of_file = {"name": "a\x1b[2J\u202e", "kind": "file", "size": 5, "cid": str(LEAF), "executable": False}
    assert found["entries"][0] == of_file | {"mtime": None, "target": None, "entries": None}
    assert found["entries"][1]["entries"] == 12
    assert found["entries"][2] | {"kind": "symlink", "cid": None, "target": "to\x07"} == found["entries"][2]
    assert found["entries"][3] | {"executable": True, "mtime": 86400.5} == found["entries"][3]


def test_ls_json_of_nothing_is_an_object_too(capsys, go, fake_session):
    assert go(fake_session(ls=[]), "ls", "--json", "x") == 0
    assert json.loads(capsys.readouterr().out)["entries"] == []


def test_ls_json_that_fails_at_once_prints_no_object(capsys, go, fake_session):
    from wherry.errors import NotFound

    assert go(fake_session(ls=[NotFound("no")]), "ls", "--json", "x") == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["error"] == "NotFound"


def test_stat(capsys, go, fake_session):
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
    assert go(fake_session(stat=found), "stat", "x") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "size     2,048 bytes (2.0 KiB)" in lines
    assert "meta     a\\x1b = b" in lines
    assert not [line for line in lines if line.startswith(("blocks", "files", "sealed", "granted"))]
    assert "held     added here, or fetched whole; files are not looked at" in lines
    assert go(fake_session(stat=replace(found, held=False)), "stat", "x") == 0
    assert "held     not as such: it was neither added here nor fetched whole" in capsys.readouterr().out.splitlines()
    assert go(fake_session(stat=found), "stat", "x", "-q") == 0
    assert capsys.readouterr().out == "2048\n"
    link = replace(found, cid=None, kind="symlink", target="../\x1bto")
    assert go(fake_session(stat=link), "stat", "x") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "target   ../\\x1bto" in lines
    assert not [line for line in lines if line.startswith("cid")]
    sealed = replace(found, encrypted="chacha20poly1305/domain/none/", granted_by="wherry-to1abc")
    assert go(fake_session(stat=sealed), "stat", "x") == 0
    assert {"sealed   chacha20poly1305/domain/none", "granted  by wherry-to1abc"} <= set(capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("before", ["", "/ipfs/", "ipfs://"])
@pytest.mark.parametrize("behind", ["", "/", "/a"])
def test_stat_says_the_cid_that_was_asked_for(capsys, go, fake_session, before, behind):
    asked = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
    fields = {"bytes": 0, "files": None, "entries": 0, "blocks": None, "chunk_bytes": None, "meta": {}, "held": False}
    found = Stat(cid=str(PublicCID.parse(asked).to_version(1)), kind="dir", **fields)
    assert go(fake_session(stat=found), "stat", before + asked + behind) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith(("cid", "as v1"))]
    assert named == ([f"cid      {found.cid}"] if behind == "/a" else [f"cid      {asked}", f"as v1    {found.cid}"])
    assert go(fake_session(stat=found), "stat", found.cid) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("as v1")]


def verified(*differences, more=0):
    found = [DifferenceReport(path=path, problem=problem) for path, problem in differences]
    fields = {"cid": str(TREE), "path": "data", "files": 2, "bytes": 1024, "seconds": 1.0}
    return VerifyResult(ok=not found, differences=found, more_differences=more, **fields)


def test_verify_that_finds_nothing(capsys, go, fake_session):
    session = fake_session(verify=verified())
    assert go(session, "verify", "x", "data") == 0
    assert capsys.readouterr() == ("ok: 2 files, 1.0 KiB verified in 1.0s\n", "")
    assert session.calls == [("verify", ("x", "data"), {"sources": ()})]


def test_verify_differences_are_on_standard_error(capsys, go, fake_session):
    found = verified(("a\x1b", "other bytes"), ("b", "not there"), more=1500)
    assert go(fake_session(verify=found), "verify", "x", "data") == 11
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:4] == [
        "a\\x1b: other bytes",
        "b: not there",
        "... and 1,500 more",
        "error: 'data' differs from its CID in 1,502 places",
    ]


def test_verify_differences_as_json(capsys, go, fake_session):
    found = verified(("a", "other bytes"))
    assert go(fake_session(verify=found), "verify", "x", "data", "--json") == 11
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"] is False
    assert json.loads(captured.err)["error"] == "VerifyFailed"


# doctor and repair


def check(status, hint=None):
    return Check(name=f"{status} thing", status=status, detail="so it is \x1b", hint=hint)


def test_doctor_is_content_with_warnings(capsys, go, fake_session):
    assert go(fake_session(doctor=[check("ok"), check("warn", "look")]), "doctor") == 0
    assert capsys.readouterr().out == "ok    ok thing: so it is \\x1b\nwarn  warn thing: so it is \\x1b\n      hint: look\n"


def test_doctor_that_finds_a_fault_is_not(capsys, go, fake_session):
    checks = [check("ok"), check("fail", "mend")]
    assert go(fake_session(doctor=checks), "doctor", "--json") == 10
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


def test_repair_prints_each_figure(capsys, go, fake_session):
    session = fake_session(repair=RepairResult(roots=2, kept=3, dropped=["a \x1b", "b"], files=4, bytes=5, seconds=0.5))
    assert go(session, "repair") == 11
    said = capsys.readouterr()
    assert said.out == "roots: 2\nkept: 3\ndropped: a \\x1b\ndropped: b\nfiles: 4\nbytes: 5\nseconds: 0.5\n"
    assert "2 were dropped" in said.err
    assert session.opened["verb"] == "repair"


def test_repair_ends_with_0_where_nothing_was_lost_and_says_what_is_missing(capsys, go, fake_session):
    whole = RepairResult(roots=2, kept=2, dropped=[], files=4, bytes=5, seconds=0.5)
    session = fake_session(repair=whole)
    assert go(session, "repair", "-q") == 0
    assert session.calls[0][2]["drop_missing"] is False
    session = fake_session(repair=replace(whole, missing=["b at /disk: No such file or directory"]))
    assert go(session, "repair", "--drop-missing") == 11
    said = capsys.readouterr()
    assert "missing: b at /disk: No such file or directory\n" in said.out
    assert "1 could not be read" in said.err
    assert "--drop-missing" in said.err
    assert session.calls[0][2]["drop_missing"] is True
