"""Runs a contract suite without pytest's collecting, to see which of its checks an implementation fails."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def checks(suite: type) -> set[str]:
    """Gives the names of a suite's checks."""
    return {name for name in dir(suite) if name.startswith("test_")}


def failing(suite: object, folder: Path) -> set[str]:
    """Runs each check of a suite, in a folder of its own; gives the names of those that fail. Skipped ones do not."""
    import pytest

    failed = set()
    for name in sorted(checks(type(suite))):
        check = getattr(suite, name)
        given = {}
        if "tmp_path" in inspect.signature(check).parameters:
            given["tmp_path"] = folder / name
            given["tmp_path"].mkdir()
        try:
            if inspect.iscoroutinefunction(check):
                asyncio.run(check(**given))
            else:
                check(**given)
        except pytest.skip.Exception:
            continue
        except Exception:  # noqa: BLE001 - whatever leaves it, the check has failed
            failed.add(name)
    return failed
