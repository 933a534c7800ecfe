"""`add` as processes: killed, interrupted, beside a server; and what of the home is whole afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from wherry.cid import CID, RAW
from wherry.dag.build import FileBuilder
from wherry.units import MiB

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def progress(process):
    """The next event of ``--progress json``; None at the end."""
    while line := process.stderr.readline():
        event = json.loads(line)
        if event.get("event") == "progress":
            return event
    return None


def children_of(process):
    """The ids of the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


@pytest.fixture
def large(tmp_path):
    """A file of 256 MiB that is quick to make: each MiB is the same but for its first bytes."""
    path = tmp_path / "large"
    pattern = random.Random(1).randbytes(MiB)
    expected = FileBuilder(lambda block: None)
    with path.open("wb") as file:
        for number in range(256):
            leaf = number.to_bytes(8, "big") + pattern[8:]
            file.write(leaf)
            expected.add(CID.of(RAW, leaf), MiB)
    time.sleep(0.03)
    return path, str(expected.finish())


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_add_that_is_stopped_goes_on(start, wherry, environ, large, signum):
    """Read slowly, so that it is stopped in the middle for certain: the progress says when."""
    path, cid = large
    environ["PYTHONPATH"] = f"{slow(path.parent)}:{environ['PYTHONPATH']}"
    process = start("add", path, "--progress", "json")
    while (event := progress(process)) is not None and event["bytes_done"] < 64 * MiB:
        continue
    assert event is not None, "it ended before it could be stopped"
    time.sleep(2.3)  # what a kill may cost is two seconds of reading
    stopped, _ = process.stop(signum)
    assert stopped == (-signum if signum == signal.SIGKILL else 128 + signum)
    environ["PYTHONPATH"] = environ["PYTHONPATH"].partition(":")[2]
    again = json.loads(wherry("add", path, "--json").stdout)
    assert again["cid"] == cid
    assert again["reused_blocks"] >= 64
    assert again["new_blocks"] + again["reused_blocks"] == 257
    once_more = json.loads(wherry("add", path, "--json").stdout)
    assert (once_more["cid"], once_more["new_blocks"], once_more["reused_blocks"]) == (cid, 0, 257)


def slow(folder):
    """A folder whose ``sitecustomize`` makes hashing a stretch take 200 ms more, so 256 MiB several seconds."""
    where = folder / "slow"
    where.mkdir()
    (where / "sitecustomize.py").write_text(
        "import time\n"
        "from wherry.transfer import hashing\n"
        "plain = hashing.Opened.name_stretch\n"
        "def name_stretch(*args):\n"
        "    time.sleep(0.2)\n"
        "    return plain(*args)\n"
        "hashing.Opened.name_stretch = name_stretch\n"
    )
    return where


@pytest.fixture
def many(tmp_path):
    root = tmp_path / "many"
    for folder in range(20):
        (root / f"{folder}").mkdir(parents=True)
        for number in range(250):
            (root / f"{folder}/{number}").write_bytes(b"%d/%d" % (folder, number))
    time.sleep(0.03)
    return root


def test_children_that_are_killed_from_outside_change_nothing(start, wherry, environ, many, tmp_path):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core: nothing reads along")
    expected = wherry("add", "-q", many, "--home", tmp_path / "other").stdout
    process = start("add", "-q", many)
    killed = 0
    while process.poll() is None and not killed:
        for pid in children_of(process):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert process.wait(timeout=60) == 0
    assert process.stdout.read() == expected
    assert process.stderr.read() == b""
    assert killed, "it was quicker than the test"


def test_a_killed_add_of_many_files_leaves_no_child(start, wherry, many):
    process = start("add", many, "--progress", "json")
    children = []
    while process.poll() is None and not children:
        children = children_of(process)
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < end, "a child outlives its parent"
        time.sleep(0.01)
    first = json.loads(wherry("add", many, "--json").stdout)
    assert first["files"] == 5000
    again = json.loads(wherry("add", many, "--json").stdout)
    assert (again["cid"], again["new_blocks"]) == (first["cid"], 0)


