"""`repair` and `doctor` of what was got by a selection: what was never fetched is not missed, and what was is looked at."""

from __future__ import annotations

import errno
import random
import shutil
from contextlib import asynccontextmanager

import pytest
from getting import MIB, A, Slow, beside, interrupted, write
from unixfs_dags import Dag, offered

from wherry.cid import CID
from wherry.errors import LocalError
from wherry.session import Encryption, Session
from wherry.testing.faultydisk import FaultyDisk
from wherry.testing.memory import MemoryTransport
from wherry.transfer import into

CHANCE = random.Random(5)
FILES = {f"val/{number:02}": CHANCE.randbytes(900 + number) for number in range(5)}
FILES |= {"val/deep/long": CHANCE.randbytes(MIB + 7), "val/none": b""}
REST = {f"train/{number:02}": CHANCE.randbytes(900 + number) for number in range(5)}
REST |= {"train/deep/long": CHANCE.randbytes(MIB + 9), "train/none": b"", "else": CHANCE.randbytes(MIB + 11)}
KINDS = ["manifest", "sealed", "part", "raw leaves", "wrapped"]


@pytest.fixture
def tree(tmp_path):
    root = write(tmp_path / "src", {f"data/{name}": content for name, content in (FILES | REST).items()})
    (root / "data/val/link").symlink_to("00")
    return root


def dag_of(version):
    """The same in UnixFS; of version 0, every block is dag-pb."""
    dag = Dag(version)
    leaf = dag.raw if version else dag.leaf

    def below(folder):
        names = dict.fromkeys(name.removeprefix(folder).partition("/")[0] for name in FILES | REST if name.startswith(folder))
        links = [("link", dag.symlink("00"))] if folder == "val/" else []
        return [(name, entry(folder + name)) for name in sorted(names)] + links

    def entry(path):
        if path not in FILES | REST:
            return dag.directory(below(f"{path}/"))
        content = (FILES | REST)[path]
        pieces = [content[at : at + MIB] for at in range(0, len(content), MIB)]
        return dag.file([leaf(piece) for piece in pieces]) if len(pieces) > 1 else leaf(content)

    return dag, str(dag.directory(below(""))[0])


@asynccontextmanager
async def offering(world, tree, kind):
    """Serves the dataset; gives what to get."""
    if kind == "sealed":
        async with world.node("a") as session:
            await session.new_key("team")
            secret = await session.export_key("team", plain=True)
            cid = (await session.add(str(tree / "data"), encryption=Encryption(key="team"))).cid
            async with world.node() as other:
                await other.import_key("team", secret)
            async with MemoryTransport(world.network).listen(A, session._store):
                yield cid
    elif kind in ("raw leaves", "wrapped"):
        dag, what = dag_of(1 if kind == "raw leaves" else 0)
        async with offered(world, dag):
            yield what
    else:
        async with world.shared(tree if kind == "part" else tree / "data") as cid:
            yield f"{cid}/data" if kind == "part" else cid


async def got(world, what, target, **options):
    async with world.node() as session:
        await session.get(what, sources=[A], output=str(target), **options)
        return await session.store_stat()


async def repaired(world, **options):
    async with Session.open(home=world.base / "home-b", environ={}, verb="repair") as session:
        return await session.repair(**options)


async def known(world):
    async with world.node() as session:
        stat = await session.store_stat()
        return stat.files, stat.bytes, stat.leaves, len(await session.roots())


def contents(target):
    files = [path for path in target.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(target)): path.read_bytes() for path in files}


async def looked_at(world):
    """What `doctor` says of the one root."""
    async with world.node() as session:
        (check,) = [check for check in await session.doctor() if check.name == "root"]
        return check


# nothing was touched


@pytest.mark.parametrize(("patterns", "index"), [({"include": ["val"]}, "there"), ({"exclude": ["train", "else"]}, "lost")])
@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_was_got_stays_known_and_is_given_on(world, tree, kind, patterns, index):
    tmp_path = world.base
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, **patterns)
        before = await known(world)
        if index == "lost":
            (world.base / "home-b" / "index.db").write_bytes(b"not SQLite" * 1000)
        found = await repaired(world)
        assert (found.kept, found.dropped, found.missing) == (1, [], [])
        assert (found.files, found.bytes) == (len(FILES), sum(map(len, FILES.values())))
        assert await known(world) == before
        check = await looked_at(world)
        assert check.status == "ok"
        assert ("6 files" in check.detail) == (kind in ("manifest", "sealed"))  # those that have bytes
        async with world.node() as session:
            again = await session.get(what, sources=[A], output=str(target), **patterns)
            assert again.fetched_bytes < 6000  # wrapped, a file that is left out is read for what it is
    async with world.node() as session, MemoryTransport(world.network).listen("memory://b", session._store):
        (root,) = await session.roots()
        async with world.node("c") as other:
            if kind == "sealed":
                await other.import_key("team", await session.export_key("team", plain=True))
                await other.get(str(root.cid), sources=["memory://b"], output=str(tmp_path / "given"), **patterns)
            else:  # in a folder that was left out nobody can look for what is included
                await other.get(f"{root.cid}/val", sources=["memory://b"], output=str(tmp_path / "given/val"))
    assert contents(tmp_path / "given") == FILES


