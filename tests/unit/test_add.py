"""`add`: the same tree gives the same CID, and what cannot be added is refused by name."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time

import pytest

from wherry.buffers import BufferPool
from wherry.chunking import FixedChunker
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.dag.walk import EnterDir, EnterFile, LinkStep, Walk, root_of
from wherry.errors import LimitExceeded, LocalError, NotFound, SourceChanged, UnsafeName, UsageError
from wherry.limits import META_BYTES_MAX, TREE_DEPTH_MAX
from wherry.store.store import Store
from wherry.transfer import hashing
from wherry.transfer.add import Add
from wherry.transfer.tree import local_steps
from wherry.units import MiB

ONE = FixedChunker(1 << 20)


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    opened = Store(folder, None)
    yield opened
    opened.close()


def added(store, path, *, meta=None, chunker=ONE, **options):
    run = Add(store, BufferPool(), chunker, **options)
    return run, run.run(str(path), meta or {})


def settle(*paths):
    """Waits until nothing there is young any more: a young file is read again by the next add, as it must be."""
    time.sleep(0.03)
    return paths


def fill(root, names, seed=1):
    rng = random.Random(seed)
    contents = {name: rng.randbytes(rng.randrange(3000)) for name in sorted(names)}
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(contents[name])


def listing(store, cid):
    """Every path of a tree that is here, with its attributes."""
    found = {}
    for step in local_steps(store, Walk(root_of(store.blocks([cid])[cid]).entry)):
        if isinstance(step, EnterDir | EnterFile | LinkStep):
            found[step.path] = step.entry
    return found


# What a CID stands for


def test_the_same_tree_gives_the_same_cid_in_whatever_order_it_was_made(store, tmp_path):
    names = [f"{number}/{name}" for number in range(5) for name in ("a", "b.x", "b", "ü", ".h")] + ["z", "0.txt"]
    cids = set()
    for number in range(3):
        random.Random(number).shuffle(names)
        root = tmp_path / f"tree-{number}"
        fill(root, names)
        cids.add(added(store, root)[1])
    assert len(cids) == 1


def test_a_cid_is_the_same_in_every_home(tree, tmp_path):
    cids = set()
    for number in range(2):
        folder = tmp_path / f"home-{number}"
        folder.mkdir()
        opened = Store(folder, None)
        cids.add(added(opened, tree)[1])
        opened.close()
    assert len(cids) == 1


def test_everything_is_in_the_tree(store, tree):
    found = listing(store, added(store, tree)[1])
    on_disk = {str(path.relative_to(tree)) for path in tree.rglob("*")}
    assert set(found) == on_disk | {""}
    assert {".hidden", ".config", ".config/settings.ini", "empty-dir/inside", "empty"} <= set(found)
    assert found["bin/run.sh"].attrs.executable
    assert not found["readme.txt"].attrs.executable
    assert found["latest"].target == "data/large.bin"
    assert all(entry.attrs.mtime is None for entry in found.values())
    assert found[""].size == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_file_has_the_cid_of_its_content(store, tmp_path):
    one, empty = tmp_path / "one", tmp_path / "empty"
    one.write_bytes(b"hello")
    empty.write_bytes(b"")
    assert added(store, one)[1] == CID.of(RAW, b"hello")
    assert added(store, empty)[1] == CID.of(RAW, b"")
    assert added(store, one, meta={"name": "x"})[1].codec == DAG_CBOR
    one.chmod(0o755)
    assert added(store, one)[1].codec == DAG_CBOR  # the bit is part of what was added


def test_what_makes_another_cid(store, tree):
    plain = added(store, tree)[1]
    others = {
        added(store, tree, mtime=True)[1],
        added(store, tree, chunker=FixedChunker(2 << 20))[1],
        added(store, tree, meta={"name": "x"})[1],
    }
    assert len(others | {plain}) == 4
    (tree / "bin/run.sh").chmod(0o644)
    assert added(store, tree)[1] != plain
    (tree / "bin/run.sh").chmod(0o777)
    assert added(store, tree)[1] == plain


def test_times_are_kept_when_asked_for(store, tree):
    os.utime(tree / "readme.txt", ns=(0, 1_600_000_000_123_456_789))
    found = listing(store, added(store, tree, mtime=True)[1])
    assert found["readme.txt"].attrs.mtime == (1_600_000_000, 123_456_789)
    again = listing(store, added(store, tree, mtime=True)[1])
    assert again == found


@pytest.mark.parametrize("form", ["{}", "{}/", "{}//", "{}/.", "{}/bin/..", "link", "./link/"])
def test_the_way_the_path_is_written_does_not_matter(store, tree, tmp_path, monkeypatch, form):
    (tmp_path / "link").symlink_to(tree)
    monkeypatch.chdir(tmp_path)
    plain = added(store, tree)[1]
    assert added(store, form.format(tree))[1] == plain
    assert [row.path for row in store.state.roots()] == [str(tree)]
    monkeypatch.chdir(tree / "bin")
    assert added(store, "..")[1] == plain
    monkeypatch.chdir(tree)
    assert added(store, ".")[1] == plain


def test_a_deep_tree_can_be_walked_and_a_deeper_one_is_refused(store, tmp_path):
    deepest = tmp_path / "t" / "/".join(["d"] * (TREE_DEPTH_MAX - 1))
    deepest.mkdir(parents=True)
    (deepest / "f").write_bytes(b"x")
    assert len(listing(store, added(store, tmp_path / "t")[1])) == TREE_DEPTH_MAX + 1
    (deepest / "d").mkdir()
    with pytest.raises(LimitExceeded):
        added(store, tmp_path / "t")


def test_links_that_lead_out_are_kept_and_told(store, tmp_path):
    root = tmp_path / "t"
    (root / "d").mkdir(parents=True)
    (root / "out").symlink_to("/etc/passwd")
    (root / "d/up").symlink_to("../..")
    (root / "d/in").symlink_to("../d")
    run, cid = added(store, root)
    found = listing(store, cid)
    assert found["out"].target == "/etc/passwd"
    assert found["d/up"].target == "../.."
    assert [text.split("'")[1] for text in run.tally.warnings] == [f"{root}/d/up", f"{root}/out"]


def test_special_files_are_left_out_and_told(store, tmp_path):
    root = tmp_path / "t"
    root.mkdir()
    os.mkfifo(root / "fifo")
    (root / "x").write_bytes(b"x")
    run, cid = added(store, root)
    assert set(listing(store, cid)) == {"", "x"}
    assert ["fifo" in text and "left out" in text for text in run.tally.warnings] == [True]


def test_warnings_are_bounded(store, tmp_path):
    root = tmp_path / "t"
    root.mkdir()
    for number in range(30):
        (root / f"what:{number}").write_bytes(b"")
    tally = added(store, root)[0].tally
    assert (len(tally.warnings), tally.more_warnings) == (20, 10)


def test_the_home_is_no_part_of_a_tree_around_it(store, tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "way-to-home").symlink_to(tmp_path)
    for spelling in ("home", "way-to-home/home"):
        run, cid = added(store, tmp_path, home=str(tmp_path / spelling))
        assert set(listing(store, cid)) == {"", "x", "way-to-home"}
        assert any("own home" in text for text in run.tally.warnings)
    with pytest.raises(UsageError, match="own home"):
        added(store, tmp_path / "home", home=str(tmp_path / "way-to-home/home"))


# What cannot be added


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(NotFound, match="nothing-here"):
        added(store, tmp_path / "nothing-here")


def test_a_name_that_is_not_utf_8(store, tmp_path):
    folder = os.fsencode(tmp_path / "t") + b"/bad-\xff"
    os.makedirs(folder)
    with pytest.raises(UnsafeName, match="bad-"):
        added(store, tmp_path / "t")
    with pytest.raises(UnsafeName, match="bad-"):
        added(store, os.fsdecode(folder))


def test_a_locale_that_reads_names_otherwise(store, tree, monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(UsageError, match="iso8859-1"):
        added(store, tree)


def test_words_that_do_not_fit_are_refused_before_anything_is_read(store, tree):
    run = Add(store, BufferPool(), ONE)
    with pytest.raises(LimitExceeded):
        run.run(str(tree), {"x": "x" * META_BYTES_MAX})
    assert run.tally.files == 0


@pytest.mark.parametrize("size", [10, 5 * MiB])
def test_a_file_that_cannot_be_read(store, tmp_path, monkeypatch, size):
    """Nothing is unreadable for root, so the kernel's answer is made here."""
    root = tmp_path / "t"
    root.mkdir()
    (root / "closed").write_bytes(bytes(size))
    real = os.open

    def refuse(path, *rest, **options):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LocalError, match=r"closed.*Permission denied") as caught:
        added(store, root)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize("how", ["append", "shorten", "overwrite", "touch"])
