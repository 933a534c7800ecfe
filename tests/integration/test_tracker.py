"""A tracker as a process: nodes that announce to it are found, it survives kill -9, and forgets who withdraws or is gone."""

from __future__ import annotations

import json
import re
import select
import signal
import time
import urllib.request

import pytest

from wherry.cid import CID, RAW
from wherry.nodekey import NodeKey
from wherry_locate.announcement import Announcement, encode

pytestmark = pytest.mark.integration

PATIENCE_S = 30


def ask(url, path, **headers):
    with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10) as response:
        return response.read().decode()


def providers(url, cid):
    return json.loads(ask(url, f"/routing/v1/providers/{cid}"))["Providers"]


def put(url, cid, number):
    """Announces as one of many nodes; returns when it is acknowledged."""
    key = NodeKey(bytes([number]) * 32)
    said = Announcement(
        key.peer_id, time.time_ns() // 1000, 600.0, ("/ip4/127.0.0.1/tcp/4290",), ("transport-wherry-tcp",), (cid,)
    )
    request = urllib.request.Request(
        f"{url}/routing/v1/providers", encode(said, key), {"Content-Type": "application/json"}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
    return key.peer_id


def until(look, right):
    end = time.monotonic() + PATIENCE_S
    while not right(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def test_what_was_acknowledged_survives_kill_9(start, tmp_path):
    words = ("tracker", "serve", "--store", tmp_path / "t.db", "--json", "--listen")
    process = start(*words, "http://127.0.0.1:0")
    said = process.said()
    assert said["schema"] == "wherry/tracker-serve/1"
    cid = CID.of(RAW, b"x")
    known = set()
    for number in range(12):
        known.add(put(said["listen"], cid, number))
        if number % 4 == 3:
            process.kill()
            process.wait()
            process = start(*words, said["listen"])
            assert process.said()["listen"] == said["listen"]
            assert {record["ID"] for record in providers(said["listen"], cid)} == known
    assert process.stop(signal.SIGTERM) == (0, "")


def test_a_tracker_on_a_public_address_wants_leave(wherry):
    done = wherry("tracker", "serve", "--listen", "http://0.0.0.0:0", code=2)
    assert b"--allow-public" in done.stderr


def test_a_dataset_goes_from_node_to_node_by_the_tracker_alone(start, wherry, tmp_path, environ):
    tracker = start("tracker", "serve", "--listen", "http://127.0.0.1:0")
    url = tracker.line()
    assert (tmp_path / "home/tracker/records.db").is_file()
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.bin").write_bytes(bytes(range(256)) * 10_000)
    lines = '[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{}"]\nreach = "named"\n{}'
    asking, telling = tmp_path / "asking.toml", tmp_path / "telling.toml"
    asking.write_text(lines.format(url, ""))
    telling.write_text(lines.format(url, "announce = true\n"))
    serving = start(
        "serve", "--home", tmp_path / "origin", "--config", telling, "--listen", "http://127.0.0.1:0", data, "--json"
    )
    ready = serving.said()
    cid, address = ready["added"][0]["cid"], ready["listen"][0]
    (record,) = until(lambda: providers(url, cid), lambda found: found)
    assert re.fullmatch(r"12D3Koo\w{45}", record["ID"])
    assert record["Protocols"] == ["transport-wherry-http", "transport-ipfs-gateway-http"]
    assert record["transport-wherry"] == {"complete": True}
    assert json.loads(ask(url, f"/routing/v1/providers/{cid}", Accept="application/x-ndjson")) == record

    found = json.loads(wherry("find", "--home", tmp_path / "b", "--config", asking, "--probe", "--json", cid).stdout)
    (hint,) = found["hints"]
    assert (hint["address"], hint["locator"], hint["peer"], hint["answers"]) == (address, "tracker", record["ID"], True)
    assert (hint["complete"], hint["protocols"]) == (True, record["Protocols"])
    wherry("get", "--home", tmp_path / "b", "--config", asking, cid, "-o", tmp_path / "out")
    assert (tmp_path / "out/a.bin").read_bytes() == (data / "a.bin").read_bytes()

    code, _ = serving.stop(signal.SIGTERM)
    assert code == 0
    until(lambda: providers(url, cid), lambda found: not found)  # withdrawn
    gone = json.loads(wherry("find", "--home", tmp_path / "b", "--config", asking, "--json", cid, code=6).stdout)
    assert gone["hints"] == []


def test_a_node_without_leave_tells_nobody_and_one_whose_tracker_is_away_serves(start, tmp_path):
    url = start("tracker", "serve", "--listen", "http://127.0.0.1:0").line()
    (tmp_path / "f").write_text("hello")
    for name, urls, announce in (("silent", url, "false"), ("alone", "http://127.0.0.1:1", "true")):
        config = tmp_path / f"{name}.toml"
        config.write_text(f'[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{urls}"]\nannounce = {announce}\n')
        serving = start(
            "serve", "--home", tmp_path / name, "--config", config, "--listen", "http://127.0.0.1:0", tmp_path / "f", "--json"
        )
        cid = serving.said()["added"][0]["cid"]
        assert providers(url, cid) == []
        if name == "alone":
            assert select.select([serving.stderr], [], [], PATIENCE_S)[0]
            assert b"cannot announce this node" in serving.stderr.readline()
        assert serving.stop(signal.SIGTERM) == (0, "")
