"""The UnixFS twin that `add` gives: as other programs give it, from one read, kept with the manifest; or null and why."""

from __future__ import annotations

import os
import time

import pytest

from wherry.buffers import BufferPool
from wherry.chunking import FixedChunker
from wherry.cid import CID, RAW
from wherry.errors import StoreError
from wherry.publiccid import PublicCID
from wherry.session import Encryption, Session
from wherry.store.store import Store
from wherry.transfer.add import Add
from wherry.transfer.announce import roots_of
from wherry.units import MiB
from wherry.unixfs import build_dir
from wherry.unixfs.build import FileBuilder, link
from wherry.unixfs.build_dir import DirBuilder

# What ipfs-unixfs-importer 17.1.1 gives the tree of the fixture without its symbolic links, with the profile unixfs-v1-2025.
FOREIGN = "bafybeigwvyr7p3fzndqurvhfw5dah5nx26c42razamvhn7whsur6zqwfc4"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    opened = Store(folder, None)
    yield opened
    opened.close()


def added(store, path, *, leaf=MiB, meta=None, **options):
    run = Add(store, BufferPool(), FixedChunker(leaf), **options)
    return run, run.run(str(path), meta or {})


def built(path, emit, leaf=MiB):
    """The same tree by the builders alone, from the files themselves."""
    if path.is_symlink():
        return link(os.readlink(path).encode(), emit)
    if path.is_file():
        data = path.read_bytes()
        builder = FileBuilder(emit)
        cuts = range(0, max(len(data), 1), leaf)
        for at in cuts[:-1]:
            builder.chunk(data[at : at + leaf])
        return builder.finish(last=data[cuts[-1] :])
    builder = DirBuilder(emit)
    for child in path.iterdir():
        builder.add(child.name.encode(), built(child, emit, leaf))
    return builder.finish()


def test_other_implementations_give_the_same(store, tree):
    (tree / "latest").unlink()
    (tree / "deep/up").unlink()
    run, _ = added(store, tree)
    assert (str(run.unixfs), run.unixfs_reason) == (FOREIGN, "")


@pytest.mark.parametrize("leaf", [MiB, 2 * MiB])
def test_every_block_of_it_is_held_and_no_byte_is_read_twice(store, tree, leaf):
    run, cid = added(store, tree, leaf=leaf)
    blocks = []
    assert PublicCID(built(tree, blocks.append, leaf).cid) == run.unixfs != cid
    assert all(store.find([block.cid for block in blocks]))
    assert run.tally.read_bytes == run.tally.bytes


def test_counts_are_of_the_manifest_and_the_store_has_both(tmp_path, tree):
    counts = []
    for name, wanted in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        store = Store(tmp_path / name, None)
        run, cid = added(store, tree, unixfs=wanted)
        assert (run.unixfs is None) == (not wanted)
        counts.append((cid, run.new_blocks, run.reused_blocks, run.unique_bytes))
        assert run.stored_bytes >= store.nodes.usage()[1]  # nodes that are the same are stored once
        store.close()
    assert counts[0] == counts[1]


def test_what_is_known_is_not_read_and_its_twin_is_the_same(store, tree):
    time.sleep(0.03)  # young files are read again
    first, _ = added(store, tree)
    again, _ = added(store, tree)
    assert again.tally.read_bytes == 0
    assert again.unixfs == first.unixfs is not None


def test_what_an_add_without_a_twin_made_known_gets_one_later(store, tree):
    time.sleep(0.03)
    added(store, tree, unixfs=False)
    run, _ = added(store, tree)
    assert run.tally.read_bytes == 0
    blocks = []
    assert PublicCID(built(tree, blocks.append).cid) == run.unixfs
    assert all(store.find([block.cid for block in blocks]))


def test_an_interrupted_file_goes_on_with_its_twin(store, tmp_path, monkeypatch):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 * MiB + 1))
    run = Add(store, BufferPool(), FixedChunker(MiB))
    real = run._take
    taken = []

    def take(*what):
        taken.append(what)
        if len(taken) > 1:
            run.cancel()
        real(*what)

    monkeypatch.setattr(run, "_take", take)
    with pytest.raises(InterruptedError):
        run.run(str(path), {})
    again, _ = added(store, path)
    assert again.tally.read_bytes < again.tally.bytes
    assert PublicCID(built(path, lambda _: None).cid) == again.unixfs


@pytest.mark.parametrize("size", [0, 1, MiB])
def test_a_file_of_one_chunk_is_named_as_itself(store, tmp_path, size):
    path = tmp_path / "one"
    path.write_bytes(bytes(size))
    run, cid = added(store, path)
    assert run.unixfs == cid == CID.of(RAW, bytes(size))


def test_a_file_of_many_chunks_is_named_without_a_folder(store, tmp_path):
    path = tmp_path / "two"
    path.write_bytes(bytes(MiB) + b"x")
    run, cid = added(store, path, meta={"name": "of the manifest alone"})
    assert run.unixfs == PublicCID(built(path, lambda _: None).cid) != cid


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("size", [2 * MiB + 1, 4 * MiB + 5])
def test_chunks_of_more_than_two_mebibytes_have_no_twin(store, tmp_path, size, alone):
    root = tmp_path / "t"
    root.mkdir()
    for name in ("a", "b", "c"):
        (root / name).write_bytes(name.encode())
    (root / "b").write_bytes(bytes(size))
    for _ in range(2):  # also when it is known
        run, cid = added(store, root / "b" if alone else root, leaf=4 * MiB)
        assert run.unixfs is None
        assert "2 MiB" in run.unixfs_reason
        assert "unixfs" not in store.state.roots(cid)[0].options
        time.sleep(0.03)


