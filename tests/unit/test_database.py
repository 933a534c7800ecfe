"""SQLite as it is opened here: transactions, waiting, and errors that say what to do."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from wherry.errors import HomeTooNew, NoSpace, StoreError, Unwritable, WherryError
from wherry.store import database
from wherry.store.database import Database

SCHEMA = "CREATE TABLE t (n INTEGER PRIMARY KEY); CREATE TABLE u (n BLOB)"


def opened(path, version=1):
    return closing(Database(path / "x.db", SCHEMA, version, synchronous="FULL", what="test store"))


def numbers(db):
    with db.reading() as run:
        return [row[0] for row in run.execute("SELECT n FROM t ORDER BY n")]


def test_what_was_written_is_there_when_opened_again(tmp_path):
    with opened(tmp_path) as db:
        with db.writing() as run:
            run.execute("INSERT INTO t VALUES (1)")
        with db.reading() as run:
            assert run.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
            assert run.execute("PRAGMA synchronous").fetchone() == (2,)
    with opened(tmp_path) as db:
        assert numbers(db) == [1]
        db.check()


def write(db, *values):
    """Writes numbers in one transaction; raises those that are errors."""
    with db.writing() as run:
        for value in values:
            if isinstance(value, Exception):
                raise value
            run.execute("INSERT INTO t VALUES (?)", (value,))


def test_a_block_that_raises_is_rolled_back(tmp_path):
    with opened(tmp_path) as db:
        with pytest.raises(KeyError):
            write(db, 1, KeyError())
        with pytest.raises(StoreError, match="test store"):
            write(db, 2, 2)
        assert numbers(db) == []
        with db.writing() as run:
            run.execute("INSERT INTO t VALUES (3)")
        assert numbers(db) == [3]


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path, monkeypatch):
    """Somebody reads for longer than the writer waits."""
    monkeypatch.setattr(database, "_BUSY_S", 0.2)
    with opened(tmp_path) as db, closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM t").fetchall()
        with pytest.raises(StoreError, match="0 s") as caught:
            with db.writing() as run:
                run.execute("INSERT INTO t VALUES (1)")
        assert "another wherry process" in caught.value.hint
        other.execute("COMMIT")
        with db.writing() as run:
            run.execute("INSERT INTO t VALUES (2)")
        assert numbers(db) == [2]


def test_a_writer_waits_for_another(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as two:
        began = threading.Event()

        def hold():
            with one.writing() as run:
                run.execute("INSERT INTO t VALUES (1)")
                began.set()
                time.sleep(0.3)

        thread = threading.Thread(target=hold)
        thread.start()
        began.wait()
        with two.writing() as run:
            run.execute("INSERT INTO t VALUES (2)")
        thread.join()
        assert numbers(two) == [1, 2]


def test_threads_make_one_database_at_once(tmp_path):
    errors = []

    def make():
        try:
            with opened(tmp_path) as db, db.writing() as run:
                run.execute("INSERT INTO u VALUES (1)")
        except WherryError as problem:
            errors.append(problem)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with opened(tmp_path) as db, db.reading() as run:
        assert run.execute("SELECT count(*) FROM u").fetchone() == (8,)


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    with opened(tmp_path, version=3):
        pass
    with pytest.raises(HomeTooNew, match="format 3") as caught:
        Database(tmp_path / "x.db", SCHEMA, 2, synchronous="FULL", what="test store")
    assert "upgrade" in caught.value.hint


def test_a_full_disk_is_told_as_one(tmp_path):
    with opened(tmp_path) as db:
        with db.reading() as run:
            run.execute("PRAGMA max_page_count=10")
        with pytest.raises(NoSpace, match="test store") as caught:
            with db.writing() as run:
                run.execute("INSERT INTO u VALUES (zeroblob(1000000))")
        assert "free some space" in caught.value.hint
        with db.writing() as run:
            run.execute("INSERT INTO t VALUES (1)")
        assert numbers(db) == [1]


def test_a_place_that_cannot_be_opened(tmp_path):
    with pytest.raises(Unwritable, match=r"x\.db"):
        Database(tmp_path / "none" / "x.db", SCHEMA, 1, synchronous="FULL", what="test store")


def test_one_that_may_only_be_read(tmp_path):
    with opened(tmp_path) as db:
        with db.reading() as run:
            run.execute("PRAGMA query_only=ON")
        with pytest.raises(Unwritable) as caught:
            with db.writing() as run:
                run.execute("INSERT INTO t VALUES (1)")
        assert "permissions" in caught.value.hint


def test_what_is_no_database(tmp_path):
    (tmp_path / "x.db").write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match=r"x\.db") as caught:
        Database(tmp_path / "x.db", SCHEMA, 1, synchronous="FULL", what="test store")
    assert "repair" in caught.value.hint
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_a_schema_that_rotted(tmp_path):
    """SQLite repeats what it cannot read, and Python cannot make text of it."""
    with opened(tmp_path):
        pass
    path = tmp_path / "x.db"
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE t (n", b"CREATE TABLE t \xff\xfc\xff"))
    with pytest.raises(StoreError, match="test store") as caught:
        Database(path, SCHEMA, 1, synchronous="FULL", what="test store")
    assert "wherry repair" in caught.value.hint


def test_closing_twice_is_no_error(tmp_path):
    with opened(tmp_path) as db:
        db.close()
        with pytest.raises(StoreError):
            numbers(db)
