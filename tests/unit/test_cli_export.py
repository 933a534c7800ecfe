"""`wherry export` over a session of the test's own: what is refused before anything is opened, and what is passed on."""

from __future__ import annotations

import json

import pytest

from wherry.car_results import ExportResult, TorrentResult

WROTE = ExportResult(cid="bafy", path="x.car", blocks=1, bytes=1, seconds=0.0)
MADE = TorrentResult(cid="bafy", path="t", files=1, bytes=1, skipped=0, seconds=0.0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], ["nothing says what to write", "hint: add --car FILE, or --torrent FILE"]),
        (["--car", "a", "--torrent", "b"], ["--car and --torrent do not go together", "hint: export twice"]),
        (
            ["--car", "a", "--webseed", "http://h:1"],
            ["--webseed is not for a CAR", "hint: leave it out, or write --torrent FILE"],
        ),
        (["--car", "a", "--piece", "0", "--v1"], ["--v1 and --piece are not for a CAR", "hint: leave them out"]),
        (["--car", "a", "--v2", "--tracker", "udp://t:1"], ["--tracker and --v2 are not", "hint: leave them out"]),
        (["--torrent", "t", "--scope", "block"], ["--scope is not for a torrent", "hint: leave it out, or write --car FILE"]),
        (["--torrent", "t", "--token-file", "t"], ["--token-file is not for a torrent", "hint: leave it out"]),
        (["--torrent", "t", "--scope", "all"], ["--scope is not for a torrent", "hint: leave it out"]),
    ],
)
def test_options_that_contradict_each_other_are_refused_by_name(capsys, go, fake_session, said, told):
    session = fake_session(export_car=WROTE, export_torrent=MADE)
    assert go(session, "export", "bafy", *said) == 2
    assert session.calls == []
    words = capsys.readouterr().err
    for part in told:
        assert part in words


def test_one_is_not_said_as_if_it_were_many(capsys, go, fake_session):
    large = ExportResult(cid="bafy", path="x.car", blocks=1, bytes=1, seconds=0.0, large=1)
    assert go(fake_session(export_car=large), "export", "bafy", "--car", "x.car") == 0
    out, error = capsys.readouterr()
    assert "x.car: 1 block, 1 B in" in out
    assert "1 block has more than 2 MiB: wherry reads it, and" in error
    larger = ExportResult(cid="bafy", path="x.car", blocks=1200, bytes=1, seconds=0.0, large=2)
    assert go(fake_session(export_car=larger), "export", "bafy", "--car", "x.car") == 0
    out, error = capsys.readouterr()
    assert "x.car: 1,200 blocks, 1 B in" in out
    assert "2 blocks have more than 2 MiB: wherry reads them, and" in error


def test_what_was_not_said_is_left_to_the_session(go, fake_session):
    session = fake_session(export_car=WROTE, export_torrent=MADE)
    assert go(session, "export", "bafy", "--car", "x.car") == 0
    assert go(session, "export", "bafy", "--car", "x.car", "--scope", "entity") == 0
    assert go(session, "export", "bafy", "--torrent", "t") == 0
    assert go(session, "export", "bafy", "--torrent", "t", "--piece", "64KiB", "--v1") == 0
    asked = [options for _, _, options in session.calls]
    assert [options.get("scope") for options in asked] == [None, "entity", None, None]
    assert [options.get("piece_bytes") for options in asked] == [None, None, None, 65536]


@pytest.mark.parametrize(("option", "kind"), [("--car", "a CAR"), ("--torrent", "a torrent")])
def test_standard_output_takes_the_file_or_one_object_of_json_and_not_both(capfd, go, fake_session, option, kind):
    session = fake_session(export_car=WROTE, export_torrent=MADE)
    assert go(session, "export", "bafy", option, "-", "--json") == 2
    assert session.calls == []
    out, error = capfd.readouterr()
    assert out == ""
    assert {"error": "UsageError", "exit_code": 2, "hint": "name a file, or leave out --json"}.items() <= json.loads(
        error
    ).items()
    assert kind in error
    assert go(session, "export", "bafy", option, "f", "--json") == 0
    assert json.loads(capfd.readouterr().out)["path"]
