"""What the contract does not ask: what is in the file, and when."""

from __future__ import annotations

import json
from pathlib import Path

from wherry.observe import Note

from acme_api1.observer.observer import CountingObserver


def test_it_counts(tmp_path: Path) -> None:
    file = tmp_path / "new" / "counts.json"
    observer = CountingObserver(file, 3600.0)
    observer.take([Note("info", "one"), Note("warning", "two")])
    observer.take([Note("info", "three")])
    assert not file.exists()
    observer.close()
    assert json.loads(file.read_text()) == {"Note": 3}
    assert [path.name for path in file.parent.iterdir()] == ["counts.json"]


def test_it_writes_while_things_happen(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    observer = CountingObserver(file, 0.0)
    observer.take([Note("info", "one")])
    assert json.loads(file.read_text()) == {"Note": 1}
    observer.close()
