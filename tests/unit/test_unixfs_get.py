"""`get`, `cat`, `ls`, `stat` and `verify` of UnixFS, from end to end inside one process, and what is given on of it."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from contextlib import aclosing

import pytest
from getting import A, Slow, beside, interrupted
from unixfs_dags import Dag, offered

from wherry.cid import DAG_PB, RAW
from wherry.errors import (
    IntegrityError,
    LimitExceeded,
    NotFound,
    TargetExists,
    UnsafeName,
    UsageError,
)
from wherry.publiccid import PublicCID
from wherry.session import Session
from wherry.testing.memory import MemoryTransport
from wherry.transfer import tree as tree_module
from wherry.unixfs.data import UnixTime
from wherry_cli.demo import compare

KIB = 1 << 10
BIG = random.Random(1).randbytes(5 << 20)  # more than a buffer
MIDDLE = random.Random(2).randbytes(700 * KIB)


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def new_tree(dag):
    """As kubo writes by its newer profile: raw leaves."""
    big = dag.file([dag.raw(piece) for piece in cut(BIG, 1 << 20)])
    return dag.directory([("big", big), ("inner", dag.directory([("middle", dag.raw(MIDDLE))])), ("small", dag.raw(b"small"))])


def old_tree(dag):
    """As kubo writes by its older profile: every block is dag-pb, its links of version 0."""
    big = dag.file([dag.leaf(piece) for piece in cut(BIG, 256 * KIB)])
    middle = dag.file([dag.leaf(piece) for piece in cut(MIDDLE, 256 * KIB)])
    return dag.directory([("big", big), ("inner", dag.directory([("middle", middle)])), ("small", dag.leaf(b"small"))])


CONTENT = {"big": BIG, "inner/middle": MIDDLE, "small": b"small"}
KINDS = [(1, new_tree), (0, old_tree)]


def files_below(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


async def all_of(generator):
    async with aclosing(generator) as items:
        return [item async for item in items]


@pytest.mark.parametrize(("version", "tree"), KINDS)
async def test_a_tree_arrives_and_is_given_on(world, tmp_path, version, tree):
    dag = Dag(version)
    what = str(tree(dag)[0])
    async with world.node() as session:
        async with offered(world, dag):
            got = await session.get(what, sources=[A], output=str(tmp_path / "copy"))
        assert files_below(tmp_path / "copy") == CONTENT
        assert beside(tmp_path / "copy") == []
        size = sum(len(data) for data in CONTENT.values())
        assert got.bytes == size
        assert size < got.fetched_bytes < size + 64 * KIB
        again = await session.get(what, output=str(tmp_path / "copy"))
        assert (again.fetched_bytes, again.bytes) == (0, size)
        assert (await session.verify(what, str(tmp_path / "copy"))).ok
        # What lies in the files is not kept a second time ...
        assert sum(session._store.nodes.sizes(list(dag.blocks)).values()) < 16 * KIB
        # ... and is given to others as the blocks that it came from.
        async with MemoryTransport(world.network).listen("memory://b", session._store), world.node("c") as third:
            await third.get(what, sources=["memory://b"], output=str(tmp_path / "third"))
        held = session._store.find(list(dag.blocks))
        for (cid, data), one in zip(dag.blocks.items(), held, strict=True):
            view = bytearray(one.size)
            one.read_into(memoryview(view))
            assert bytes(view) == data, cid
    assert files_below(tmp_path / "third") == CONTENT


@pytest.mark.parametrize(("version", "tree"), KINDS)
async def test_an_interrupted_get_goes_on(world, tmp_path, version, tree):
    dag = Dag(version)
    what = str(tree(dag)[0])
    world.ways[A] = Slow(world.network)
    async with offered(world, dag):
        done = await interrupted(world, what, tmp_path / "copy", after_bytes=1 << 20)
        assert (1 << 20) <= done < len(BIG)
        async with world.node() as session:
            got = await session.get(what, sources=[A], output=str(tmp_path / "copy"))
        assert got.fetched_bytes < len(BIG) + len(MIDDLE) + 5 - done + 600 * KIB
    assert files_below(tmp_path / "copy") == CONTENT


@pytest.mark.parametrize(("version", "tree"), KINDS)
async def test_cat_ls_and_stat(world, version, tree):
    dag = Dag(version)
    what = str(tree(dag)[0])
    async with offered(world, dag), world.node() as session:
        for path, data in CONTENT.items():
            assert b"".join(await all_of(session.cat(f"{what}/{path}", sources=[A]))) == data
        for offset, length in ((0, 1), (256 * KIB - 1, 2), (len(BIG) - 5, None), (3 << 20, 1 << 20), (len(BIG), None)):
            stop = None if length is None else offset + length
            pieces = await all_of(session.cat(f"{what}/big", sources=[A], offset=offset, length=length))
            assert b"".join(pieces) == BIG[offset:stop]
        listed = await all_of(session.ls(what, sources=[A]))
        assert [(entry.name, entry.kind) for entry in listed] == [("big", "file"), ("inner", "dir"), ("small", "file")]
        assert [listed[0].size, listed[2].size, listed[1].entries] == [len(BIG), 5, None]
        found = await session.stat(f"/ipfs/{what}/big", sources=[A])
        assert (found.kind, found.bytes, found.chunk_bytes) == ("file", len(BIG), (256 * KIB, 1 << 20)[version])
        found = await session.stat(f"ipfs://{what}", sources=[A])
        assert (found.kind, found.entries) == ("dir", None)
        with pytest.raises(NotFound):
            await session.stat(f"{what}/nothing", sources=[A])
        with pytest.raises(UsageError):
            await all_of(session.cat(what, sources=[A]))


async def test_parts_of_a_tree_are_got_by_their_paths(world, tmp_path):
    dag = Dag()
    what = str(new_tree(dag)[0])
    async with offered(world, dag), world.node() as session:
        await session.get(f"{what}/inner", sources=[A], output=str(tmp_path / "inner"))
        assert files_below(tmp_path / "inner") == {"middle": MIDDLE}
        await session.get(f"{what}/big", sources=[A], output=str(tmp_path / "big"))
        assert (tmp_path / "big").read_bytes() == BIG
        await session.get(f"{what}/small", sources=[A], output=str(tmp_path / "small"))
        assert (tmp_path / "small").read_bytes() == b"small"
        with pytest.raises(NotFound):
            await session.get(f"{what}/none", sources=[A], output=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


async def test_roots_of_any_form(world, tmp_path):
    dag = Dag(0)
    one = dag.leaf(b"one block")
    raw = dag.raw(b"raw")
    async with offered(world, dag), world.node() as session:
        old = str(one[0])
        assert old.startswith("Qm")
        texts = [old, one[0].to_version(1).to_base("base36"), one[0].to_version(1).to_base("base16upper")]
        for number, text in enumerate(texts):
            await session.get(text, sources=[A], output=str(tmp_path / str(number)))
            assert (tmp_path / str(number)).read_bytes() == b"one block"
            assert await all_of(session.cat(text, sources=[A])) == [b"one block"]
        assert await all_of(session.cat(raw[0].to_base("base58btc"), sources=[A])) == [b"raw"]
        inline = str(PublicCID.inlined(RAW, b"in the name"))
        assert await all_of(session.cat(inline)) == [b"in the name"]
        await session.get(inline, output=str(tmp_path / "inline"))
        assert (tmp_path / "inline").read_bytes() == b"in the name"
        assert (await session.stat("bafkqaaa")).bytes == 0
        folder = str(PublicCID.inlined(DAG_PB, bytes.fromhex("0a020801")))
        await session.get(folder, output=str(tmp_path / "folder"))
        assert os.listdir(tmp_path / "folder") == []
        with pytest.raises(UsageError, match="symbolic link"):
            await session.get(str(PublicCID.inlined(DAG_PB, dag.blocks[dag.symlink("x")[0].block()])), output="x")


async def test_a_large_directory_with_links_modes_and_times(world, tmp_path):
    dag = Dag()
    entries = [(f"file {number}", dag.raw(b"%d" % number)) for number in range(700)]
    entries.append(("run", dag.leaf(b"#!", mode=0o755, mtime=UnixTime(1_700_000_000, 5))))
    entries.append(("to", dag.symlink("run")))
    entries.append(("inlined", (PublicCID.inlined(RAW, b"inlined"), 7, 7)))
    what = str(dag.shard(entries)[0])
    copy = tmp_path / "copy"
    async with offered(world, dag), world.node() as session:
        await session.get(what, sources=[A], output=str(copy))
        assert len(os.listdir(copy)) == 703
        assert all((copy / f"file {number}").read_bytes() == b"%d" % number for number in range(700))
        assert (copy / "run").stat().st_mode & stat.S_IXUSR
        assert (copy / "run").stat().st_mtime_ns == 1_700_000_000_000_000_005
        assert os.readlink(copy / "to") == "run"
        assert (copy / "inlined").read_bytes() == b"inlined"
        assert len(await all_of(session.ls(what))) == 703
        link = await session.stat(f"{what}/to")
        assert (link.kind, link.cid, link.target) == ("symlink", None, "run")
        with pytest.raises(UsageError, match="a symbolic link") as refused:
            await all_of(session.cat(f"{what}/to"))
        assert "it leads to 'run'" in refused.value.hint
        assert (await session.verify(what, str(copy))).ok
        (copy / "file 7").write_bytes(b"8")
        (copy / "run").write_bytes(b"??")
        (copy / "more").write_bytes(b"")
        (copy / "inlined").unlink()
        found = await session.verify(what, str(copy))
        assert {difference.path for difference in found.differences} == {"file 7", "run", "more", "inlined"}


@pytest.mark.parametrize(("version", "tree"), KINDS)
async def test_whether_a_file_is_executable_is_compared_only_where_that_is_said(world, tmp_path, version, tree):
    dag = Dag(version)
    said = dag.leaf(b"no", mode=0o644)
    what = str(dag.directory([("said", said), ("tree", tree(dag))])[0])
    copy = tmp_path / "copy"
    async with offered(world, dag), world.node() as session:
        await session.get(what, sources=[A], output=str(copy))
        for name in ("said", "tree/small", "tree/big", "tree/inner/middle"):
            (copy / name).chmod(0o755)
        found = await session.verify(what, str(copy))
        assert [(each.path, each.problem) for each in found.differences] == [("said", "should not be executable")]
        (copy / "said").chmod(0o644)
        again = await session.get(what, output=str(copy))  # is there already
    assert again.fetched_bytes == 0
    assert all((copy / name).stat().st_mode & 0o100 for name in ("tree/small", "tree/big", "tree/inner/middle"))


async def test_a_changed_file_of_the_old_form_is_said_without_asking_anybody(world, tmp_path):
    dag = Dag(0)
    what = str(old_tree(dag)[0])
    copy = tmp_path / "copy"
    async with offered(world, dag), world.node() as session:
        await session.get(what, sources=[A], output=str(copy))
    async with world.node() as session:
        with (copy / "big").open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"other")
        (copy / "small").write_bytes(b"SMALL")
        found = await session.verify(what, str(copy))
    assert {difference.path for difference in found.differences} == {"big", "small"}


async def test_repair_finds_the_leaves_again(world, tmp_path):
    for version, tree in KINDS:
        dag = Dag(version)
        what = str(tree(dag)[0])
        copy = tmp_path / f"copy{version}"
        async with offered(world, dag, f"memory://{version}"), world.node() as session:
            await session.get(what, sources=[f"memory://{version}"], output=str(copy))
        (world.base / "home-b" / "index.db").unlink()
        async with world.node() as session:
            assert not all(session._store.find(list(dag.blocks)))
        async with Session.open(home=world.base / "home-b", environ={}, verb="repair") as session:
            await session.repair()
            assert all(session._store.find(list(dag.blocks)))


async def test_wrong_hints_are_put_up_with(world, tmp_path):
    dag = Dag()
    small, other = dag.raw(b"12345"), dag.raw(b"678")
    odd = dag.file([dag.leaf(b"a" * 100), dag.file([dag.leaf(b"b" * 50), dag.leaf(b"c" * 50)]), dag.leaf(b"d" * 100)])
    link = dag.directory([("big", odd), ("less", (*small[:2], 3)), ("more", (*other[:2], 1000)), ("none", (*small[:2], None))])
    for address in (A, "memory://second"):
        async with offered(world, dag, address), world.node() as session:
            await session.get(str(link[0]), sources=[address], output=str(tmp_path / address[9:]))
        assert files_below(tmp_path / address[9:]) == {
            "big": b"a" * 100 + b"b" * 50 + b"c" * 50 + b"d" * 100, "less": b"12345", "more": b"678", "none": b"12345",
        }  # fmt: skip
    async with world.node() as session:
        assert (await session.verify(str(link[0]), str(tmp_path / "second"))).ok


async def test_nothing_is_written_outside_the_target(world, tmp_path):
    dag = Dag()
    for number, (name, child) in enumerate(
        [("../evil", dag.raw(b"x")), ("..", dag.raw(b"x")), ("a\0b", dag.raw(b"x")), ("up", dag.symlink("../../etc"))]
    ):
        what = str(dag.directory([("good", dag.raw(b"y")), (name, child)])[0])
        async with offered(world, dag, f"memory://{number}"), world.node() as session:
            with pytest.raises(UnsafeName):
                await session.get(what, sources=[f"memory://{number}"], output=str(tmp_path / "deep" / "copy"))
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "deep" / "evil").exists()
    assert not (tmp_path / "deep" / "copy").exists()


async def test_names_that_collide_are_refused_as_in_any_dataset(world, tmp_path):
    dag = Dag()
    what = str(dag.directory([("A", dag.raw(b"x")), ("a", dag.raw(b"y"))])[0])
    async with offered(world, dag), world.node() as session:
        with pytest.raises(UnsafeName):
            await session.get(what, sources=[A], output=str(tmp_path / "copy"))
        await session.get(what, sources=[A], output=str(tmp_path / "copy"), names="posix")
    assert files_below(tmp_path / "copy") == {"A": b"x", "a": b"y"}


async def test_bounds_hold_although_nothing_tells_the_size(world, tmp_path):
    dag = Dag()
    what = str(new_tree(dag)[0])
    async with offered(world, dag), world.node() as session:
        with pytest.raises(LimitExceeded, match="more than"):
            await session.get(what, sources=[A], output=str(tmp_path / "copy"), max_bytes=1 << 20)
        plan = await session.get(what, sources=[A], output=str(tmp_path / "copy"), dry_run=True)
        assert (plan.files, plan.bytes) == (3, sum(map(len, CONTENT.values())))


async def test_selections_and_what_is_there_already(world, tmp_path):
    dag = Dag(0)
    what = str(old_tree(dag)[0])
    async with offered(world, dag), world.node() as session:
        await session.get(what, sources=[A], output=str(tmp_path / "some"), include=["small", "middle"])
        assert set(files_below(tmp_path / "some")) == {"small", "inner/middle"}
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "x").write_bytes(b"mine")
        with pytest.raises(TargetExists):
            await session.get(what, sources=[A], output=str(tmp_path / "other"))
        got = await session.get(what, sources=[A], output=str(tmp_path / "whole"))
        assert got.fetched_bytes < len(BIG) + 64 * KIB  # what lies in "some" is not fetched again
        nowhere = await session.get(what, sources=[A], output="null:")
        assert nowhere.bytes == got.bytes
    assert (tmp_path / "other" / "x").read_bytes() == b"mine"


async def test_a_lying_dag_says_so_and_leaves_nothing(world, tmp_path):
    dag = Dag()
    leaf = dag.leaf(b"abc")
    what = str(dag.directory([("file", dag.file([(leaf[0], 4, 3)]))])[0])
    async with offered(world, dag), world.node() as session:
        with pytest.raises(IntegrityError, match="its parent says 4"):
            await session.get(what, sources=[A], output=str(tmp_path / "copy"))
        with pytest.raises(IntegrityError):
            await all_of(session.cat(f"{what}/file", sources=[A]))
    assert not (tmp_path / "copy").exists()


async def test_a_listing_stops_when_it_is_no_longer_wanted(world):
    dag = Dag()
    what = str(dag.shard([(f"file {number}", dag.raw(b"%d" % number)) for number in range(2000)])[0])
    async with offered(world, dag), world.node() as session:
        async with aclosing(session.ls(what, sources=[A])) as listed:
            first = await anext(listed)
        assert first.name.startswith("file")
        assert not any(task.get_name() == "walk" for task in asyncio.all_tasks())


async def test_a_cache_is_warmed_with_it(world, tmp_path):
    dag = Dag()
    what = str(new_tree(dag)[0])
    async with offered(world, dag), world.node() as session:
        assert (await session.cache_warm(what, sources=[A])).complete
    async with world.node() as session:
        await session.get(what, output=str(tmp_path / "copy"))
    assert (tmp_path / "copy").is_dir()


async def test_a_part_of_a_native_dataset_is_got_by_its_path_too(world, tree, tmp_path):
    folder = next(path for path in sorted(tree.rglob("*")) if path.is_dir() and any(path.iterdir()))
    file = next(path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink() and path.stat().st_size)
    async with world.shared(tree) as cid, world.node() as session:
        for part, name in ((folder, "folder"), (file, "file")):
            await session.get(f"{cid}/{part.relative_to(tree)}", sources=[A], output=str(tmp_path / name))
    assert list(compare(folder, tmp_path / "folder")) == []
    assert (tmp_path / "file").read_bytes() == file.read_bytes()


async def test_what_came_ahead_in_vain_is_not_kept(world, tmp_path, monkeypatch):
    monkeypatch.setattr(tree_module, "_UNSURE_BYTES_MAX", 100_000)
    dag = Dag(0)
    folders = []
    for number in range(6):
        leaves = [(f"{name}", dag.leaf(BIG[at : at + 50_000])) for name, at in ((name, name * 50_000) for name in range(10))]
        folders.append((f"folder {number}", dag.directory([*leaves, (f"own {number}", dag.leaf(b"%d" % number))])))
    what = str(dag.directory(folders)[0])
    async with offered(world, dag), world.node() as session:
        await session.get(what, sources=[A], output=str(tmp_path / "some"), include=["own *"])
    assert sorted(path.read_bytes() for path in (tmp_path / "some").rglob("own *")) == [b"%d" % number for number in range(6)]
