"""The locator keeps the contract of locators."""

from __future__ import annotations

from pathlib import Path

import pytest
from wherry.abc.locator import Locator
from wherry.testing.locator import LocatorContract

from wherry_cli.scaffold.locator.locator import FileLocator


class TestLocator(LocatorContract):
    @pytest.fixture(autouse=True)
    def addresses(self, tmp_path: Path) -> None:
        self.file = tmp_path / "addresses.txt"
        self.file.write_text("* http://127.0.0.1:4290\n")

    def make_locator(self) -> Locator:
        return FileLocator(self.file)