@pytest.mark.parametrize("kind", KINDS)
async def test_all_of_it_can_be_got_afterwards(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, include=["val"])
        await repaired(world)
        async with world.node() as session:
            result = await session.get(what, sources=[A], output=str(target), force=True)
        assert result.fetched_bytes < sum(map(len, REST.values())) + 100_000  # what is here was not fetched again
        found = await repaired(world)
    assert contents(target) == FILES | REST
    assert (found.kept, found.files, found.dropped) == (1, len(FILES | REST), [])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_whole_before_is_not_missed(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target)
        await got(world, what, target, include=["val"], force=True)
    found = await repaired(world)
    assert (found.kept, found.files, found.dropped) == (1, len(FILES), [])


async def test_an_interrupted_get_goes_on_after_it(world, large, tmp_path):
    world.ways[A] = Slow(world.network)
    target = tmp_path / "some"
    async with world.shared(large) as cid:
        done = await interrupted(world, cid, target, after_bytes=9 * MIB, exclude=["small/0*"])
        found = await repaired(world)
        assert (found.roots, found.dropped) == (0, [])
        del world.ways[A]
        async with world.node() as session:
            result = await session.get(cid, sources=[A], output=str(target), exclude=["small/0*"])
        assert result.fetched_bytes < result.bytes - done + 5 * MIB
    assert beside(target) == []
    before = await known(world)
    found = await repaired(world)
    assert (found.kept, found.files) == (1, 11)
    assert await known(world) == before


@pytest.mark.parametrize(("kind", "pattern"), [*((kind, "link") for kind in KINDS), ("manifest", "none"), ("sealed", "?")])
async def test_a_selection_without_bytes_stays(world, tree, tmp_path, kind, pattern):
    async with offering(world, tree, kind) as what:
        await got(world, what, tmp_path / "some", include=[pattern])
    assert (await looked_at(world)).status == ("ok" if kind in ("manifest", "sealed") else "warn")
    found = await repaired(world)
    assert (found.kept, found.dropped, found.missing) == (1, [], [])


@pytest.mark.parametrize("options", [{"include": ["*.bin"]}, {"exclude": ["d.dat", "b*"]}, {"include": ["?.bin", "b2/none"]}])
@pytest.mark.parametrize("kind", ["manifest", "sealed", "part"])
async def test_what_is_empty_and_was_not_selected_is_not_missed_between_what_was(world, tmp_path, kind, options):
    files = {"a.bin": CHANCE.randbytes(MIB), "c.bin": CHANCE.randbytes(900), "d.dat": CHANCE.randbytes(700)}
    empty = {"b.txt": b"", "b/none": b"", "b/deep/none": b"", "b2/none": b""}
    tree = write(tmp_path / "src", {f"data/{name}": content for name, content in (files | empty).items()})
    target, taken = tmp_path / "some", {"a.bin", "c.bin"} | ({"b2/none"} & set(options.get("include", [])))
    async with offering(world, tree, kind) as what:
        await got(world, what, target, **options)
    assert set(contents(target)) == taken
    assert (await looked_at(world)).status == "ok"
    found = await repaired(world)
    assert (found.kept, found.files, found.dropped, found.missing) == (1, len(taken), [], [])
    if len(taken) == 3:
        (target / "b2/none").write_bytes(b"other")
        assert len((await repaired(world)).dropped) == 1
    else:
        write(target, {"b.txt": b"mine", "b/none": b"mine"})
        assert (await repaired(world)).kept == 1


@pytest.mark.parametrize("patterns", [{"include": ["val"]}, {"exclude": ["train/0*", "deep"]}, {}])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_is_remembered_behind_a_kill_before_the_acknowledgement(world, tree, monkeypatch, kind, patterns):
    tmp_path = world.base

    def killed(*_):
        raise LocalError("killed")

    async with offering(world, tree, kind) as what:
        await got(world, what, tmp_path / "some", **patterns)
        with monkeypatch.context() as failing:
            failing.setattr(into, "_acknowledge", killed)
            with pytest.raises(LocalError, match="killed"):
                await got(world, what, tmp_path / "other", **patterns)
        assert {"other", ".other.wherry-journal"} <= {path.name for path in tmp_path.iterdir()}
        await got(world, what, tmp_path / "other", **patterns)
    assert beside(tmp_path / "other") == []
    async with world.node() as session:
        other, some = await session.roots()
    assert (other.path, other.options) == (str(tmp_path / "other"), some.options)
    assert ("spans" in some.options, "bytes" in some.options) == (
        bool(patterns) and kind in ("manifest", "sealed"),
        kind in ("raw leaves", "wrapped"),
    )


