"""libp2p peers that send what nobody asked for, what is too long, what is wrong or nothing: they harm nobody but themselves."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from wherry.cid import CID, RAW
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.loop import running

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra libp2p is not installed: tox -e libp2p"),
]
SCRIPT = Path(__file__).parents[1] / "support/hostile_libp2p.py"
CONFIG = '[transport]\nuse = ["http", "libp2p"]\n[transport.libp2p]\nidle_timeout = "6s"\n[get]\nwait = "10m"\n'
LOCATED = """
[locator]
use = ["kademlia"]
[locator.kademlia]
bootstrap = [{}]
reach = "named"
"""
MODES = ["silent", "hangup", "wrong", "short", "oversize", "endless", "junk", "cut"]
DATA = bytes(range(256)) * 400


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "wherry.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def hostile(environ):
    """Starts such a peer; gives its process, with the first line that it prints as its address."""
    started = []

    def starter(mode, *what, script=SCRIPT):
        line = [sys.executable, str(script), mode, *map(str, what)]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ))
        started[-1].address = started[-1].stdout.readline().strip()
        return started[-1]

    yield starter
    for process in started:
        process.kill()
        process.communicate()


def test_what_peers_do_wrong_is_their_own_failure(hostile, start, config, tmp_path):
    (tmp_path / "block").write_bytes(DATA)
    peers = [hostile(mode, tmp_path / "block") for mode in MODES]
    serving = start("serve", "--config", config, "--listen", "libp2p:/ip4/127.0.0.1/tcp/0", tmp_path / "block", "--json")
    honest = serving.said()["listen"][0]
    serving.send_signal(signal.SIGSTOP)  # it answers when all the others have been asked
    words = ["get", CID.of(RAW, DATA), "--config", config, "-o", tmp_path / "out", "--home", tmp_path / "asking", "--json"]
    for address in (honest, *(peer.address for peer in peers)):
        words += ["--from", address]
    getting = start(*words)
    for peer in peers:
        assert peer.stdout.readline() == "asked\n"
    serving.send_signal(signal.SIGCONT)
    assert getting.wait(timeout=120) == 0
    assert (tmp_path / "out").read_bytes() == DATA
    assert b"Traceback" not in getting.stderr.read()


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        ("hangup", "ConnectionError"),
        ("cut", "ConnectionError"),
        ("oversize", "ValueError"),
        ("endless", "ValueError"),
        ("junk", "ValueError"),
    ],
)
def test_nobody_waits_for_a_peer_that_broke_the_protocol_or_hung_up(hostile, tmp_path, mode, problem):
    (tmp_path / "block").write_bytes(DATA)
    told = hostile(f"told-{mode}", tmp_path / "block")
    assert told.address == "asked"
    assert told.stdout.readline() == f"{problem}\n"


@pytest.mark.parametrize("mode", ["unsolicited", "wrong"])
def test_what_nobody_asked_for_is_dropped_and_who_sends_it_left_at_once(hostile, wherry, config, tmp_path, mode):
    (tmp_path / "block").write_bytes(DATA)
    address = hostile(mode, tmp_path / "block").address
    config.write_text(CONFIG.replace("6s", "60s"))
    began = time.monotonic()
    done = wherry("get", CID.of(RAW, DATA), "--config", config, "--from", address, "-o", tmp_path / "out", code=7)
    assert time.monotonic() - began < 50  # no time-out is waited for
    assert f"{address}: sends blocks that were not asked for (3)".encode() in done.stderr
    banned = json.loads(wherry("peers", "bans", "--config", config, "--json").stdout)
    assert [rule["what"] for rule in banned["rules"]] == [address.rpartition("/")[2]]
    home = tmp_path / "home"
    kept = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    assert kept < 2 << 20  # of 64 MiB that came besides


def test_a_link_that_leads_nowhere_any_more_is_given_up_and_the_peer_dialled_anew(start, wherry, config, tmp_path):
    """It looks open for a quarter of an hour: a router on the way forgot it, or the peer lost its power."""
    config.write_text(CONFIG.replace("6s", "3s"))
    (tmp_path / "f").write_bytes(random.Random(1).randbytes(5 << 20))
    said = start("serve", "--config", config, "--listen", "libp2p:/ip4/127.0.0.1/tcp/0", tmp_path / "f", "--json").said()
    address, port = said["listen"][0], int(said["listen"][0].split("/")[4])
    with running(ChaosProxy(("127.0.0.1", port), down=Chaos(stall_after=2 << 20))) as proxy:
        through = address.replace(f"/tcp/{port}/", f"/tcp/{proxy.port}/")
        cid, other = said["added"][0]["unixfs_cid"], ("--home", tmp_path / "other")
        done = wherry("get", cid, "--config", config, "--from", through, "-o", tmp_path / "out", *other)
        assert proxy.connections > 1
    assert (tmp_path / "out").read_bytes() == (tmp_path / "f").read_bytes()
    assert b"it was silent for 3 s" in done.stderr


def test_who_asks_for_nonsense_does_not_hinder_others(hostile, start, wherry, config, tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    said = start("serve", "--config", config, "--listen", "libp2p:/ip4/127.0.0.1/tcp/0", tmp_path / "f", "--json").said()
    address = said["listen"][0].removeprefix("libp2p:")
    assert hostile("ask", address).address == "asked"
    cid, other = said["added"][0]["unixfs_cid"], ("--home", tmp_path / "other")
    wherry("get", cid, "--config", config, "--from", address, "-o", tmp_path / "out", *other)
    assert (tmp_path / "out").read_bytes() == DATA


@pytest.mark.parametrize(("mode", "mib"), [("fill", 64), ("brim", 80)])  # of 160 and 576
def test_who_begins_messages_and_ends_none_fills_no_memory(hostile, start, wherry, config, tmp_path, *, mode, mib):
    (tmp_path / "f").write_bytes(DATA)
    serving = start("serve", "--config", config, "--listen", "libp2p:/ip4/127.0.0.1/tcp/0", tmp_path / "f", "--json")
    said = serving.said()
    (libp2p,) = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
    peak = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

    def most():
        return int(peak.search(Path(f"/proc/{libp2p}/status").read_text())[1]) << 10

    before = most()
    assert hostile(mode, said["listen"][0].removeprefix("libp2p:")).address == "asked"
    assert most() - before < mib << 20
    cid, other = said["added"][0]["unixfs_cid"], ("--home", tmp_path / "other")
    wherry("get", cid, "--config", config, "--from", said["listen"][0], "-o", tmp_path / "out", *other)
    assert (tmp_path / "out").read_bytes() == DATA


@pytest.mark.parametrize(("mode", "what"), [("led", "kept"), ("free", "dialled")])
def test_a_peer_that_says_it_is_elsewhere_does_not_have_us_dial_there(hostile, mode, what):
    """No address policy has seen what a peer says of itself. Without the guard, py-libp2p goes there."""
    assert hostile(mode, "-").address == what


def test_peers_of_a_dht_that_answer_as_none_should_hide_no_other(hostile, wherry, config):
    modes = ["oversize", "endless", "junk", "cut", "hangup", "reset", "honest"]
    peers = [hostile(mode, script=SCRIPT.with_name("hostile_dht.py")) for mode in modes]
    config.write_text(CONFIG + LOCATED.format(", ".join(f'"{peer.address}"' for peer in peers)))
    found = json.loads(wherry("find", CID.of(RAW, DATA), "--config", config, "--json").stdout)["hints"]
    assert [hint["address"].partition("/p2p/")[0] for hint in found] == ["libp2p:/ip4/192.0.2.7/tcp/4001"]
    for peer in peers:
        assert peer.stdout.readline() == "asked\n"


@pytest.mark.parametrize("mode", ["oversize", "silent"])
def test_where_only_such_a_peer_is_asked_it_is_named(hostile, wherry, config, mode):
    peer = hostile(mode, script=SCRIPT.with_name("hostile_dht.py"))
    config.write_text(CONFIG + LOCATED.format(f'"{peer.address}"'))
    done = wherry("find", CID.of(RAW, DATA), "--config", config, "--json", code=6)
    assert json.loads(done.stdout)["hints"] == []
    assert f"the locator kademlia failed: libp2p:{peer.address}".encode() in done.stderr
