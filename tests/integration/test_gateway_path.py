"""The public suite's cases for path gateways, asked of a real `wherry serve` (specs/0033 §10)."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from path_cases import LEFT_OUT, all_cases
from path_world import World

from wherry.session import Session

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def served(home, start, tmp_path):
    """A world in a home, taken in as `wherry import` does; gives it, the fixtures if there are, and the address."""
    world = World()
    folder = os.environ.get("WHERRY_FIXTURES")
    fixtures = Path(folder) if folder else None
    (tmp_path / "world.car").write_bytes(world.car())
    records = dict(world.records)
    for ending in ("v1-v2-broken-signature-v1", "v1-v2", "v2") if fixtures else ():
        path = next(fixtures.glob(f"*_{ending}.ipns-record"))
        records[path.name.partition("_")[0]] = path.read_bytes()

    async def fill():
        async with Session.open(home=home, environ={}) as session:
            for path in (tmp_path / "world.car", *(sorted(fixtures.glob("*.car")) if fixtures else ())):
                await session.import_car(str(path))
            for name, record in records.items():
                await session.import_record(name, record)

    asyncio.run(fill())
    process = start("serve", "--listen", "http://127.0.0.1:0", "--json")
    return world, fixtures, process.said()["listen"][0]


async def test_every_case_of_a_path_gateway_is_answered(served):
    world, fixtures, address = served
    failed, asked = [], Counter()
    for case in all_cases(world, fixtures):
        asked[case.function] += 1
        try:
            await case.run(address)
        except AssertionError as problem:
            failed.append(f"{case.function}: {case.name} ({case.path}): {problem}")
    assert not failed, "\n".join(failed)
    assert sum(asked.values()) == (177 if fixtures else 164)


def test_the_specification_lists_what_is_asked_and_what_is_left_out():
    text = (Path(__file__).parents[2] / "specs" / "0033-gateway.md").read_text()
    rows = dict(line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| `Test"))
    world = World()
    asked = Counter(case.function for case in all_cases(world))
    left = {function: count for function, count, _ in LEFT_OUT if count}
    for function in {*asked, *(function for function, _, _ in LEFT_OUT)}:
        assert f"`{function}`" in rows, function
    for function, count in left.items():
        here = re.match(r"(\d+) of (\d+) ", rows[f"`{function}`"])
        assert int(here[2]) - int(here[1]) == count, function
        assert asked[function] in (0, int(here[1])), function
