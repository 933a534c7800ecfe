"""What is written when, and in which order, so that a kill at any moment leaves nothing half known."""

from __future__ import annotations

import time

import pytest

from wherry.block import named
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.store import Store
from wherry.transfer import record as record_module
from wherry.transfer.record import Recorder

SIGNATURE = Signature(1, 2, 30, 4, 5)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path, None)
    yield opened
    opened.close()


@pytest.fixture
def now(monkeypatch):
    """The time, in a list of one, for tests to change."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def digest(number):
    return CID.of(RAW, b"%d" % number).digest


def node(number):
    return named(DAG_CBOR, b"%d" % number)


def test_nothing_is_written_before_a_flush_and_all_of_it_then(store):
    recorder = Recorder(store)
    recorder.node(node(1))
    recorder.file(
        FileRecord("/x", SIGNATURE, node(1).cid, "fixed:1MiB", [LeafRow(digest(1), 0, 10), LeafRow(digest(2), 10, 20)])
    )
    recorder.flush_if_due()
    assert store.index.usage() == (0, 0)
    recorder.flush()
    assert store.index.usage() == (1, 2)
    assert store.nodes.usage()[0] == 1
    assert (recorder.blocks, recorder.new_blocks) == (3, 3)


@pytest.mark.parametrize("by", ["rows", "nodes", "time"])
def test_it_is_due_by_size_and_by_time(store, monkeypatch, by):
    if by == "rows":
        monkeypatch.setattr(record_module, "_ROWS_MAX", 2)
    elif by == "nodes":
        monkeypatch.setattr(record_module, "_NODE_BYTES_MAX", 1)
    recorder = Recorder(store)
    if by == "time":
        real = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: real + 3)
    recorder.node(node(1))
    recorder.file(FileRecord("/x", SIGNATURE, None, "fixed:1MiB", [LeafRow(digest(1), 0, 30)]))
    recorder.flush_if_due()
    assert store.index.usage() == (1, 1)


def test_nodes_come_before_files_and_roots_come_last(store, monkeypatch):
    order = []
    for owner, name in ((store.nodes, "put_many"), (store.index, "record"), (store.state, "put_root")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, real=real, name=name: (order.append(name), real(*args))[1])
    recorder = Recorder(store)
    recorder.file(FileRecord("/x", SIGNATURE, node(1).cid, "fixed:1MiB", []))
    recorder.node(node(1))
    recorder.root(node(1).cid, "/x", "add", {})
    assert order == ["put_many", "record", "put_root"]


def test_a_large_file_goes_on_behind_what_was_saved(store):
    first = Recorder(store).large("/x", SIGNATURE, "fixed:1MiB")
    assert list(first.so_far()) == []
    first.add([LeafRow(digest(0), 0, 10), LeafRow(digest(1), 10, 10)])
    first.save()
    first.add([LeafRow(digest(2), 20, 10)])  # killed before it is saved
    again = Recorder(store).large("/x", SIGNATURE, "fixed:1MiB")
    assert [leaf.digest for leaf in again.so_far()] == [digest(0), digest(1)]
    again.add([LeafRow(digest(2), 20, 10)])
    again.finish(node(1).cid)
    assert list(store.index.progress(again._file)) == []
    assert store.index.files(["/x"])["/x"].cid == node(1).cid


def test_a_file_that_is_read_soon_is_recorded_with_others(store, monkeypatch):
    monkeypatch.setattr(store.index, "begin", None)
    recorder = Recorder(store)
    for path in ("/x", "/y"):
        record = recorder.large(path, SIGNATURE, "fixed:1MiB")
        record.add([LeafRow(digest(0), 0, 10), LeafRow(digest(1), 10, 20)])
        record.finish(node(1).cid)
    recorder.node(node(1))
    recorder.flush_if_due()
    assert store.index.usage() == (0, 0)
    recorder.flush()
    assert store.index.usage() == (2, 2)
    assert [(row.cid, row.leaves) for row in store.index.files(["/x", "/y"]).values()] == [(node(1).cid, 2)] * 2
    assert (recorder.blocks, recorder.new_blocks, recorder.new_bytes) == (5, 3, 30)


def test_a_file_does_not_wait_longer_for_having_been_read_for_long(store, now):
    recorder = Recorder(store)
    record = recorder.large("/x", SIGNATURE, "fixed:1MiB")
    now[0] += 1.5
    recorder.flush()
    record.add([LeafRow(digest(0), 0, 30)])
    record.finish(node(1).cid)
    now[0] += 0.4
    recorder.flush_if_due()
    assert store.index.usage() == (0, 0)
    now[0] += 0.2
    recorder.flush_if_due()
    assert store.index.usage() == (1, 1)


def test_a_file_that_takes_long_is_begun(store, now):
    recorder = Recorder(store)
    record = recorder.large("/x", SIGNATURE, "fixed:1MiB")
    now[0] += 2.1
    record.add([LeafRow(digest(0), 0, 30)])
    assert store.index.usage() == (1, 1)
    assert store.index.files(["/x"])["/x"].cid is None
    record.finish(node(1).cid)
    assert store.index.files(["/x"])["/x"].cid == node(1).cid
    assert recorder.blocks == 1


def test_the_twin_is_written_at_the_end_or_when_it_is_much(store, monkeypatch):
    recorder = Recorder(store)
    twins = [named(DAG_PB, b"%d" % number) for number in range(3)]
    recorder.node(node(1))
    recorder.twin(*twins[0])
    recorder.flush()
    assert store.nodes.sizes([node(1).cid, twins[0].cid]) == {node(1).cid: 1}
    monkeypatch.setattr(record_module, "_ROWS_MAX", 4)
    recorder.twin(*twins[1])
    recorder.flush()
    assert store.nodes.usage()[0] == 3
    recorder.twin(*twins[2])
    recorder.root(node(1).cid, "/x", "add", {})
    assert store.nodes.usage()[0] == 4
    assert recorder.new_blocks == 1


@pytest.mark.parametrize("change", ["signature", "chunker", "finished"])
def test_what_was_saved_of_another_file_is_not_taken(store, change):
    first = Recorder(store).large("/x", SIGNATURE, "fixed:1MiB")
    first.add([LeafRow(digest(0), 0, 10)])
    first.save()
    if change == "finished":
        first.finish(node(1).cid)
    signature = SIGNATURE._replace(mtime=9) if change == "signature" else SIGNATURE
    again = Recorder(store).large("/x", signature, "fixed:2MiB" if change == "chunker" else "fixed:1MiB")
    assert list(again.so_far()) == []


def test_a_gap_ends_what_is_known(store):
    first = Recorder(store).large("/x", SIGNATURE, "fixed:1MiB")
    first.add([LeafRow(digest(0), 0, 10)])
    first.save()
    first.add([LeafRow(digest(2), 20, 10)])
    first.save()
    again = Recorder(store).large("/x", SIGNATURE, "fixed:1MiB")
    assert [leaf.digest for leaf in again.so_far()] == [digest(0)]


def test_shards_that_come_all_at_once_do_not_gather(store, monkeypatch):
    monkeypatch.setattr(record_module, "_ROWS_MAX", 10)
    recorder = Recorder(store)
    for number in range(95):  # of one huge directory, while nobody looks whether it is due
        recorder.twin(CID.of(DAG_PB, b"%d" % number), b"%d" % number)
        assert len(recorder._twins) < 10
    assert store.nodes.usage()[0] == 90
    monkeypatch.setattr(record_module, "_NODE_BYTES_MAX", 100)
    recorder.twin(CID.of(DAG_PB, bytes(100)), bytes(100))
    assert store.nodes.usage()[0] == 96