@pytest.mark.parametrize(("inside", "changed"), [("", False), ("", True), ("/one", False)])
async def test_a_file_is_known_behind_a_kill_before_the_acknowledgement(world, monkeypatch, inside, changed):
    """Its name has given it another ctime; what others did to it since it was compared is another matter."""
    source, target, late = world.base / "src/one", world.base / "got", into._renamed
    write(world.base, {"src/one": CHANCE.randbytes(3 * MIB + 5)})

    def killed(*_):
        raise LocalError("killed")

    def touched(*given):
        target.write_bytes(bytes(3 * MIB + 5))
        late(*given)

    async with world.shared(source.parent if inside else source) as cid:
        monkeypatch.setattr(into, "_acknowledge", killed)
        with pytest.raises(LocalError, match="killed"):
            await got(world, f"{cid}{inside}", target)
        if changed:
            monkeypatch.setattr(into, "_renamed", touched)
        await got(world, f"{cid}{inside}", target)
    assert (await looked_at(world)).status == ("warn" if changed else "ok")


async def test_what_is_remembered_coarsely_is_read_all_the_same(world, tree, tmp_path, monkeypatch):
    monkeypatch.setattr("wherry.transfer.select.SELECTION_SPANS_MAX", 2)
    monkeypatch.setattr("wherry.taken.SELECTION_SPANS_MAX", 2)
    async with offering(world, tree, "manifest") as what:
        await got(world, what, tmp_path / "some", include=["val/0[024]", "val/deep"])
    before = await known(world)
    found = await repaired(world)
    assert (found.kept, found.files, found.dropped) == (1, 4, [])
    assert await known(world) == before
    (tmp_path / "some/val/02").write_bytes(b"other")
    assert len((await repaired(world)).dropped) == 1


# something was touched


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_that_was_selected_and_has_changed_is_told(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, include=["val"])
    (target / "val/03").write_bytes(bytes(len(FILES["val/03"])))
    if kind in ("manifest", "sealed"):
        assert "of 6 files, 1 changed or went since" in (await looked_at(world)).detail
    found = await repaired(world)
    assert (found.kept, len(found.dropped)) == (0, 1)


@pytest.mark.parametrize("kind", ["manifest", "sealed"])
async def test_a_file_that_was_selected_and_has_gone_is_told(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, include=["val"])
    (target / "val/03").unlink()
    assert "of 6 files, 1 changed or went since" in (await looked_at(world)).detail
    found = await repaired(world)
    assert (found.kept, len(found.dropped), found.files) == (0, 1, len(FILES) - 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_own_files_that_have_names_of_the_dataset_are_no_change(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, exclude=["train", "else"])
    write(target, {"train/03": b"mine", "else": bytes(len(REST["else"])), "train/deep/long/mine": b"mine", "new": b""})
    found = await repaired(world)
    assert (found.kept, found.files, found.dropped, found.missing) == (1, len(FILES), [], [])


@pytest.mark.parametrize("gone", ["folder", "files"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_disk_that_is_not_there_is_not_forgotten(world, tree, tmp_path, kind, gone):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, include=["val"])
    before = await known(world)
    target.rename(tmp_path / "away")
    if gone == "files":
        target.mkdir()
    found = await repaired(world)
    assert (found.kept, found.files, found.dropped, len(found.missing)) == (1, 0, [], 1)
    assert await known(world) == before
    shutil.rmtree(target, ignore_errors=True)
    (tmp_path / "away").rename(target)
    found = await repaired(world)
    assert (found.kept, found.files, found.missing) == (1, len(FILES), [])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_cannot_be_read_is_missing(world, tree, tmp_path, kind):
    target = tmp_path / "some"
    async with offering(world, tree, kind) as what:
        await got(world, what, target, include=["val"])
    before = await known(world)
    with FaultyDisk(target / "val/03") as disk:
        disk.fail("open", errno.EACCES, times=None)
        found = await repaired(world)
    assert (found.kept, found.dropped, len(found.missing)) == (1, [], 1)
    assert await known(world) == before


async def test_nodes_of_what_was_selected_that_are_lost_are_told(world, tree, tmp_path):
    target = tmp_path / "some"
    async with offering(world, tree, "manifest") as what:
        await got(world, what, target, include=["val"])
    async with world.node() as session:
        deep = [entry async for entry in session.ls(f"{what}/val") if entry.name == "deep"]
        with session._store.nodes._db.writing() as run:
            assert run.execute("DELETE FROM nodes WHERE cid=?", (bytes(CID.parse(deep[0].cid)),)).rowcount == 1
    assert len((await repaired(world)).dropped) == 1


async def test_what_cannot_be_read_of_a_selection_is_not_known(world, tree, tmp_path):
    target = tmp_path / "some"
    async with offering(world, tree, "manifest") as what:
        await got(world, what, target, include=["val"])
    async with world.node() as session:
        (row,) = await session.roots()
        session._store.state.put_root(row.cid, row.path, row.how, row.options | {"spans": "from here to there"})
    found = await repaired(world)
    assert (found.kept, found.files) == (1, len(FILES))
