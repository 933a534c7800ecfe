"""`wherry cache`: what each verb asks of the session, and what it prints."""

from __future__ import annotations

import json

from wherry.cid import CID, DAG_CBOR
from wherry.observe import Note
from wherry.results import CacheCleared, CacheStat, CacheWarmed

TREE = str(CID.of(DAG_CBOR, b"tree"))


def stat(**changes):
    fields = {
        "name": "fast", "plugin": "disk", "blocks": 1200, "bytes": 1 << 30, "bytes_max": 4 << 30,
        "hits": 0, "misses": 0, "evictions": 0,
    }  # fmt: skip
    return CacheStat(**(fields | changes))


def warmed(**changes):
    fields = {
        "cid": TREE, "bytes": 3 << 20, "blocks": 12, "held_bytes": 0, "fetched_bytes": 2 << 20, "complete": True,
        "seconds": 2.0, "sources": [],
    }  # fmt: skip
    return CacheWarmed(**(fields | changes))


def test_stat(capsys, go, fake_session):
    session = fake_session(cache_stat=stat())
    assert go(session, "cache", "stat") == 0
    assert capsys.readouterr().out == "cache    fast (plugin disk)\nblocks   1,200\nbytes    1.0 GiB of 4.0 GiB (25%)\n"
    go(session, "cache", "stat", "-q")
    assert capsys.readouterr().out == f"{1 << 30}\n"
    go(session, "cache", "stat", "--json")
    assert json.loads(capsys.readouterr().out) == stat().to_json()


def test_stat_of_a_cache_that_may_keep_nothing(capsys, go, fake_session):
    assert go(fake_session(cache_stat=stat(name="disk", bytes=0, bytes_max=0)), "cache", "stat") == 0
    assert capsys.readouterr().out == "cache    disk\nblocks   1,200\nbytes    0 B of 0 B\n"


def test_warm(capsys, go, fake_session):
    session = fake_session(cache_warm=warmed())
    session.events = [Note("warning", "slow")]
    assert go(session, "cache", "warm", TREE, "--from", "lab", "--bytes", "3MiB", "--wait", "5s") == 0
    captured = capsys.readouterr()
    assert captured.out == "the whole dataset is in the cache: 3.0 MiB in 12 blocks\n2.0 MiB fetched in 2.0s (1.0 MiB/s)\n"
    assert captured.err == "warning: slow\n"
    assert session.calls == [("cache_warm", (TREE,), {"sources": ("lab",), "max_bytes": 3 << 20, "wait_s": 5.0})]


def test_warm_says_what_is_only_the_beginning_and_what_was_there(capsys, go, fake_session):
    session = fake_session(cache_warm=warmed(complete=False, fetched_bytes=0))
    assert go(session, "cache", "warm", TREE) == 0
    assert capsys.readouterr().out == "the beginning of the dataset is in the cache: 3.0 MiB in 12 blocks\nnothing to fetch\n"
    assert session.calls == [("cache_warm", (TREE,), {"sources": ()})]


def test_warm_quiet_and_json(capsys, go, fake_session):
    session = fake_session(cache_warm=warmed())
    go(session, "cache", "warm", TREE, "-q")
    assert capsys.readouterr().out == ""
    go(session, "cache", "warm", TREE, "--json")
    assert json.loads(capsys.readouterr().out) == warmed().to_json()


def test_clear(capsys, go, fake_session):
    session = fake_session(cache_clear=CacheCleared(blocks=1234))
    assert go(session, "cache", "clear") == 0
    assert capsys.readouterr().out == "1,234 blocks forgotten\n"
    go(session, "cache", "clear", "-q")
    assert capsys.readouterr().out == ""
    go(session, "cache", "clear", "--json")
    assert json.loads(capsys.readouterr().out) == {"schema": "wherry/cache-clear/1", "blocks": 1234}
