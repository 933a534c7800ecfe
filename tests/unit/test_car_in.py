"""`import` keeps what only the cache, or a file that is gone, seemed to hold."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest

from wherry.abc.cache import Kept
from wherry.block import named
from wherry.car import header, section_head
from wherry.cid import DAG_CBOR, RAW
from wherry.dagcbor import encode
from wherry.observe import Progress
from wherry.publiccid import PublicCID
from wherry.store.held import stays
from wherry.store.store import Store
from wherry.transfer.car_in import CarImport
from wherry_cache.memory import MemoryCache

LEAF = named(RAW, b"leaf" * 1000)
ROOT = named(DAG_CBOR, encode([PublicCID(LEAF.cid)]))


@pytest.fixture
def opened(tmp_path):
    cache = MemoryCache(1 << 20)
    with closing(Store(tmp_path, lambda: cache)) as store:
        yield store, cache


def taken(store, *blocks):
    root = PublicCID(ROOT.cid)
    car = header([root]) + b"".join(section_head(PublicCID(one.cid), len(one.data)) + one.data for one in blocks)
    return CarImport(store, io.BytesIO(car).read, origin="a CAR", where="here").run()[0]


def test_what_the_cache_alone_has_is_kept_below_a_root(opened):
    store, cache = opened
    cache.put_many([Kept(*block, len(block.data)) for block in (ROOT, LEAF)])
    assert taken(store).missing == ""
    assert all(stays(held) for held in store.find([ROOT.cid, LEAF.cid]))
    assert [row.cid for row in store.state.roots(ROOT.cid)] == [ROOT.cid]


def test_what_the_cache_alone_has_is_kept_if_the_car_brings_it(opened):
    store, cache = opened
    cache.put_many([Kept(*LEAF, len(LEAF.data))])
    assert taken(store, ROOT, LEAF).missing == ""
    assert all(stays(held) for held in store.find([ROOT.cid, LEAF.cid]))


def test_it_is_counted_what_is_looked_at_when_all_is_read(opened, monkeypatch):
    store, _ = opened
    root = PublicCID(ROOT.cid)
    car = header([root]) + b"".join(section_head(PublicCID(one.cid), len(one.data)) + one.data for one in (ROOT, LEAF))
    run = CarImport(store, io.BytesIO(car).read, origin="a CAR", where="here")
    states = []
    hold = run._hold
    monkeypatch.setattr(run, "_hold", lambda sent: (states.append((run.checking, run.bytes_checked)), hold(sent)))
    keep = run._keep
    monkeypatch.setattr(run, "_keep", lambda: (states.append((run.checking, run.bytes_checked)), keep()))
    run.run()
    assert states == [(False, 0), (True, 0), (True, len(ROOT.data))]
    assert (run.bytes_read, run.bytes_checked) == (len(car), len(ROOT.data) + len(LEAF.data))


async def test_progress_says_that_what_is_read_is_being_verified(world, tmp_path):
    root = PublicCID(ROOT.cid)
    path = tmp_path / "x.car"
    path.write_bytes(
        header([root]) + b"".join(section_head(PublicCID(one.cid), len(one.data)) + one.data for one in (ROOT, LEAF))
    )
    events = []
    async with world.node() as session:
        await session.import_car(str(path), observe=events.append)
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.verb, last.phase, last.bytes_done) == ("import", "verify", len(ROOT.data) + len(LEAF.data))


def test_what_is_nowhere_is_missing(opened):
    store, _ = opened
    found = taken(store, ROOT)
    assert str(LEAF.cid) in found.missing
    assert not found.malformed
    assert store.state.roots(ROOT.cid) == []


def test_what_the_disk_has_damaged_is_not_laid_to_the_car(opened, tmp_path):
    store, _ = opened
    store.nodes.put_many([ROOT, LEAF])
    with closing(sqlite3.connect(tmp_path / "nodes.db")) as run, run:
        run.execute("UPDATE nodes SET data = x'00' WHERE cid = ?", [bytes(ROOT.cid)])
    found = taken(store, ROOT, LEAF)
    assert found.missing
    assert not found.malformed