def test_chunks_are_what_counts_not_how_large_they_may_be(store, tree):
    (tree / "data/large.bin").unlink()
    run, _ = added(store, tree, leaf=4 * MiB)
    assert run.unixfs is not None


def test_a_large_folder_is_split(store, tmp_path):
    root = tmp_path / "t"
    root.mkdir()
    for number in range(1500):
        (root / f"{number:04}-{'n' * 180}").touch()
    run, _ = added(store, root)
    blocks = []
    assert PublicCID(built(root, blocks.append).cid) == run.unixfs
    assert len(blocks) > 256


@pytest.mark.parametrize("what", ["collision", "no room"])
def test_what_cannot_be_built_is_said_and_the_manifest_is_there(store, tmp_path, monkeypatch, what):
    root = tmp_path / "t"
    (root / "inner").mkdir(parents=True)
    for name in ("a", "b", "inner/c", "inner/d", "z"):
        (root / name).write_bytes(b"x")
    monkeypatch.setattr(build_dir, "SPLIT_BYTES", 0)
    if what == "collision":
        monkeypatch.setattr(build_dir, "_hasher", lambda: lambda _name: b"equal to")
    else:
        monkeypatch.setattr(build_dir, "_LOOSE_MAX", 0)
        monkeypatch.setattr(build_dir, "_MEMORY_MAX", 0)
        monkeypatch.setattr(build_dir.tempfile, "tempdir", str(tmp_path / "absent"))
    run, cid = added(store, root)
    assert run.unixfs is None
    assert ("side by side" if what == "collision" else "does not fit") in run.unixfs_reason
    assert store.state.roots(cid)[0].path == str(root)


def test_a_damaged_manifest_of_a_known_file_leaves_no_twin(store, tmp_path, monkeypatch):
    path = tmp_path / "two"
    path.write_bytes(bytes(MiB) + b"x")
    time.sleep(0.03)
    added(store, path)

    def lost(_cids):
        raise StoreError("the disk gives nothing")

    monkeypatch.setattr(store.nodes, "get_many", lost)
    run, cid = added(store, path)
    assert run.unixfs is None
    assert run.unixfs_reason == "the disk gives nothing"
    assert store.state.roots(cid)


async def test_the_root_is_that_of_its_twin_and_is_told_of(store, tree):
    run, cid = added(store, tree)
    twin = run.unixfs.block()
    assert [row.cid for row in store.state.roots(twin)] == [cid]
    assert store.state.roots(CID.of(0x70, b"")) == []
    assert {holding.cid for holding in await roots_of(store.state)()} == {cid, twin}


async def test_a_session_tells_it_and_says_why_not(home, tree, tmp_path):
    async with Session.open(home=home, environ={}) as session:
        found = await session.add(str(tree))
        assert found.unixfs_cid == str(PublicCID(built(tree, lambda _: None).cid))
        assert found.unixfs_reason is None
        without = await session.add(str(tree), unixfs=False)
        assert (without.cid, without.unixfs_cid, without.unixfs_reason) == (found.cid, None, "it was not asked for")
        await session.new_key("team")
        sealed = await session.add(str(tree), encryption=Encryption("team"))
        assert (sealed.unixfs_cid, sealed.unixfs_reason) == (None, "the dataset is encrypted")


async def test_the_configuration_can_switch_it_off(home, tree, tmp_path):
    config = tmp_path / "wherry.toml"
    config.write_text("[add]\nunixfs = false\n")
    async with Session.open(home=home, config=config, environ={}) as session:
        assert (await session.add(str(tree))).unixfs_cid is None
        assert (await session.add(str(tree), unixfs=True)).unixfs_cid is not None


async def test_doctor_says_that_a_twin_is_lost(home, tree):
    async with Session.open(home=home, environ={}) as session:
        found = await session.add(str(tree))
        assert [check.status for check in await session.doctor() if check.name == "root"] == ["ok"]
        with session._store.nodes._db.writing() as run:
            run.execute("DELETE FROM nodes WHERE cid=?", (PublicCID.parse(found.unixfs_cid).block(),))
        warned = [check for check in await session.doctor() if check.name == "root"]
        assert [check.status for check in warned] == ["warn"]
        assert found.unixfs_cid in warned[0].detail
        await session.add(str(tree))
        assert [check.status for check in await session.doctor() if check.name == "root"] == ["ok"]


@pytest.mark.parametrize(("count", "letters"), [(1000, 240), (1300, 3)])
def test_a_directory_that_is_a_hamt_or_cut_in_the_manifest_links_to_the_twins_of_what_is_in_it(store, tmp_path, count, letters):
    """One node in the manifest and no block in UnixFS; cut in the manifest, and one block."""
    root = tmp_path / "large"
    root.mkdir()
    for number in range(count):
        path = root / f"{number:04d}{'n' * letters}"
        if number % 3 == 0:
            path.mkdir()
            (path / "é").write_bytes(b"inner")
        elif number % 50 == 1:
            path.symlink_to("target")
        else:
            path.write_bytes(b"%d" % number * (300 if number % 70 == 2 else 1))
    run, _ = added(store, root, leaf=256)
    blocks = []
    assert PublicCID(built(root, blocks.append, 256).cid) == run.unixfs
    assert all(store.find([block.cid for block in blocks]))
