"""The observer keeps the contract of observers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wherry.abc.observer import Observer
from wherry.testing.observer import ObserverContract

from acme_api1.observer.observer import CountingObserver


class TestObserver(ObserverContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "counts" / "counts.json"

    def make_observer(self) -> Observer:
        return CountingObserver(self.file, 0.0)

    def shown(self) -> str:
        return self.file.read_text()

    def series(self) -> int:
        return len(json.loads(self.file.read_text()))
