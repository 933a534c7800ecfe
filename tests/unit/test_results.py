"""Results, errors and their JSON are as specs/0011 §4 and §5 say, key by key."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import wherry.car_results
import wherry.daemon.entry  # noqa: F401 - what it imports has results of its own
from wherry import errors, results
from wherry.results import AddResult, DifferenceReport, GetResult, Result, SourceReport, VerifyResult

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "specs/0011-python-api.md").read_text()
KINDS = sorted(Result.__subclasses__(), key=lambda kind: kind.__name__)


def rows(section):
    text = SPEC.split(f"\n## {section}.")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_result_is_specified_with_its_keys_in_order():
    specified = {
        words(row[0])[0]: (words(row[1])[0], words(row[2])) for row in rows(4) if row[0].startswith("`") and row[0][1].isupper()
    }
    assert specified == {kind.__name__: (kind.schema, [item.name for item in fields(kind)]) for kind in KINDS}


def test_every_schema_that_is_printed_is_specified():
    found = set()
    for top in ("core", "cli"):
        for path in (ROOT / top).rglob("*.py"):
            found |= set(re.findall(r"\"(wherry/[a-z-]+/[0-9]+)\"", path.read_text()))
    assert found == set(re.findall(r"`(wherry/[a-z-]+/[0-9]+)`", SPEC))


def test_every_exit_code_is_specified():
    specified = {words(row[1])[0]: int(row[0]) for row in rows(5) if row[0].isdigit()}
    assert specified == {kind.__name__: kind.exit_code for kind in errors.WherryError.__subclasses__()}


def test_every_verb_is_specified_with_its_arguments():
    import inspect

    from wherry.session import Session

    specified = {}
    for row in rows(2):
        if (match := re.match(r"`(\w+)\((.*)\)`", row[0])) is not None:
            specified[match[1]] = re.findall(r"\w+", match[2])
    found = {
        name: [each for each in inspect.signature(method).parameters if each != "self"]
        for name, method in inspect.getmembers(Session, inspect.isfunction)
        if not name.startswith("_")
    }
    assert specified == found


def test_the_plain_face_has_the_same_verbs():
    import wherry.sync
    from wherry.session import Session

    public = {name for name in dir(Session) if not name.startswith("_")}
    plain = {name for name in vars(wherry.sync.Session) if not name.startswith("_")}
    assert plain == public - {"home", "config", "traffic"}  # what a session has, and no verbs


def test_json_has_the_schema_first_and_inner_results_have_none():
    result = GetResult(
        cid="c",
        path="/p",
        bytes=1,
        fetched_bytes=2,
        seconds=0.5,
        sources=[SourceReport(address="a", bytes=1, blocks=1, errors=0)],
    )
    found = result.to_json()
    assert next(iter(found)) == "schema"
    assert json.loads(json.dumps(found)) == {
        "schema": "wherry/get/1", "cid": "c", "path": "/p", "bytes": 1, "fetched_bytes": 2, "seconds": 0.5,
        "sources": [{"address": "a", "bytes": 1, "blocks": 1, "errors": 0}],
    }  # fmt: skip


def test_json_of_a_verification():
    difference = DifferenceReport(path="x", problem="differs")
    result = VerifyResult(cid="c", path="/p", ok=False, files=1, bytes=2, seconds=0.1, differences=[difference])
    assert result.to_json()["differences"] == [{"path": "x", "problem": "differs"}]
    assert result.to_json()["more_differences"] == 0


def test_results_are_values():
    result = AddResult(cid="c", files=1, bytes=2, new_blocks=3, reused_blocks=4, unique_bytes=2, stored_bytes=1, seconds=5.0)
    assert result == AddResult(
        cid="c", files=1, bytes=2, new_blocks=3, reused_blocks=4, unique_bytes=2, stored_bytes=1, seconds=5.0
    )
    assert result.warnings == []
    with pytest.raises(FrozenInstanceError):
        result.cid = "d"
    assert not hasattr(result, "__dict__")


def test_json_holds_plain_values_alone():
    class Text(str):
        __slots__ = ()

    assert type(results._plain(Text("x"))) is str
    assert results._plain({1: (Path("/x"), None, True)}) == {"1": ["/x", None, True]}
