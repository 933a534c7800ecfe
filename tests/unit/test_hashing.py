"""Large files, hashed a stretch at a time by several threads."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import closing

import pytest

from wherry.buffers import BufferPool
from wherry.chunking import FixedChunker
from wherry.errors import NotFound, PluginContractError, SourceChanged
from wherry.store.index import LeafRow
from wherry.synth import Synth
from wherry.transfer import hashing
from wherry.transfer.hashing import Naming, Opened
from wherry.transfer.reader import RACY_NS
from wherry.units import MiB

ONE = Naming(FixedChunker(MiB))


def leaves_of(data, offset, size):
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [LeafRow(hashlib.sha256(piece).digest(), offset + size * at, len(piece)) for at, piece in enumerate(pieces)]


def test_leaves_of_a_stretch():
    data = memoryview(os.urandom(25))
    naming = Naming(FixedChunker(10))
    assert naming.leaves(data, 1000, naming.cut(data, last=True), 2000, b"") == leaves_of(data, 1000, 10)


class Wrong(FixedChunker):
    """Says what `lengths` is, whatever it is given."""

    lengths = ()

    def cut(self, data, *, last):
        return list(self.lengths)


@pytest.mark.parametrize(
    ("lengths", "last"), [([5], True), ([11, 14], True), ([0, 25], True), ([10, 10, 10], True), ([], False)]
)
def test_a_chunker_that_cuts_wrong_is_blamed(lengths, last):
    chunker = Wrong(10)
    chunker.__class__.lengths = lengths
    with pytest.raises(PluginContractError, match="fixed:10"):
        Naming(chunker).cut(memoryview(bytes(25)), last=last)


def test_a_file_and_its_stretches(tmp_path):
    path, pool = tmp_path / "x", BufferPool()
    data = os.urandom(3 * MiB + 5)
    path.write_bytes(data)
    path.chmod(0o755)
    with closing(Opened(str(path))) as opened:
        assert opened.executable
        assert opened.signature.size == len(data)
        found = opened.name_stretch(MiB, 2 * MiB + 5, ONE, b"", pool)
        assert found == leaves_of(memoryview(data)[MiB:], MiB, MiB)
        opened.check_same()
        with path.open("ab") as file:
            file.write(b"x")
        with pytest.raises(SourceChanged):
            opened.check_same()
    assert len(pool._free) == pool._made


@pytest.mark.parametrize("length", [5, 6])
def test_a_file_whose_time_was_set_back_has_changed(tmp_path, length):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    with closing(Opened(str(path))) as opened:
        opened.check_same()
        before = path.stat()
        time.sleep(0.02)  # so that the clock of file times has ticked
        path.write_bytes(b"x" * length)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        with pytest.raises(SourceChanged):
            opened.check_same()


def test_a_buffer_comes_back_when_reading_fails(tmp_path):
    path, pool = tmp_path / "x", BufferPool()
    path.write_bytes(b"short")
    with closing(Opened(str(path))) as opened, pytest.raises(SourceChanged, match="shorter"):
        opened.name_stretch(0, MiB, ONE, b"", pool)
    assert len(pool._free) == pool._made == 1


def test_a_young_file_is_waited_for_and_taken_as_it_is_then(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        path.write_bytes(b"other")

    monkeypatch.setattr(hashing.time, "sleep", sleep)
    monkeypatch.setattr(hashing.time, "time_ns", lambda: path.stat().st_ctime_ns + 1_000_000)
    with closing(Opened(str(path))) as opened:
        assert opened.racy  # written to all the time
        assert opened.signature.size == 5
    assert waited == [pytest.approx((RACY_NS - 1_000_000) / 1e9 + 0.001)]


def test_an_old_file_and_one_from_the_future_are_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    changed = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    for age, racy in ((RACY_NS + 1, False), (-(10**12), True)):  # a clock that was set back says nothing about a file
        monkeypatch.setattr(time, "time_ns", lambda age=age: changed + age)
        with closing(Opened(str(path))) as opened:
            assert opened.racy is racy


def test_what_is_no_regular_file(tmp_path):
    with pytest.raises(NotFound):
        Opened(str(tmp_path / "absent"))
    with pytest.raises(SourceChanged, match="regular"):
        Opened(str(tmp_path))


def test_a_generated_file():
    pool = BufferPool()
    synth = Synth("synth://3MiB?seed=9")
    with closing(Opened(synth.address, synth)) as opened:
        expected = bytearray(MiB)
        synth.read_into(memoryview(expected), MiB)
        assert opened.name_stretch(MiB, MiB, ONE, b"", pool) == [LeafRow(hashlib.sha256(expected).digest(), MiB, MiB)]
        assert not opened.racy
        opened.check_same()
