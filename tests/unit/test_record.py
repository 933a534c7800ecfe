"""What is written when, and in which order, so that a kill at any moment leaves nothing half known."""

from __future__ import annotations

import time

import pytest

from wherry.block import named
from wherry.cid import CID, DAG_CBOR, RAW
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
