"""`doctor` and `repair`: what they find, what they make again, and what they drop."""

from __future__ import annotations

import os
import shutil
from contextlib import aclosing

import pytest

from wherry import health
from wherry.errors import HomeTooNew, StoreError
from wherry.session import Encryption, Session
from wherry.store.database import Database
from wherry.store.home import Home
from wherry.store.newindex import NewIndex


async def added(home, *paths):
    async with Session.open(home=home) as session:
        return [(await session.add(str(path))).cid for path in paths]


async def repaired(home):
    async with Session.open(home=home, verb="repair") as session:
        return await session.repair()


async def read(home, what):
    async with Session.open(home=home) as session, aclosing(session.cat(what)) as pieces:
        return b"".join([piece async for piece in pieces])


async def checks(home):
    async with Session.open(home=home) as session:
        return {check.name: check for check in await session.doctor()}


# doctor


async def test_doctor_of_a_good_home(home, tree):
    await added(home, tree)
    found = await checks(home)
    assert {check.status for check in found.values()} <= {"ok", "warn"}
    assert found["root"].status == "ok"
    assert str(home) in found["home"].detail
    assert found["file names"].detail == "UTF-8"


async def test_doctor_tells_what_is_wrong(home, tree, monkeypatch):
    (cid,) = await added(home, tree)
    home.chmod(0o755)
    monkeypatch.setattr(health, "free_bytes", lambda path: 5)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    found = await checks(home)
    assert (found["permissions"].status, found["space"].status, found["file names"].status) == ("warn", "warn", "fail")
    assert "chmod" in found["permissions"].hint
    shutil.move(tree, tree.with_name("elsewhere"))
    assert (await checks(home))["root"].status == "warn"
    shutil.move(tree.with_name("elsewhere"), tree)
    (home / "nodes.db").unlink()
    lost = (await checks(home))["root"]
    assert lost.status == "fail"
    assert cid in lost.detail


