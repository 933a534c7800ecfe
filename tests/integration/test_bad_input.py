"""Hostile manifests through a real session: a peer serves them whole, and still nothing is written outside of the target."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from contextlib import asynccontextmanager

import pytest

from wherry.cid import DAG_CBOR, DAG_PB
from wherry.errors import DataError, LimitExceeded, UnsafeName, WherryError
from wherry.session import Session
from wherry.testing.blocks import MemorySource
from wherry.testing.hostile_manifests import ESCAPES, UNPORTABLE_NAMES, cases, linked, named
from wherry.testing.memory import MemoryNetwork, MemoryTransport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

MIB = 1 << 20
ADDRESS = "memory://mallory"
CASES = list(cases())


@asynccontextmanager
async def session_against(blocks, home):
    """A session whose only peer holds these blocks."""
    network = MemoryNetwork()
    async with Session.open(home=home, environ={}) as session, MemoryTransport(network).listen(ADDRESS, MemorySource(blocks)):
        session._wiring.transport = lambda *_, **__: MemoryTransport(network)
        yield session


def listing(root):
    return sorted(os.path.join(parent, name) for parent, dirs, files in os.walk(root) for name in dirs + files)


@pytest.fixture
def ground(tmp_path):
    """A directory for targets, with something beside it that must stay as it is."""
    (tmp_path / "around/within").mkdir(parents=True)
    (tmp_path / "around/precious").write_bytes(b"as it was")
    return tmp_path / "around"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_hostile_manifest_is_refused_and_nothing_is_written_outside(case, ground, tmp_path):
    target = ground / "within" / "target"
    options = {"max_bytes": 1 << 30} if case.met == "size" else {}
    async with session_against(case.blocks, tmp_path / "home") as session:
        tracemalloc.start()
        try:
            async with asyncio.timeout(30):
                with pytest.raises(DataError) as found:
                    await session.get(str(case.root), sources=[ADDRESS], output=str(target), wait_s=2, **options)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(found.value, case.error)  # also for a leaf of another length, which the source says that it lacks
    assert peak < 40 * MIB
    assert [name for name in listing(ground) if "wherry-" not in name] == [str(ground / "precious"), str(ground / "within")]
    assert (ground / "precious").read_bytes() == b"as it was"
    assert not os.path.lexists(target)
    for part in (ground / "within").rglob("*"):  # what is left is beneath the part
        assert part.resolve().is_relative_to(ground / "within")


@pytest.mark.parametrize("case", [case for case in CASES if case.met == "size"], ids=lambda case: case.name)
async def test_an_expanding_dataset_is_refused_by_its_own_claim(case, tmp_path):
    """Without a bound by the user either: more entries or bytes than any disk has."""
    async with session_against(case.blocks, tmp_path / "home") as session, asyncio.timeout(30):
        with pytest.raises(WherryError) as found:
            await session.get(str(case.root), sources=[ADDRESS], output=str(tmp_path / "target"), wait_s=2)
    assert found.value.exit_code in (5, 8)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("about", ESCAPES)
async def test_links_that_escape_are_refused_left_out_or_kept_as_told(about, ground, tmp_path):
    case = linked(about, ESCAPES[about])
    target = ground / "target"
    async with session_against(case.blocks, tmp_path / "home") as session:
        with pytest.raises(UnsafeName, match="--links"):
            await session.get(str(case.root), sources=[ADDRESS], output=str(target))
        assert not target.exists()
        await session.get(str(case.root), sources=[ADDRESS], output=str(target), links="skip", names="posix")
        assert os.listdir(target) == ["here"]
        kept = ground / "kept"
        await session.get(str(case.root), sources=[ADDRESS], output=str(kept), links="keep")
        assert os.readlink(kept / "link") == ESCAPES[about]
    assert (ground / "precious").read_bytes() == b"as it was"


@pytest.mark.parametrize("about", UNPORTABLE_NAMES)
async def test_names_that_are_only_unportable_are_written_when_told(about, tmp_path):
    case = named(about, UNPORTABLE_NAMES[about], UnsafeName, "write")
    async with session_against(case.blocks, tmp_path / "home") as session:
        await session.get(str(case.root), sources=[ADDRESS], output=str(tmp_path / "target"), names="posix")
    assert os.listdir(tmp_path / "target") == [UNPORTABLE_NAMES[about]]


@pytest.mark.parametrize("case", [case for case in CASES if case.met in ("model", "write")][:40], ids=lambda case: case.name)
async def test_a_plan_refuses_it_as_well(case, tmp_path):
    async with session_against(case.blocks, tmp_path / "home") as session:
        with pytest.raises(DataError):
            await session.get(str(case.root), sources=[ADDRESS], output=str(tmp_path / "target"), dry_run=True, wait_s=2)


async def test_a_root_of_another_codec_than_its_bytes(tmp_path):
    case = next(case for case in CASES if case.root.codec == DAG_CBOR)
    async with session_against(case.blocks, tmp_path / "home") as session:
        swapped = type(case.root).of(DAG_PB, case.blocks[case.root])
        with pytest.raises(WherryError):
            await session.get(str(swapped), sources=[ADDRESS], output=str(tmp_path / "target"), wait_s=1)


@pytest.mark.parametrize(
    "text", ["", "x" * 300, "Qm" + "x" * 44, "bafk", "zQm" * 90, "f01551220" + "00" * 31, "\0", "../etc/passwd", "🚢"]
)
async def test_a_malformed_cid(text, tmp_path):
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        with pytest.raises((DataError, WherryError)) as found:
            await session.get(text, output=str(tmp_path / "target"))
    assert found.value.exit_code in (2, 5)


async def test_a_limit_is_about_the_whole_dataset(tmp_path):
    case = next(case for case in CASES if case.met == "size")
    async with session_against(case.blocks, tmp_path / "home") as session:
        with pytest.raises(LimitExceeded, match="--max-bytes|entries"):
            await session.get(str(case.root), sources=[ADDRESS], output="null:", max_bytes=1 << 20)
