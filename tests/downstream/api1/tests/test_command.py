"""What the contract does not ask: what it prints."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from wherry import Session
from wherry.abc.command import Invocation

from acme_api1.command.command import SCHEMA, RootsCommand


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home to which two files were added."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    async def add() -> None:
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            await session.add(str(tmp_path / "a"))
            await session.add(str(tmp_path / "b"))

    asyncio.run(add())
    return tmp_path / "home"


def test_it_lists_what_was_added(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert RootsCommand().run([], Invocation(home=home)) == 0
    assert sorted(line.split()[0] for line in capsys.readouterr().out.splitlines()) == ["add", "add"]


def test_it_speaks_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert RootsCommand().run(["--rows", "1"], Invocation(home=home, json=True)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == SCHEMA
    assert len(said["roots"]) == 1


def test_what_it_does_not_know_is_an_error_of_usage(tmp_path: Path) -> None:
    assert RootsCommand().run(["--nonsense"], Invocation(home=tmp_path)) == 2
