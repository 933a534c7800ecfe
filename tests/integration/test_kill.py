"""kill -9, SIGTERM and Ctrl-C at random moments of `wherry get`: processes, sockets, real files."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from wherry.limits import BUFFER_BYTES
from wherry.sync import Session
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.loop import running
from wherry.transfer.journal import Journal
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20
KILLS = 50
LARGE_BYTES = 256 * MIB
SMALL_FILES = 2000
CONNECTIONS = 4
IN_FLIGHT = CONNECTIONS * BUFFER_BYTES  # what a kill may cost
RATE = 25 * MIB  # bytes a second and connection, so that a run has a middle
NODES = 2 * MIB  # manifest nodes and protocol of one run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """One large file and many small ones. Each block is different."""
    root = tmp_path_factory.mktemp("dataset") / "data"
    rng = random.Random(11)
    root.mkdir()
    with (root / "large.bin").open("wb") as file:
        for _ in range(LARGE_BYTES // (8 * MIB)):
            file.write(rng.randbytes(8 * MIB))
    for number in range(SMALL_FILES):
        path = root / f"small/{number % 40:02}/{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(12_000)))
    (root / "small/empty").write_bytes(b"")
    (root / "small/link").symlink_to("empty")
    return root


def bytes_of(root):
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@contextmanager
def counted(dataset, home):
    """Serves the dataset behind a proxy that counts; gives the CID, the proxy's address and the proxy."""
    with Session.open(home=home, environ={}) as session:
        cid = session.add(str(dataset)).cid
        with (
            session.serve(listen=["http://127.0.0.1:0"]) as listening,
            running(ChaosProxy(("127.0.0.1", int(listening[0].rpartition(":")[2])), down=Chaos(rate=RATE))) as proxy,
        ):
            yield cid, f"http://127.0.0.1:{proxy.port}", proxy


@pytest.fixture
def get(home, tmp_path):
    """Starts `wherry get`."""
    target = tmp_path / "out" / "copy"
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    started = []

    def start(cid, address):
        line = [sys.executable, "-m", "wherry_cli", "get", cid, "--from", address, "-o", str(target), "--json"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
        started.append(process)
        return process

    yield start, target
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def passing(process, proxy, count):
    """Waits until so many more bytes have passed to the client, or its run is over."""
    aim = proxy.passed["down"] + count
    while process.poll() is None and proxy.passed["down"] < aim:
        time.sleep(0.002)


def recorded(target, cid):
    """What the journal says is done; of a target that has its name, everything."""
    if target.exists():
        return bytes_of(target)
    journal = Journal(hidden_names(str(target))[1], {"cid": cid, "selection": ""})
    journal.close()
    return journal.done.total


def test_fifty_kills_lose_at_most_what_was_in_flight(dataset, get, tmp_path):
    """Counted on the wire: what passes to the client in each run, beside what its journal gains."""
    start, target = get
    total = bytes_of(dataset)
    target.parent.mkdir()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    kills = wholes = wasted = kept = 0
    with counted(dataset, tmp_path / "home-a") as (cid, address, proxy):
        while kills < KILLS:
            before, passed_before = recorded(target, cid), proxy.passed["down"]
            process = start(cid, address)
            passing(process, proxy, rng.uniform(0.0, 2.0) * IN_FLIGHT)
            time.sleep(rng.uniform(0.0, 0.03))
            process.kill()
            _, err = process.communicate()
            assert process.returncode in (-signal.SIGKILL, 0), err.decode()
            kills += process.returncode == -signal.SIGKILL
            gained = recorded(target, cid) - before
            passed = proxy.passed["down"] - passed_before
            assert passed <= gained + IN_FLIGHT + NODES
            kept, wasted = kept + gained, wasted + max(0, passed - gained)
            if target.exists():
                assert list(compare(dataset, target)) == []
                finish(start(cid, address))  # clears what the kill may have left beside it
                assert os.listdir(target.parent) == ["copy"]
                shutil.rmtree(target)
                wholes += 1
        before, passed_before = recorded(target, cid), proxy.passed["down"]
        last = finish(start(cid, address))
        passed = proxy.passed["down"] - passed_before
    print(f"{kills} kills: {kept} bytes kept, {wasted} lost; whole {wholes} times before the last run, which had {before}")
    assert list(compare(dataset, target)) == []
    assert os.listdir(target.parent) == ["copy"]
    assert passed <= total - before + NODES
    assert last["fetched_bytes"] <= passed
    assert kept > total / 10  # else it shows nothing


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly_and_the_same_command_goes_on(dataset, get, tmp_path, signum, code):
    start, target = get
    rng = random.Random(5)
    ended = 0
    with counted(dataset, tmp_path / "home-a") as (cid, address, proxy):
        for _ in range(6):
            process = start(cid, address)
            passing(process, proxy, rng.uniform(1, 40) * MIB)
            process.send_signal(signum)
            out, err = process.communicate(timeout=20)
            assert process.returncode in (code, 0), err.decode()
            assert b"Traceback" not in err
            assert process.returncode == 0 or b"stopped; what was fetched is kept" in err
            ended += process.returncode == code
            if process.returncode == code:
                assert out == b""
                assert not target.exists()
        finish(start(cid, address))
        passed = proxy.passed["down"]
    assert ended >= 3
    assert list(compare(dataset, target)) == []
    assert sorted(os.listdir(target.parent)) == ["copy"]
    assert passed <= bytes_of(dataset) + ended * IN_FLIGHT + 7 * NODES
