"""The locator keeps the contract of locators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from wherry.abc.locator import Locator
from wherry.cid import CID
from wherry.testing.locator import LocatorContract

from acme_api1.locator.locator import FileLocator


class TestLocator(LocatorContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "addresses.txt"

    @asynccontextmanager
    async def knowing(self, cid: CID, addresses: Sequence[str]) -> AsyncIterator[Locator]:
        self.file.write_text("".join(f"{cid} {address}\n" for address in addresses))
        yield FileLocator(self.file)
