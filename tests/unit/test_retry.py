"""Which error may be tried again, and where: the classes and the table of specs/0029 §7 say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wherry import errors
from wherry.errors import WherryError

SPEC = (Path(__file__).parents[2] / "specs/0029-peers.md").read_text()


def classes(found=WherryError):
    yield found
    for below in found.__subclasses__():
        yield from classes(below)


def table():
    said = {}
    for line in SPEC.split("\n## 7.")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            for name in re.findall(r"`(\w+)`", cells[0]):
                assert name not in said, f"{name} is there twice"
                said[name] = cells[1]
    return said


def test_the_table_names_every_class_of_errors_and_says_what_it_says():
    own = {kind.__name__: kind.retry for kind in classes() if kind.__module__ == errors.__name__}
    assert table() == own


def test_only_another_machine_is_asked_again():
    for kind in classes():
        if kind.retry == "same":
            assert issubclass(kind, errors.PeerError)
        if issubclass(kind, errors.LocalError | errors.StoreError | errors.TargetError | errors.UsageError):
            assert kind.retry == "never"


@pytest.mark.parametrize("kind", [errors.IntegrityError, errors.BlockNotFound])
def test_what_one_peer_has_wrong_or_not_at_all_another_may_have(kind):
    assert kind.retry == "other"
