"""Reading small files in one call: what a row says, and what a file that changes gives."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

import pytest

from wherry.limits import BUFFER_BYTES
from wherry.transfer import reader
from wherry.transfer.reader import read_small
from wherry.units import MiB


@pytest.fixture
def view():
    return memoryview(bytearray(BUFFER_BYTES))


def sha256(data):
    return hashlib.sha256(data).digest()


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
    code = f"import sys; exec(open({reader.__file__!r}).read()); print(*sys.modules, file=sys.stderr)"  # it closes its output
    command = [sys.executable, "-I", "-S", "-c", code, "1", "2"]
    loaded = set(subprocess.run(command, input=b"", capture_output=True, check=True).stderr.decode().split())
    assert "hashlib" in loaded
    assert not {"asyncio", "wherry", "socket", "subprocess", "logging", "typing"} & loaded
