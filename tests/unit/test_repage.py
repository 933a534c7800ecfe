"""A nodes.db of an earlier wherry gets the pages of today, and loses nothing by it (specs/decisions/0003)."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

from wherry import repair
from wherry.block import Block
from wherry.cid import CID, DAG_CBOR
from wherry.errors import NoSpace
from wherry.store import nodes
from wherry.store.database import Database
from wherry.store.nodes import NodeDB


def made(count):
    rng = random.Random(3)
    blocks = [rng.randbytes(rng.randrange(300, 1500)) for _ in range(count)]
    return [Block(CID.of(DAG_CBOR, data), data) for data in blocks]


def old(home, blocks):
    """Makes a nodes.db as earlier wherries did, with pages of 4 KiB."""
    home.mkdir()
    with closing(Database(home / "nodes.db", nodes._SCHEMA, 1, synchronous="FULL", what="node store")) as database:
        with database.writing() as run:
            run.executemany("INSERT INTO nodes VALUES (?,?)", [(bytes(block.cid), block.data) for block in blocks])
        assert database.page_bytes() == 4096


def looked_at(home):
    with closing(sqlite3.connect(home / "nodes.db")) as run:
        return run.execute("PRAGMA page_size").fetchone()[0], run.execute("PRAGMA user_version").fetchone()[0]


def whole(home, blocks):
    """Tells whether everything is there and right."""
    with closing(NodeDB(home)) as opened:
        return opened.sound() and {
            cid: block.data for cid, block in opened.get_many([block.cid for block in blocks]).items()
        } == {block.cid: block.data for block in blocks}


def test_repair_changes_the_pages_of_an_old_one(tmp_path):
    home, blocks = tmp_path / "home", made(600)
    old(home, blocks)
    before = (home / "nodes.db").stat().st_size
    assert repair.set_damaged_aside(home) == []
    assert looked_at(home) == (16_384, 1)
    assert (home / "nodes.db").stat().st_size < 0.8 * before
    assert whole(home, blocks)
    inode = (home / "nodes.db").stat().st_mtime_ns
    assert repair.set_damaged_aside(home) == []  # and of a new one nothing
    assert (home / "nodes.db").stat().st_mtime_ns == inode


def test_it_is_left_where_there_is_little_room(tmp_path, monkeypatch):
    home, blocks = tmp_path / "home", made(50)
    old(home, blocks)
    with monkeypatch.context() as patched:
        patched.setattr(repair, "free_bytes", lambda path: 3 * (home / "nodes.db").stat().st_size - 1)
        assert repair.set_damaged_aside(home) == []
    assert looked_at(home) == (4096, 1)

    def full(_self, _bytes):
        raise NoSpace("no room")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "repage", full)
        assert repair.set_damaged_aside(home) == []  # a repair goes on without
    assert whole(home, blocks)


_FULL = """
import pathlib, resource, sys
from wherry.errors import NoSpace, Unwritable
from wherry.store.nodes import NodeDB
opened = NodeDB(pathlib.Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    opened.repage(1 << 60)
except (NoSpace, Unwritable) as problem:
    print(type(problem).__name__)
"""


def test_a_disk_that_takes_no_more_midway_leaves_it_as_it_was(tmp_path):
    home, blocks = tmp_path / "home", made(600)
    old(home, blocks)
    said = subprocess.run([sys.executable, "-c", _FULL, str(home)], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said.strip() in {"NoSpace", "Unwritable"}
    assert looked_at(home) == (4096, 1)
    assert whole(home, blocks)


_CHILD = """
import pathlib, sys
from wherry.store.nodes import NodeDB
opened = NodeDB(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
opened.repage(1 << 60)
print("done", flush=True)
"""


def test_killed_midway_it_is_whole(tmp_path):
    home, blocks = tmp_path / "home", made(8000)
    old(home, blocks)
    journal = home / "nodes.db-journal"
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("\n")
        child.stdin.flush()
        while child.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.communicate()
    assert looked_at(home)[1] == 1
    assert whole(home, blocks)
    assert repair.set_damaged_aside(home) == []
    assert looked_at(home) == (16_384, 1)
    assert whole(home, blocks)
