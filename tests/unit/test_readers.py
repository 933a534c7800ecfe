"""Reading small files: alone, in children, and when children are killed or cannot be had."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
from contextlib import closing

import pytest

from wherry.buffers import BufferPool
from wherry.errors import LocalError, SourceChanged
from wherry.limits import BUFFER_BYTES
from wherry.transfer import reader, readers
from wherry.transfer.reader import read_small
from wherry.transfer.readers import Batch, Readers
from wherry.units import MiB


@pytest.fixture
def view():
    return memoryview(bytearray(BUFFER_BYTES))


def sha256(data):
    return hashlib.sha256(data).digest()


# reader


def test_rows_say_what_a_file_is_and_holds(tmp_path, view):
    sizes = {"empty": 0, "one": 1, "leaf": MiB, "two": MiB + 1, "long": BUFFER_BYTES + 1}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(os.urandom(size))
        os.utime(tmp_path / name, ns=(1, 2))
    rows = dict(zip(sizes, read_small([str(tmp_path / name) for name in sizes], MiB, view), strict=True))
    for name, row in rows.items():
        stat = (tmp_path / name).stat()
        assert row[:6] == (stat.st_dev, stat.st_ino, stat.st_size, 2, stat.st_ctime_ns, stat.st_mode)
        data = (tmp_path / name).read_bytes()
        expected = b"".join(sha256(data[at : at + MiB]) for at in range(0, len(data), MiB))
        assert row[7] == (None if name == "long" else expected)


def test_a_file_is_racy_while_its_time_of_change_is_young(tmp_path, view, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    changed = path.stat().st_ctime_ns
    for age, racy in ((0, True), (reader.RACY_NS - 1, True), (reader.RACY_NS, False), (-1, True)):
        monkeypatch.setattr(time, "time_ns", lambda age=age: changed + age)
        assert read_small([str(path)], MiB, view)[0][6] is racy, age


def test_a_time_of_modification_ahead_of_us_makes_no_file_racy(tmp_path, view, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    os.utime(path, (time.time() + 10**6,) * 2)
    monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + 10**9)
    assert read_small([str(path)], MiB, view)[0][6] is False


def test_a_file_that_is_written_to_while_it_is_read(tmp_path, view, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    real = os.readv

    def readv(fd, views):
        got = real(fd, views)
        with path.open("ab") as file:
            file.write(b"6")
        return got

    monkeypatch.setattr(os, "readv", readv)
    assert read_small([str(path)], MiB, view) == (0, "changed while it was read", str(path))


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path, view, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: (real(fd), os.truncate(path, 3))[0])
    assert read_small([str(path)], MiB, view) == (0, "became shorter while it was read", str(path))


def test_a_read_that_is_cut_goes_on(tmp_path, view, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"0123456789" * 100)
    real = os.preadv
    monkeypatch.setattr(os, "readv", lambda fd, views: os.read(fd, 5) and 5)
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: real(fd, [views[0][:7]], at))
    assert read_small([str(path)], MiB, view)[0][7] == sha256(path.read_bytes())


@pytest.mark.parametrize("kind", ["absent", "fifo", "link", "directory"])
def test_what_is_no_regular_file_any_more(tmp_path, view, kind):
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "directory":
        path.mkdir()
    answer = read_small([str(path)], MiB, view)
    assert isinstance(answer, tuple)
    assert answer[2] == str(path)


def test_the_child_imports_little_and_ends_with_its_input():
    code = f"import sys; before = set(sys.modules); exec(open({reader.__file__!r}).read()); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code, "1", "2"], input=b"", capture_output=True, check=False)
    assert not {"asyncio", "wherry", "socket", "subprocess", "logging"} & set(loaded.stdout.decode().split())


# readers


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
