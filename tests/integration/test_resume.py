"""Going on in another process: after a kill, a reboot, a damaged journal, an edited part; and two processes at one target."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from wherry.sync import Session
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.loop import running
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 1 << 20
LARGE = 48 * MIB
SLACK = 200_000  # nodes and protocol


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    rng = random.Random(6)
    (root / "large.bin").write_bytes(rng.randbytes(LARGE))
    for number in range(100):
        (root / f"{number:03}").write_bytes(rng.randbytes(2000))
    return root


@pytest.fixture
def served(data, tmp_path):
    """The CID, and a slow and counted way to it."""

    @contextmanager
    def serving():
        with Session.open(home=tmp_path / "home-a", environ={}) as session:
            cid = session.add(str(data)).cid
            with (
                session.serve(listen=["http://127.0.0.1:0"]) as listening,
                running(ChaosProxy(("127.0.0.1", int(listening[0].rpartition(":")[2])), down=Chaos(rate=8 * MIB))) as proxy,
            ):
                yield cid, f"http://127.0.0.1:{proxy.port}", proxy

    with serving() as made:
        yield made


@pytest.fixture
def get(home, served, tmp_path):
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    started = []
    target = tmp_path / "out/copy"
    target.parent.mkdir()

    def start(*more, home=home):
        line = [sys.executable, "-m", "wherry_cli", "get", served[0], "--from", served[1], "-o", str(target), "--json"]
        started.append(
            subprocess.Popen(
                [*line, "--home", str(home), *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
            )
        )
        return started[-1]

    yield start, target
    for process in started:
        process.kill()
        process.communicate()


def ended(process, code=0):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err.decode()
    return json.loads(out if code == 0 else err.splitlines()[-1])


def on_record(journal):
    """The bytes that a journal says are done, read while somebody writes it."""
    if not journal.exists():
        return 0
    _, _, rest = journal.read_bytes().partition(b"\n")
    whole = len(rest) - len(rest) % 20
    return sum(length for _, length, _ in struct.iter_unpack(">QQI", rest[:whole]))


def killed_midway(start, target):
    """Kills a run when a good part of the large file is on record; gives the paths of part and journal."""
    part, journal = map(Path, hidden_names(str(target)))
    process = start()
    end = time.monotonic() + 30
    while on_record(journal) < 16 * MIB:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return part, journal


def fetched_anew(start, target, served, data):
    """Runs the same command to its end; gives what passed over the wire."""
    before = served[2].passed["down"]
    said = ended(start())
    assert list(compare(data, target)) == []
    assert os.listdir(target.parent) == ["copy"]
    passed = served[2].passed["down"] - before
    assert said["fetched_bytes"] <= passed <= said["fetched_bytes"] + SLACK
    return passed


TOTAL = LARGE + 100 * 2000


def test_after_a_kill(get, served, data):
    start, target = get
    killed_midway(start, target)
    assert fetched_anew(start, target, served, data) <= TOTAL - 16 * MIB + SLACK


@pytest.mark.parametrize("damage", ["cut", "garbage", "of another transfer", "empty", "gone"])
def test_with_a_journal_that_is_damaged_what_lies_there_is_hashed(get, served, data, damage):
    start, target = get
    _, journal = killed_midway(start, target)
    bytes_before = journal.read_bytes()
    if damage == "gone":
        journal.unlink()
    else:
        journal.write_bytes(
            {
                "cut": bytes_before[:-5],
                "garbage": os.urandom(len(bytes_before)),
                "of another transfer": bytes_before.replace(served[0].encode(), b"bafkreigh" * 7),
                "empty": b"",
            }[damage]
        )
    assert fetched_anew(start, target, served, data) <= TOTAL - 16 * MIB + SLACK


def test_after_a_reboot_nothing_is_lost_that_is_there(get, served, data):
    """No sync was recorded, so nothing is trusted; but the bytes are there, and hashing finds them."""
    start, target = get
    _, journal = killed_midway(start, target)
    line, rest = journal.read_bytes().split(b"\n", 1)
    header = json.loads(line)
    journal.write_bytes(json.dumps({**header, "boot": "0" * len(header["boot"])}).encode() + b"\n" + rest)
    assert fetched_anew(start, target, served, data) <= TOTAL - 16 * MIB + SLACK


def test_after_a_power_cut_that_lost_bytes_on_record(get, served, data):
    """The journal says done, the disk has zeros: of another boot, and without a sync, that is seen."""
    start, target = get
    part, journal = killed_midway(start, target)
    line, rest = journal.read_bytes().split(b"\n", 1)
    header = json.loads(line)
    before = journal.stat()
    with (part / "large.bin").open("r+b") as file:
        file.write(bytes(8 * MIB))
    journal.write_bytes(json.dumps({**header, "boot": "0" * len(header["boot"])}).encode() + b"\n" + rest)
    for path in (journal, part / "large.bin"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetched_anew(start, target, served, data) > 8 * MIB


def test_a_part_that_was_edited(get, served, data):
    start, target = get
    part, journal = killed_midway(start, target)
    with (part / "large.bin").open("r+b") as file:
        file.seek(2 * MIB + 17)
        file.write(b"edited by somebody")
    later = journal.stat().st_mtime_ns + 60 * 10**9
    os.utime(part / "large.bin", ns=(later, later))
    assert fetched_anew(start, target, served, data) <= TOTAL - 15 * MIB + SLACK


def test_two_processes_at_one_target(get, served, data, tmp_path):
    start, target = get
    one, two = start(), start(home=tmp_path / "home-c")
    codes = []
    for process in (one, two):
        _, err = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert process.returncode in (0, 9), err.decode()
        if process.returncode == 9:
            assert json.loads(err.splitlines()[-1])["error"] in ("TargetBusy", "TargetExists")
    assert 0 in codes
    assert list(compare(data, target)) == []
    assert os.listdir(target.parent) == ["copy"]


def test_a_target_that_is_complete_is_left_as_it_is(get, served, data, tmp_path):
    start, target = get
    served[2].down = Chaos()
    ended(start())
    before = target.stat().st_ino
    assert ended(start())["fetched_bytes"] == 0
    assert ended(start(home=tmp_path / "home-c"))["fetched_bytes"] < SLACK  # a home that never saw it needs the nodes
    (target / "007").write_bytes(b"edited")
    assert ended(start(), 9)["error"] == "TargetChanged"
    assert ended(start(home=tmp_path / "home-c"), 9)["error"] == "TargetExists"
    assert (target / "007").read_bytes() == b"edited"
    assert target.stat().st_ino == before
    assert ended(start("--force"))["fetched_bytes"] <= 3000
    assert list(compare(data, target)) == []
    assert os.listdir(target.parent) == ["copy"]