def test_quiet_prints_the_cid_alone(wherry, tree):
    done = wherry("add", "-q", tree)
    assert done.stdout == wherry("add", tree, "-q").stdout
    assert CID.parse(done.stdout.decode().strip())
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_json_has_exactly_its_keys(wherry, tree):
    found = json.loads(wherry("add", tree, "--json").stdout)
    sizes = ["files", "bytes", "new_blocks", "reused_blocks", "unique_bytes", "stored_bytes"]
    assert list(found) == ["schema", "cid", *sizes, "seconds", "unixfs_cid", "unixfs_reason", "warnings"]
    assert found["schema"] == "wherry/add/1"


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda root: os.mkdir(os.fsencode(root) + b"/\xff"), 5, "UTF-8"),
        (lambda root: root.chmod(0o755) or os.mkfifo(root / "f"), 0, "left out"),
        (lambda root: (root / "l").symlink_to("/etc"), 0, "points out"),
        (lambda root: (root / "a:b").write_bytes(b""), 0, "Windows"),
    ],
)
def test_what_cannot_travel_is_told(wherry, tree, make, code, said):
    make(tree)
    done = wherry("add", tree, code=code)
    assert said in done.stderr.decode()


def test_a_file_that_changes_ends_with_8(start, environ, large):
    path, _ = large
    environ["PYTHONPATH"] = f"{slow(path.parent)}:{environ['PYTHONPATH']}"
    process = start("add", path, "--progress", "json")
    assert progress(process) is not None
    with path.open("ab") as file:
        file.write(b"more")
    assert process.wait(timeout=60) == 8
    assert "changed while it was read" in process.stderr.read().decode()


def test_two_adds_on_a_new_home_at_once(start, tree, wherry):
    for number in range(3):
        started = [start("add", "-q", tree, "--home", tree.parent / f"home-{number}") for _ in range(3)]
        assert [process.wait(timeout=60) for process in started] == [0, 0, 0], [p.stderr.read() for p in started]
        assert len({process.stdout.read() for process in started}) == 1


def test_add_get_and_ls_work_while_the_home_serves_and_repair_does_not(start, wherry, tree, tmp_path):
    server = start("serve", "--listen", "http://127.0.0.1:0", "--json")
    source = server.said()["listen"][0]
    cid = wherry("add", "-q", tree).stdout.decode().strip()
    assert b"readme.txt" in wherry("ls", cid).stdout
    other = ("--home", tmp_path / "other")
    wherry("get", cid, "--from", source, "-o", tmp_path / "copy", *other)
    theirs = start("share", tree / "data", "--listen", "http://127.0.0.1:0", "--json", *other).said()
    wherry("get", theirs["cid"], "--from", theirs["listen"][0], "-o", tmp_path / "data")
    refused = wherry("repair", code=10).stderr.decode()
    assert f"`wherry serve` (pid {server.pid}" in refused
    assert server.stop(signal.SIGTERM)[0] == 0
    assert json.loads(wherry("repair", "--json").stdout)["kept"] == 2


def test_repair_brings_a_deleted_index_back_and_the_home_serves_again(start, wherry, home, tree, tmp_path):
    cid = wherry("add", "-q", tree).stdout.decode().strip()
    (home / "index.db").unlink()
    assert json.loads(wherry("repair", "--json").stdout)["kept"] == 1
    source = start("serve", "--listen", "http://127.0.0.1:0", "--json").said()["listen"][0]
    other = ("--home", tmp_path / "other")
    wherry("get", cid, "--from", source, "-o", tmp_path / "copy", *other)
    wherry("verify", cid, tmp_path / "copy", *other)


def test_repair_drops_what_changed(wherry, tree):
    cid = wherry("add", "-q", tree).stdout.decode().strip()
    (tree / "readme.txt").write_bytes(b"HELLO\n")
    found = json.loads(wherry("repair", "--json", code=11).stdout)
    assert found["dropped"] == [f"{cid} at {tree}"]
    assert json.loads(wherry("stat", cid, "--json").stdout)["held"] is False
