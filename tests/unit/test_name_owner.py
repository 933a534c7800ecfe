"""A home publishes above what it published itself, and above nothing else without being told to (specs/0034 §5)."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager

import pytest

from wherry.errors import IntegrityError
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.session import Session
from wherry.store.namekeys import NameKeys

FAR = 4_000_000_000 * 10**9
EMPTY = "/ipfs/bafkqaaa"
OTHER = "/ipfs/bafkqabtimvwgy3yk"


class Carrier:
    """A locator that carries names, in memory."""

    def __init__(self):
        self.records = {}

    async def name_records(self, name):
        if name in self.records:
            yield "carrier", self.records[name]

    async def put_record(self, name, record):
        self.records[name] = record
        return ["carrier"]


@pytest.fixture
def carrier():
    return Carrier()


@pytest.fixture
def opened(tmp_path, carrier):
    """Opens the session of a home, whose names ``carrier`` carries."""

    @asynccontextmanager
    async def opened(home="home"):
        async with Session.open(home=tmp_path / home, environ={}) as session:
            session._wiring.locators = lambda: [("carrier", carrier)]
            yield session

    return opened


@pytest.fixture
def key(tmp_path):
    """The key of a home that remembers nothing of it, as if it had been copied there."""
    (tmp_path / "home").mkdir()
    return NameKeys(tmp_path / "home").get_or_make("self")


def foreign(key, number):
    return create(key, EMPTY, number, FAR)


async def refused(session):
    with pytest.raises(IntegrityError, match="was published elsewhere, with number 3") as problem:
        await session.publish_name(OTHER)
    assert "--force" in problem.value.hint


async def test_what_was_refused_is_refused_again_until_it_is_forced(opened, carrier, key):
    name = str(Name.of(key.public))
    carrier.records[name] = foreign(key, 3)
    async with opened() as session:
        for _ in range(3):
            await refused(session)
            assert carrier.records[name] == foreign(key, 3)
        assert (await session.publish_name(OTHER, force=True)).sequence == 4
        assert (await session.publish_name(EMPTY)).sequence == 5  # above this home's own


@pytest.mark.parametrize("met", ["resolve_name", "follow_name", "import_record"])
async def test_a_record_that_was_met_before_is_not_this_homes(opened, carrier, key, met):
    name = str(Name.of(key.public))
    async with opened() as session:
        if met == "import_record":  # and nobody gives it when it is published
            await session.import_record(name, foreign(key, 3))
        else:
            carrier.records[name] = foreign(key, 3)
            if met == "resolve_name":
                await session.resolve_name(name)
            else:
                [one async for one in session.follow_name(name, once=True)]
        await refused(session)
        await refused(session)


async def test_an_old_copy_of_a_home_publishes_above_nothing_new(opened, carrier, tmp_path):
    async with opened() as session:
        name = (await session.publish_name(EMPTY)).name
        await session.publish_name(EMPTY)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    async with opened() as session:
        for _ in range(2):
            await session.publish_name(EMPTY)
        newest = carrier.records[name]
    async with opened("copy") as copy:
        await refused(copy)
        await refused(copy)
        assert carrier.records[name] == newest


async def test_a_copy_that_has_its_history_and_meets_nothing_new_goes_on(opened, carrier, tmp_path):
    async with opened() as session:
        await session.publish_name(EMPTY)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    async with opened("copy") as copy:
        assert (await copy.publish_name(OTHER)).sequence == 1


async def test_a_key_that_nobody_published_with_needs_no_force(opened, carrier, key):
    async with opened() as session:
        first = await session.publish_name(EMPTY)
        assert (first.name, first.sequence) == (str(Name.of(key.public)), 0)
        await session.import_record(first.name, carrier.records[first.name])  # its own, and so no news
        assert (await session.publish_name(OTHER)).sequence == 1
