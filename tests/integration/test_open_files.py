"""More connections than files may be open, from real clients at real servers (specs/0008 §5.1)."""

from __future__ import annotations

import http.client
import json
import resource
import signal
import socket
from contextlib import closing

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LIMIT, FLOOD = 128, 300


@pytest.fixture
def started(start):
    """Starts a line that may have few files open; gives the process, and where it listens."""

    def starter(*words):
        process = start(*words)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        said = process.said()
        address = said["listen"] if isinstance(said["listen"], str) else said["listen"][0]
        host, _, port = address.partition("://")[2].rpartition(":")
        return process, address, (host, int(port))

    return starter


@pytest.fixture
def flood():
    """Opens connections that say nothing, from different addresses; they stay until the test ends."""
    silent = []

    def connect(place):
        for number in range(FLOOD):
            sock = socket.create_connection(place, timeout=10, source_address=(f"127.0.0.{1 + number % 25}", 0))
            silent.append(sock)  # at once: the next may fail
        return silent

    yield connect
    for sock in silent:
        sock.close()


def ends_quietly(process):
    """Stops a process; it must have said in one line what ran short, and what to do."""
    code, said = process.stop(signal.SIGTERM)
    assert code == 0
    assert len(said.encode()) < 2000, said[:2000]
    assert said.count("ulimit -n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_a_flood_of_silent_connections_keeps_nobody_out(started, flood, wherry, tmp_path, scheme):
    (tmp_path / "data").write_bytes(bytes(range(256)) * 20_000)  # of several blocks
    cid = json.loads(wherry("add", tmp_path / "data", "--home", tmp_path / "a", "--json").stdout)["cid"]
    process, address, place = started("serve", "--home", tmp_path / "a", "--listen", f"{scheme}://127.0.0.1:0", "--json")
    silent = flood(place)
    for number in range(2):  # during, and after
        got = tmp_path / f"got-{number}"
        wherry("get", cid, "-o", got, "--home", tmp_path / f"b{number}", "--from", address, "--wait", "5s")
        assert got.read_bytes() == (tmp_path / "data").read_bytes()
        for sock in silent:
            sock.close()
    ends_quietly(process)


def test_a_flood_at_a_tracker_keeps_nobody_out(started, flood, tmp_path):
    process, _, place = started("tracker", "serve", "--home", tmp_path, "--listen", "http://127.0.0.1:0", "--json")
    flood(place)
    with closing(http.client.HTTPConnection(*place, timeout=10, source_address=("127.0.0.99", 0))) as client:
        client.request("GET", "/routing/v1/providers/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
        assert client.getresponse().status in {200, 404}
    ends_quietly(process)
