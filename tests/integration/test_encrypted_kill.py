"""kill -9 and Ctrl-C at random moments of encrypted `get`, encrypted `add` and `keys rotate`: nothing is lost by them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from wherry.limits import BUFFER_BYTES
from wherry.session import Encryption
from wherry.store.state import StateDB
from wherry.sync import Session
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.loop import running
from wherry.transfer.journal import Journal
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20
KILLS = 10
LARGE_BYTES = 96 * MIB
SMALL_FILES = 600
IN_FLIGHT = 4 * BUFFER_BYTES  # what a kill of `get` may cost: a buffer a connection
RATE = 12 * MIB  # bytes a second and connection, so that a run has a middle
NODES = 2 * MIB  # manifest nodes, tags of blocks, and protocol of one run
WHERRY = [sys.executable, "-m", "wherry_cli"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """One large file and many small ones. Each block is different."""
    root = tmp_path_factory.mktemp("dataset") / "data"
    chance = random.Random(12)
    root.mkdir()
    with (root / "large.bin").open("wb") as file:
        for _ in range(LARGE_BYTES // (8 * MIB)):
            file.write(chance.randbytes(8 * MIB))
    for number in range(SMALL_FILES):
        path = root / f"small/{number % 20:02}/{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(12_000)))
    (root / "small/link").symlink_to("empty")
    return root


def bytes_of(root):
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


@contextmanager
def counted(dataset, publisher, reader, **how):
    """Serves the dataset encrypted, behind a proxy that counts; the reader has the key. Gives the CID, address and proxy."""
    with Session.open(home=publisher, environ={}) as session:
        session.new_key("team")
        cid = session.add(str(dataset), encryption=Encryption("team", **how)).cid
        reader.mkdir()
        shutil.copytree(publisher / "keys", reader / "keys")
        with (
            session.serve(listen=["http://127.0.0.1:0"]) as listening,
            running(ChaosProxy(("127.0.0.1", int(listening[0].rpartition(":")[2])), down=Chaos(rate=RATE))) as proxy,
        ):
            yield cid, f"http://127.0.0.1:{proxy.port}", proxy


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
    """How many plain bytes the journal says are done; of a target that has its name, all."""
    if target.exists():
        return bytes_of(target)
    journal = Journal(hidden_names(str(target))[1], {"cid": cid, "selection": ""})
    journal.close()
    return journal.done.total


@pytest.mark.parametrize("how", [{}, {"random_keys": True}], ids=["domain", "random"])
def test_kills_of_get_cost_at_most_what_was_in_flight(dataset, home, start, tmp_path, how):
    target = tmp_path / "out" / "copy"
    target.parent.mkdir()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kept = 0
    with counted(dataset, tmp_path / "publisher", home, **how) as (cid, address, proxy):
        line = ("get", cid, "--from", address, "-o", target, "--json")
        # At any moment, one in each tenth of them: of a hundred runs one had all of its own before a buffer was full.
        for part in chance.sample(range(KILLS), KILLS):
            before, passed_before = recorded(target, cid), proxy.passed["down"]
            process = start(*line)
            passing(process, proxy, chance.uniform(part, part + 1) / KILLS * 1.5 * IN_FLIGHT)
            time.sleep(chance.uniform(0.0, 0.03))
            process.kill()
            _, err = process.communicate()
            assert process.returncode in (-signal.SIGKILL, 0), err.decode()
            gained = recorded(target, cid) - before
            assert proxy.passed["down"] - passed_before <= gained + IN_FLIGHT + NODES
            kept += gained
        before, passed_before = recorded(target, cid), proxy.passed["down"]
        last = finish(start(*line))
        passed = proxy.passed["down"] - passed_before
    assert list(compare(dataset, target)) == []
    assert os.listdir(target.parent) == ["copy"]
    assert passed <= bytes_of(dataset) - before + NODES
    assert last["fetched_bytes"] <= passed
    assert kept > bytes_of(dataset) / 10  # else it shows nothing


def test_ctrl_c_ends_a_get_with_130_and_the_same_command_goes_on(dataset, home, start, tmp_path):
    target = tmp_path / "out" / "copy"
    target.parent.mkdir()
    with counted(dataset, tmp_path / "publisher", home) as (cid, address, proxy):
        line = ("get", cid, "--from", address, "-o", target, "--json")
        process = start(*line)
        passing(process, proxy, 40 * MIB)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, b"")
        assert b"Traceback" not in err
        assert b"stopped; what was fetched is kept" in err
        assert not target.exists()
        finish(start(*line))
        assert proxy.passed["down"] <= bytes_of(dataset) + IN_FLIGHT + 2 * NODES
    assert list(compare(dataset, target)) == []


# add


@pytest.fixture
def slow(tmp_path, environ):
    """Makes hashing a stretch of 4 MiB take 100 ms more, in processes started from now on: an `add` then has a middle."""
    where = tmp_path / "slow"
    where.mkdir()
    (where / "sitecustomize.py").write_text(
        "import time\n"
        "from wherry.transfer import hashing\n"
        "plain = hashing.Opened.name_stretch\n"
        "def name_stretch(*args):\n"
        "    time.sleep(0.1)\n"
        "    return plain(*args)\n"
        "hashing.Opened.name_stretch = name_stretch\n"
    )
    environ["PYTHONPATH"] = f"{where}:{environ['PYTHONPATH']}"


def done_bytes(process):
    """What the next event of ``--progress json`` says is done; None at the end."""
    while line := process.stderr.readline():
        event = json.loads(line)
        if event.get("event") == "progress":
            return event["bytes_done"]
    return None


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("how", [(), ("--compress",)], ids=["remade", "kept"])
def test_kills_of_add_lose_nothing_that_was_acknowledged(dataset, start, wherry, tmp_path, how):
    """What one run sealed the next does not read again; and what was published before stays open all the while."""
    wherry("keys", "new", "team")
    first = wherry("add", "-q", dataset / "small", "--encrypt", "team", *how).stdout.decode().strip()
    expected = wherry("stat", first, "--json").stdout
    chance = random.Random(4)
    line = ("add", dataset, "--encrypt", "team", *how)
    killed = 0
    for _ in range(4):
        process = start(*line, "--progress", "json")
        aim = chance.uniform(0, LARGE_BYTES)
        while (done := done_bytes(process)) is not None and done < aim:
            continue
        process.kill()
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        assert wherry("stat", first, "--json").stdout == expected
    assert killed >= 2
    last = json.loads(wherry(*line, "--json").stdout)
    again = json.loads(wherry(*line, "--json").stdout)
    assert (again["cid"], again["new_blocks"]) == (last["cid"], 0)
    wherry("verify", last["cid"], dataset)
    served(start, wherry, dataset, last["cid"], tmp_path)
    if not how:  # by another home with the same key: what was stopped and gone on is what was never stopped
        other = tmp_path / "other"
        wherry("keys", "import", "team", "-", "--home", other, input=wherry("keys", "export", "team", "--plain").stdout)
        assert wherry("add", "-q", dataset, "--encrypt", "team", "--home", other).stdout.decode().strip() == last["cid"]


def served(start, wherry, dataset, cid, tmp_path):
    """Every block is there: another home with the key gets all of it."""
    reader = tmp_path / "reader"
    wherry("keys", "import", "team", "-", "--home", reader, input=wherry("keys", "export", "team", "--plain").stdout)
    listen = start("serve", "--listen", "http://127.0.0.1:0", "--json").said()["listen"][0]
    wherry("get", cid, "--from", listen, "-o", tmp_path / "whole", "--home", reader)
    assert list(compare(dataset, tmp_path / "whole")) == []


@pytest.mark.usefixtures("slow")
def test_ctrl_c_ends_an_add_with_130_and_what_was_sealed_is_kept(dataset, start, wherry):
    wherry("keys", "new", "team")
    process = start("add", dataset, "--encrypt", "team", "--progress", "json")
    while (done := done_bytes(process)) is not None and done < 24 * MIB:
        continue
    code, said = process.stop(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in said
    again = json.loads(wherry("add", dataset, "--encrypt", "team", "--json").stdout)
    assert again["reused_blocks"] >= 16


# Rotation


def test_a_rotation_that_is_killed_leaves_every_dataset_open(home, start, wherry, tmp_path):
    cids = []
    with Session.open(home=home, environ={}) as session:
        session.new_key("team")
        for number in range(30):
            path = tmp_path / f"file-{number}"
            path.write_bytes(b"%d" % number * 1000)
            cids.append(session.add(str(path), encryption=Encryption("team")).cid)
    began = time.monotonic()
    assert start("keys", "rotate", "team").wait(60) == 0  # as those that are killed
    took = time.monotonic() - began
    chance = random.Random(9)
    killed = in_the_middle = 0
    for number in range(8):
        before, key = known(home), (home / "keys/team.key").read_bytes()
        process = start("keys", "rotate", "team", "--json")
        if number % 2:
            time.sleep(took * chance.uniform(0.4, 1.0))
        else:  # the key is new, and headers are being made
            while process.poll() is None and (home / "keys/team.key").read_bytes() == key:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        in_the_middle += 0 < len(known(home) - before) < len(cids)
        opens(home, cids)
    assert killed >= 4
    assert in_the_middle
    # What was cut off is made good by the next one: each file has one root again, under the newest key.
    renamed = json.loads(wherry("keys", "rotate", "team", "--json").stdout)["datasets"]
    assert {made for _, made in renamed} == known(home)
    assert len(known(home)) == len(cids)
    opens(home, cids)


def known(home):
    """The roots that the home has, by CID."""
    state = StateDB(home)
    try:
        return {str(row.cid) for row in state.roots()}
    finally:
        state.close()


def opens(home, cids):
    """Every dataset opens: by the CIDs that were given out, and by those that rotations have made."""
    with Session.open(home=home, environ={}) as session:
        for cid in {*cids, *known(home)}:
            assert session.stat(cid).kind == "file", cid
