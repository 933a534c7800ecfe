"""``wherry find``: what locators say, for people and for programs."""

from __future__ import annotations

import json

from wherry.cid import CID, RAW
from wherry.results import FindResult, HintReport

CID_TEXT = str(CID.of(RAW, b"x"))


def found(*hints):
    return FindResult(cid=CID_TEXT, hints=list(hints))


def hint(address, fault=None, locator="static", reach="named", **more):
    return HintReport(locator=locator, address=address, reach=reach, fault=fault, **more)


def test_a_line_an_address_with_who_named_it(capsys, go, fake_session):
    session = fake_session(
        find=found(hint("http://a:1"), hint("gopher://b\x1b", "no transport\nspeaks it", locator="tracker", reach="public"))
    )
    assert go(session, "find", CID_TEXT) == 0
    assert session.calls == [("find", (CID_TEXT,), {})]
    assert capsys.readouterr().out == (
        "http://a:1  static, named\ngopher://b\\x1b  tracker, public  (not used: no transport\\nspeaks it)\n"
    )


def test_quiet_prints_what_would_be_asked(capsys, go, fake_session):
    assert go(fake_session(find=found(hint("http://a:1"), hint("x", "no"))), "find", CID_TEXT, "-q") == 0
    assert capsys.readouterr() == ("http://a:1\n", "")


def test_json_is_one_object(capsys, go, fake_session):
    assert go(fake_session(find=found(hint("http://a:1"))), "find", CID_TEXT, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "wherry/find/1",
        "cid": CID_TEXT,
        "hints": [
            {
                "locator": "static",
                "address": "http://a:1",
                "reach": "named",
                "fault": None,
                "peer": None,
                "protocols": [],
                "complete": None,
                "answers": None,
                "detail": None,
            }
        ],
    }


def test_nobody_is_named(capsys, go, fake_session):
    for more in ([], ["-q"]):
        assert go(fake_session(find=found()), "find", CID_TEXT, *more) == 6
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"error: no locator names a peer for {CID_TEXT}\n")


def test_nobody_is_named_in_json_too(capsys, go, fake_session):
    assert go(fake_session(find=found()), "find", CID_TEXT, "--json") == 6
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"schema": "wherry/find/1", "cid": CID_TEXT, "hints": []}
    assert (json.loads(printed.err)["error"], json.loads(printed.err)["exit_code"]) == ("NotFound", 6)


def test_who_is_named_and_cannot_be_dialled_is_somebody(go, fake_session):
    assert go(fake_session(find=found(hint("gopher://b", "no transport speaks it"))), "find", CID_TEXT, "-q") == 0


def test_what_is_known_of_a_peer_and_whether_it_answers(capsys, go, fake_session):
    known = {"locator": "tracker", "reach": "public", "peer": "12D3KooW", "protocols": ["transport-wherry-tcp"]}
    hints = [
        hint("tcp://a:1", **known, complete=True, answers=True),
        hint("tcp://b:1", **known, complete=False, answers=False, detail="refused\x1b"),
        hint("http://c:1"),
    ]
    session = fake_session(find=found(*hints))
    assert go(session, "find", "--probe", CID_TEXT) == 0
    assert session.calls == [("find", (CID_TEXT,), {"probe": True})]
    assert capsys.readouterr().out == (
        "tcp://a:1  tracker, public, 12D3KooW, transport-wherry-tcp, complete  answers\n"
        "tcp://b:1  tracker, public, 12D3KooW, transport-wherry-tcp, partial  (does not answer: refused\\x1b)\n"
        "http://c:1  static, named\n"
    )
    assert go(session, "find", "--probe", "-q", CID_TEXT) == 0
    assert capsys.readouterr().out == "tcp://a:1\nhttp://c:1\n"


def test_nobody_who_was_probed_answers(capsys, go, fake_session):
    hints = [
        hint("tcp://b:1", answers=False, detail="refused"),
        hint("gopher://b", "no transport speaks it"),
        hint("http://c:1"),
    ]
    assert go(fake_session(find=found(*hints)), "find", "--probe", CID_TEXT) == 6
    printed = capsys.readouterr()
    assert "tcp://b:1  static, named  (does not answer: refused)\n" in printed.out
    assert printed.err.startswith(f"error: none of the peers that are named for {CID_TEXT} answers\n")
    assert go(fake_session(find=found(*hints)), "find", "--probe", "--json", CID_TEXT) == 6
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["hints"]) == 3
    assert json.loads(printed.err)["exit_code"] == 6
    assert go(fake_session(find=found(*hints)), "find", CID_TEXT) == 0  # nobody was asked