async def test_doctor_compares_files_with_what_was_recorded(home, tree):
    (cid,) = await added(home, tree)
    ok = (await checks(home))["root"]
    count = sum(1 for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert ok.detail == f"{cid} at {tree}, {count} files"
    (tree / "readme.txt").write_bytes(b"other\n")
    (tree / "bin/run.sh").unlink()
    found = (await checks(home))["root"]
    assert found.status == "warn"
    assert f"of {count} files, 2 changed or went" in found.detail
    assert str(tree / "readme.txt") in found.detail
    assert str(tree / "bin/run.sh") in found.detail
    assert "wherry add" in found.hint
    (again,) = await added(home, tree)
    async with Session.open(home=home) as session:
        new, old = [check for check in await session.doctor() if check.name == "root"]
    assert (new.status, new.detail) == ("ok", f"{again} at {tree}, {count - 1} files")
    assert old.status == "ok"  # it was replaced, and that it cannot be served as a whole is no news
    assert cid in old.detail
    assert "newer" in old.detail


async def test_doctor_tells_of_an_index_that_knows_nothing(home, tree):
    await added(home, tree)
    (home / "index.db").unlink()
    found = (await checks(home))["root"]
    assert (found.status, found.hint) == ("fail", "run `wherry repair`")
    await repaired(home)
    assert (await checks(home))["root"].status == "ok"


async def test_doctor_looks_at_some_of_many_files_and_says_so(home, tmp_path, monkeypatch):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(40):
        (many / f"{number:02}").write_bytes(b"%d" % number)
    await added(home, many)
    monkeypatch.setattr(health, "_FILES_MAX", 10)
    monkeypatch.setattr(health, "_FILES_MIN", 10)
    assert "10 files that were looked at (it has 40" in (await checks(home))["root"].detail
    for path in many.iterdir():
        path.write_bytes(b"other")
    found = (await checks(home))["root"].detail
    assert [str(many / name) in found for name in ("00", "04", "16", "20")] == [True, True, True, False]


@pytest.mark.parametrize("what", ["file", "encrypted", "fetched", "unixfs"])
async def test_doctor_of_other_roots(home, tree, tmp_path, what):
    """A bare leaf, an encrypted dataset with and without its key, what was fetched, and what was fetched by its UnixFS form."""
    place = tree / "readme.txt"
    async with Session.open(home=home) as session:
        if what == "file":
            await session.add(str(place))
        elif what == "encrypted":
            await session.new_key("team")
            await session.add(str(tree), encryption=Encryption(key="team"))
        else:
            done = await session.add(str(tree))
            place = tmp_path / "copy" / "readme.txt"
            async with session.serve(listen=["http://127.0.0.1:0"]) as serving, Session.open(home=tmp_path / "other") as other:
                cid = done.cid if what == "fetched" else done.unixfs_cid
                await other.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
            home = tmp_path / "other"
    assert (await checks(home))["root"].status == "ok"
    place.write_bytes(b"other\n")
    found = (await checks(home))["root"]
    assert found.status == ("ok" if what == "unixfs" else "warn")  # its manifest does not say which are its files
    if what == "encrypted":
        shutil.move(home / "keys", tmp_path / "away")
        assert "no key" in (await checks(home))["root"].detail
    if what == "unixfs":
        (home / "index.db").unlink()
        assert (await checks(home))["root"].status != "ok"


async def test_doctor_takes_no_imported_dataset_for_one_that_another_followed(home, tmp_path):
    """They lie side by side in one place of the home."""
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(name.encode())
        async with Session.open(home=tmp_path / "from") as session:
            done = await session.add(str(tmp_path / name))
            await session.export_car(str(done.cid), str(tmp_path / f"{name}.car"))
        async with Session.open(home=home) as session:
            await session.import_car(str(tmp_path / f"{name}.car"))
    async with Session.open(home=home) as session:
        roots = [check for check in await session.doctor() if check.name == "root"]
    assert [(check.status, "newer" in check.detail) for check in roots] == [("ok", False)] * 2


async def test_doctor_tells_of_a_repair_that_did_not_finish(home, tree):
    await added(home, tree)
    assert "repair" not in await checks(home)
    NewIndex(home).close()
    assert "did not finish" in (await checks(home))["repair"].detail


# repair


async def test_repair_makes_a_deleted_index_again(home, tree):
    (cid,) = await added(home, tree)
    (home / "index.db").unlink()
    found = await repaired(home)
    assert (found.roots, found.kept, found.dropped) == (1, 1, [])
    assert found.files == sum(1 for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert await read(home, f"{cid}/data/large.bin") == (tree / "data/large.bin").read_bytes()
    async with Session.open(home=home) as session:
        again = await session.add(str(tree))
        assert again.new_blocks == 0


async def test_repair_of_several_roots_of_every_kind(home, tree):
    cids = await added(home, tree, tree / "readme.txt", tree / "data/large.bin", "synth://3MiB?seed=1", tree / "empty")
    found = await repaired(home)
    assert (found.roots, found.kept) == (len(cids), len(cids))
    assert await read(home, cids[1]) == b"hello\n"
    assert await read(home, cids[4]) == b""


@pytest.mark.parametrize("change", ["content", "size", "gone"])
async def test_repair_drops_what_changed_and_keeps_the_others(home, tree, change):
    cid, kept = await added(home, tree, tree / "data")
    path = tree / "readme.txt"
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(b"HELLO\n" if change == "content" else b"longer than it was\n")
    found = await repaired(home)
    assert (found.roots, found.kept) == (2, 1)
    assert found.dropped == [f"{cid} at {tree}"]
    async with Session.open(home=home) as session:
        assert not (await session.stat(cid)).held
        assert (await session.stat(kept)).held
    assert await read(home, f"{kept}/large.bin") == (tree / "data/large.bin").read_bytes()


async def test_repair_drops_a_root_whose_manifest_is_lost(home, tree):
    (cid,) = await added(home, tree)
    (home / "nodes.db").unlink()
    found = await repaired(home)
    assert found.dropped == [f"{cid} at {tree}"]


@pytest.mark.parametrize("name", ["index.db", "nodes.db", "state.db"])
@pytest.mark.parametrize("damage", ["head", "middle", "cut", "empty"])
async def test_repair_begins_with_a_database_that_is_damaged(home, tree, name, damage):
    await added(home, tree)
    path = home / name
    data = bytearray(path.read_bytes())
    if damage == "head":
        data[:100] = b"x" * 100
    elif damage == "middle":
        data[4096:] = os.urandom(len(data) - 4096)
    elif damage == "cut":
        del data[len(data) // 2 // 512 * 512 + 100 :]
    else:
        data.clear()
    path.write_bytes(data)
    found = await repaired(home)
    if name == "index.db":
        assert (found.kept, found.set_aside) == (1, [])
    elif damage == "empty":
        assert found.set_aside == []  # a new file, to SQLite
    else:
        (aside,) = found.set_aside
        assert os.path.basename(aside).startswith(f"{name}.damaged-")
        assert os.path.exists(aside)
    (cid,) = await added(home, tree)  # and all is well afterwards
    assert await read(home, f"{cid}/readme.txt") == b"hello\n"
    assert (await repaired(home)).set_aside == []


async def test_a_database_of_a_newer_wherry_is_left_alone(home, tree):
    await added(home, tree)
    newer = {2: "CREATE TABLE more (x)"} | dict.fromkeys(range(3, 99), "SELECT 1")
    Database(home / "index.db", "", 99, synchronous="NORMAL", what="index", steps=newer).close()
    with pytest.raises(HomeTooNew):
        await repaired(home)
    assert (home / "index.db").exists()


def test_a_database_that_does_not_open_is_closed(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StoreError, match="repair"):
        Database(tmp_path / "x.db", "CREATE TABLE a (b)", 1, synchronous="FULL", what="x")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_two_processes_begin_one_database_at_once(tmp_path, monkeypatch):
    """The second finds the first's tables where it saw none a moment before."""
    schema = "CREATE TABLE a (b)"
    first = Database(tmp_path / "x.db", schema, 1, synchronous="FULL", what="x")
    real = Database._prepare

    class Late:
        """A connection that saw the file before the first process wrote to it."""

        def __init__(self, connection):
            self._connection = connection
            self._asked = 0

        def execute(self, line):
            if line == "PRAGMA user_version":
                self._asked += 1
                if self._asked == 1:
                    return self._connection.execute("SELECT 0")
            return self._connection.execute(line)

        def __getattr__(self, name):
            return getattr(self._connection, name)

    def prepare(self, *rest):
        self._connection = Late(self._connection)
        real(self, *rest)

    monkeypatch.setattr(Database, "_prepare", prepare)
    second = Database(tmp_path / "x.db", schema, 1, synchronous="FULL", what="x")
    for each in (first, second):
        with each.writing() as run:
            run.execute("INSERT INTO a VALUES (1)")
        each.close()


def test_who_holds_a_home_is_told(home):
    with Home(home, "serve") as opened:
        (holder,) = opened.holders()
        assert "wherry serve" in holder
        assert str(os.getpid()) in holder