def test_a_large_file_that_changes_while_it_is_read(store, tmp_path, monkeypatch, how):
    path = tmp_path / "x"
    path.write_bytes(bytes(9 * MiB))
    settle(path)
    real = hashing.Opened.read

    def read(self, offset, length, view):
        if offset == 4 * MiB:
            if how == "append":
                with path.open("ab") as file:
                    file.write(b"more")
            elif how == "shorten":
                os.truncate(path, 6 * MiB)
            elif how == "overwrite":
                with path.open("r+b") as file:
                    file.write(b"x")
            else:
                os.utime(path)
        return real(self, offset, length, view)

    monkeypatch.setattr(hashing.Opened, "read", read)
    with pytest.raises(SourceChanged) as caught:
        added(store, path)
    assert caught.value.exit_code == 8
    assert store.state.roots() == []
    monkeypatch.undo()
    run, cid = added(store, path)  # the same command, when nothing writes any more
    assert run.tally.bytes == path.stat().st_size
    assert cid == added(store, shutil.copy(path, tmp_path / "copy"))[1]


def test_a_file_written_to_all_the_time(store, tmp_path):
    path, done = tmp_path / "x", threading.Event()
    path.write_bytes(bytes(30 * MiB))

    def write():
        with path.open("r+b") as file:
            while not done.wait(0.001):
                file.seek(0)
                file.write(os.urandom(8))
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(SourceChanged):
            added(store, path)
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("size", [10, 5 * MiB])
def test_a_file_that_vanishes_between_being_seen_and_read(store, tmp_path, monkeypatch, size):
    root = tmp_path / "t"
    root.mkdir()
    (root / "x").write_bytes(bytes(size))
    real = os.open

    def vanish(path, *rest, **options):
        if str(path).endswith("t/x"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", vanish)
    with pytest.raises(SourceChanged, match="vanished"):
        added(store, root)


@pytest.mark.parametrize("between", ["links", "folders", "known files"])
def test_few_files_to_be_read_among_much_that_is_not(store, tmp_path, between):
    """What needs no reading fills the window of what is under way, before there is a batch of files to read."""
    root = tmp_path / "t"
    root.mkdir()
    for number in range(1000):
        path = root / f"{number:04}"
        if between == "links":
            path.symlink_to("new")
        elif between == "folders":
            path.mkdir()
        else:
            path.write_bytes(b"%d" % number)
    settle(root)
    if between == "known files":
        added(store, root)
    for number in (0, 500, 999):
        (root / f"{number:04}-new").write_bytes(b"new %d" % number)
    found = listing(store, added(store, root)[1])
    assert set(found) - {""} == {path.name for path in root.iterdir()}
    assert [found[f"{number:04}-new"].cid for number in (0, 500, 999)] == [
        CID.of(RAW, b"new %d" % number) for number in (0, 500, 999)
    ]
