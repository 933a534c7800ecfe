"""The daemon as real processes: up, transfers, a kill in the middle, down."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
MIB = 1 << 20
PATIENCE_S = 60


@pytest.fixture
def daemon(wherry, home):
    """Starts daemons of the default home, and gives how; whatever runs at the end is killed."""
    pids = []

    def up(*words):
        found = json.loads(wherry("up", "--listen", "http://127.0.0.1:0", "--json", *words).stdout)
        pids.append(found["pid"])
        return found

    yield up
    for pid in pids:
        killed(pid)


def killed(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    gone(pid)


def alive(pid):
    """Whether the process lives; a zombie, whom nobody waits for in a container, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid):
    until(lambda: not alive(pid))


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.fixture
def source(tmp_path, wherry, start):
    """A dataset that another home serves: its CID, its address, and where its files are."""
    root = tmp_path / "source"
    root.mkdir()
    rng = random.Random(5)
    for name in ("a", "b"):
        (root / name).write_bytes(rng.randbytes(48 * MIB))
    process = start("--home", tmp_path / "other", "serve", "--json", "--listen", "http://127.0.0.1:0", root)
    said = process.said()
    return said["added"][0]["cid"], said["listen"][0], root, process


def same(one, other):
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("a", "b"))


def show(wherry, name="t1"):
    found = json.loads(wherry("transfers", "show", "--json", name).stdout)
    assert found["schema"] == "wherry/transfer/1"
    return found


def test_a_transfer_outlives_a_kill_of_the_daemon(wherry, daemon, source, tmp_path, home):
    cid, address, root, server = source
    said = daemon()
    assert (said["schema"], said["home"]) == ("wherry/up/1", str(home))
    assert said["listen"][0].startswith("http://127.0.0.1:")
    again = wherry("up", "--json", code=10)
    assert json.loads(again.stderr)["error"] == "HomeBusy"
    assert str(said["pid"]) in again.stderr.decode()
    wherry("up", "--foreground", code=10)

    server.send_signal(signal.SIGSTOP)  # so that the transfer is under way for as long as this test wants
    added = json.loads(wherry("transfers", "add", cid, "--from", address, "-o", tmp_path / "out", "--json").stdout)
    assert (added["id"], added["output"]) == ("t1", str(tmp_path / "out"))
    assert json.loads(wherry("transfers", "pause", "t1", "--json").stdout)["state"] == "paused"
    assert json.loads(wherry("why", "t1", "--json").stdout)["why"]["current"] == "paused"
    busy = wherry("transfers", "add", cid, "-o", tmp_path / "out", code=9)
    assert b"t1" in busy.stderr
    wherry("transfers", "resume", "t1")
    server.send_signal(signal.SIGCONT)
    until(lambda: show(wherry)["bytes_done"] > 0)
    os.kill(said["pid"], signal.SIGKILL)
    gone(said["pid"])
    assert (home / "daemon/control.sock").exists()
    wherry("status", code=6)

    said = daemon()  # the socket that the dead one left is no hindrance
    wherry("transfers", "show", "t1", "--watch", "--json")
    assert show(wherry)["state"] == "seeding"
    assert same(tmp_path / "out", root)
    status = json.loads(wherry("status", "--json").stdout)
    assert (status["schema"], status["pid"], status["transfers"]) == ("wherry/status/1", said["pid"], {"seeding": 1})

    # What it fetched it serves, as `wherry serve` does.
    wherry("--home", tmp_path / "third", "get", cid, "--from", said["listen"][0], "-o", tmp_path / "third-out")
    assert same(tmp_path / "third-out", root)

    down = json.loads(wherry("down", "--json").stdout)
    assert (down["schema"], down["pid"]) == ("wherry/down/1", said["pid"])
    gone(said["pid"])
    assert not (home / "daemon/control.sock").exists()
    assert "ready" in (home / "logs/daemon.log").read_text()


def test_pause_resume_cancel_and_what_a_failed_transfer_says(wherry, daemon, source, tmp_path):
    cid, address, root, _ = source
    daemon()
    wherry("transfers", "add", cid, "--from", address, "-o", tmp_path / "out", "--no-seed", "--watch")
    assert show(wherry)["state"] == "complete"
    assert same(tmp_path / "out", root)
    wherry("transfers", "set", "t1", "--seed")
    assert wherry("transfers", "-q").stdout == b"t1\n"
    wherry("transfers", "pause", "t1", code=2)
    # A target that is somebody else's is no reason to try again: the code is that of `get`.
    (tmp_path / "taken").write_text("mine")
    wherry("transfers", "add", cid, "--from", address, "-o", tmp_path / "taken", "--watch", code=9)
    assert (tmp_path / "taken").read_text() == "mine"
    assert show(wherry, "t2")["failure"]["error"] == "TargetExists"
    assert json.loads(wherry("transfers", "cancel", "t2", "--json").stdout)["state"] == "cancelled"
    listed = json.loads(wherry("transfers", "list", "--json").stdout)
    assert [one["state"] for one in listed["transfers"]] == ["seeding", "cancelled"]
    wherry("transfers", "show", "t7", code=6)


def test_in_the_foreground_sigterm_ends_it_well(start, wherry, home):
    process = start("up", "--foreground", "--json", "--listen", "http://127.0.0.1:0")
    assert process.said()["schema"] == "wherry/up/1"
    assert json.loads(wherry("status", "--json").stdout)["pid"] == process.pid
    code, words = process.stop(signal.SIGTERM)
    assert (code, words) == (0, "")
    assert not (home / "daemon/control.sock").exists()


def test_what_a_daemon_cannot_start_with_is_the_error_of_up(wherry, start, home):
    taken = start("--home", home.parent / "other", "serve", "--listen", "http://127.0.0.1:0").line()
    found = wherry("up", "--json", "--listen", taken, code=8)
    assert json.loads(found.stderr)["error"] == "LocalError"
    wherry("up", "--listen", "http://0.0.0.0:0", code=2)
    wherry("down", code=6)
    (home / "wherry.toml").write_text("[daemon]\ntransfers = 0\n")
    assert b"at least 1" in wherry("up", code=3).stderr
