"""Reading small files: alone, in children, and when children are killed or cannot be had."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from contextlib import closing

import pytest

from wherry.buffers import BufferPool
from wherry.errors import LocalError, SourceChanged
from wherry.transfer import reader, readers
from wherry.transfer.readers import Batch, Readers
from wherry.units import MiB


def sha256(data):
    return hashlib.sha256(data).digest()


@pytest.fixture
def files(tmp_path):
    made = []
    for number in range(1000):
        path = tmp_path / f"{number}-ü"
        path.write_bytes(b"%d" % number)
        made.append(str(path))
    return made


def batches(files, size=50):
    made = []
    for at in range(0, len(files), size):
        batch = Batch()
        batch.paths += files[at : at + size]
        made.append(batch)
    return made


def digests(group, files, disturb=lambda group, number: None):
    found = []
    todo = batches(files)
    for batch in todo:
        group.submit(batch)
    for number, batch in enumerate(todo):
        disturb(group, number)
        found += [row[7] for row in group.result(batch)]
    return found


@pytest.fixture
def expected(files):
    return [sha256(b"%d" % number) for number in range(len(files))]


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with closing(Readers(MiB, BufferPool())) as made:
        yield made


def test_alone(group, files, expected):
    assert digests(group, files) == expected


def test_with_children(group, files, expected):
    group.start()
    assert len(group._children) == 2
    assert digests(group, files) == expected
    assert len(group._children) == 2
    children = [child._process for child in group._children]
    group.close()
    assert all(child.returncode is not None for child in children)


@pytest.mark.parametrize("when", [0, 3, 19])
def test_children_that_are_killed_cost_nothing_but_time(group, files, expected, when):
    def kill(group, number):
        if number == when:
            for child in group._children:
                child._process.kill()

    group.start()
    assert digests(group, files, kill) == expected
    group.close()


def test_children_that_answer_nonsense_are_buried(group, files, expected, monkeypatch, tmp_path):
    nonsense = tmp_path / "nonsense.py"
    nonsense.write_text("import os\nos.write(1, b'nonsense' * 100)\n")
    monkeypatch.setattr(reader, "__file__", str(nonsense))
    group.start()
    assert digests(group, files) == expected
    assert group._children == []


@pytest.mark.parametrize("executable", ["", "/nonexistent/python"])
def test_no_way_to_start_a_child(group, files, expected, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    group.start()
    assert group._children == []
    assert digests(group, files) == expected


def test_a_child_whose_pipe_is_too_small_is_not_used(group, monkeypatch):
    monkeypatch.setattr(readers, "_PIPE_BYTES", 1 << 30)
    group.start()
    assert group._children == []


def test_a_process_with_many_descriptors_has_children_too(group, files, expected):
    """``select`` knows descriptors up to 1,023 only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip(f"this machine allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1030)]
    try:
        group.start()
        assert group._children[0]._answers.fileno() > 1023
        assert digests(group, files) == expected
        group.close()
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_errors_are_typed_and_name_the_file(group, tmp_path):
    missing, closed = Batch(), Batch()
    missing.paths.append(str(tmp_path / "gone"))
    closed.paths.append(str(tmp_path))
    for batch in (missing, closed):
        group.submit(batch)
    with pytest.raises(SourceChanged, match="gone"):
        group.result(missing)
    with pytest.raises(LocalError, match=tmp_path.name):
        group.result(closed)
