"""Transfers each way with kubo: over HTTP by gateways, found by wherry's tracker, and over Bitswap; CARs, names, and CIDs."""

from __future__ import annotations

import json
import random
import time
from importlib.util import find_spec

import pytest
from peers import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
LIBP2P = pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra libp2p is not installed: tox -e libp2p")
HTTP = "http://127.0.0.1:0"
BITSWAP = "libp2p:/ip4/127.0.0.1/tcp/0"
DHT = {"Routing": {"Type": "dhtserver", "LoopbackAddressesOnLanDHT": True}, "Provide": {"Enabled": True}}
LOCATED = """
[transport]
use = ["http", "libp2p"]
[locator]
use = ["kademlia"]
[locator.kademlia]
bootstrap = ["{}"]
reach = "named"
"""
TRACKED = '[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{}"]\nannounce = true\n'


@pytest.fixture
def tree(tmp_path):
    """A directory with an empty file, one of a block, one of several, a hidden one, a link, and directories in it."""
    root = tmp_path / "data"
    (root / "below/deeper").mkdir(parents=True)
    (root / "nothing").mkdir()
    (root / "empty").touch()
    (root / ".hidden").write_bytes(b"hidden")
    (root / "link").symlink_to("below/small")
    (root / "below/small").write_bytes(b"small")
    (root / "below/deeper/large").write_bytes(random.Random(1).randbytes((5 << 20) + 77))
    return root


@pytest.fixture
def many(tmp_path):
    """A directory of so many entries that it is sharded: one block of it would be more than 256 KiB."""
    root = tmp_path / "many"
    root.mkdir()
    for number in range(4000):
        (root / f"entry-{number:05}-{'x' * 30}").write_bytes(b"%d" % (number % 10))
    return root


def configured(tmp_path, text):
    path = tmp_path / "wherry.toml"
    path.write_text(text)
    return path


def routed(url):
    """What has kubo ask a tracker and nobody else."""
    return {"Type": "delegated", "DelegatedRouters": [url]}


def added(wherry, path):
    return json.loads(wherry("add", path, "--json").stdout)["unixfs_cid"]


def test_wherry_fetches_from_the_gateway_of_kubo(kubo, wherry, tree, tmp_path):
    node = kubo()
    cid = node.add(tree)
    wherry("get", cid, "--from", node.gateway, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)
    part = wherry("cat", f"{cid}/below/deeper/large", "--from", node.gateway, "--offset", 1_048_570, "--length", 20).stdout
    assert part == (tree / "below/deeper/large").read_bytes()[1_048_570:1_048_590]
    names = wherry("ls", cid, "--from", node.gateway).stdout.split()
    assert {name.rstrip(b"/@") for name in names} >= {b".hidden", b"below", b"empty", b"nothing"}


def test_a_sharded_directory_from_kubo(kubo, wherry, many, tmp_path):
    node = kubo()
    cid = node.add(many)
    assert cid == added(wherry, many)
    home = ("--home", tmp_path / "other")
    listed = wherry("ls", cid, "--from", node.gateway, *home).stdout.decode().split()
    assert sorted(listed) == sorted(path.name for path in many.iterdir())
    assert wherry("cat", f"{cid}/entry-03999-{'x' * 30}", "--from", node.gateway, *home).stdout == b"9"


def test_kubo_fetches_over_http_what_the_tracker_names(kubo, start, tree, many, tmp_path):
    url = start("tracker", "serve", "--listen", HTTP).line()
    said = start("serve", "--config", configured(tmp_path, TRACKED.format(url)), "--listen", HTTP, tree, many, "--json").said()
    node = kubo(Routing=routed(url))
    node.get(said["added"][0]["unixfs_cid"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)
    listed = node.run("ls", "--resolve-type=false", "--size=false", said["added"][1]["unixfs_cid"]).decode().splitlines()
    assert sorted(line.split()[-1] for line in listed) == sorted(path.name for path in many.iterdir())


@LIBP2P
def test_bitswap_from_kubo(kubo, wherry, tree, tmp_path):
    node = kubo()
    cid = node.add(tree)
    config = configured(tmp_path, '[transport]\nuse = ["http", "libp2p"]\n')
    wherry("get", cid, "--config", config, "--from", node.address, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)


@LIBP2P
def test_bitswap_to_kubo(kubo, start, tree, tmp_path):
    config = configured(tmp_path, '[transport]\nuse = ["http", "libp2p"]\n')
    said = start("serve", "--config", config, "--listen", BITSWAP, tree, "--json").said()
    node = kubo(HTTPRetrieval={"Enabled": False})
    node.run("swarm", "connect", said["listen"][0].removeprefix("libp2p:"))
    node.get(said["added"][0]["unixfs_cid"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)


@LIBP2P
def test_providers_are_found_in_a_dht_of_kubo(kubo, wherry, tree, tmp_path):
    second = kubo(**DHT)
    third = kubo(**DHT, Bootstrap=[second.address])
    known(third, second)
    cid = third.add(tree)
    third.run("routing", "provide", cid)
    first = kubo(**DHT, Bootstrap=[second.address])  # it came later: it was told of no provider, and names those who were
    known(first, second)
    config = configured(tmp_path, LOCATED.format(first.address))
    found = json.loads(wherry("find", cid, "--config", config, "--json", "--probe").stdout)["hints"]
    assert [(hint["address"], hint["answers"]) for hint in found] == [(f"libp2p:{third.address}", True)]
    wherry("get", cid, "--config", config, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)
    (tmp_path / "other").write_bytes(b"of which nobody has heard")
    nobody = first.add(tmp_path / "other", "--only-hash")
    assert json.loads(wherry("find", nobody, "--config", config, "--json", code=6).stdout)["hints"] == []


def known(node, other):
    """Waits until a node has another one in its table of the DHT: no command of kubo's waits for that."""
    end = time.monotonic() + 30
    while other.address.rpartition("/")[2].encode() not in node.run("stats", "dht", "lan"):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_cars_go_both_ways_and_cids_are_the_same(kubo, wherry, tree, tmp_path):
    node = kubo()
    cid = node.add(tree)
    car = tmp_path / "kubo.car"
    car.write_bytes(node.run("dag", "export", "--progress=false", cid))
    wherry("import", car)
    wherry("get", cid, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)

    other = tree.parent / "other"
    tree.rename(other)
    (other / "below/more").write_bytes(random.Random(2).randbytes((3 << 20) + 5))
    home = ("--home", tmp_path / "second")
    cid = json.loads(wherry("add", other, "--json", *home).stdout)["unixfs_cid"]
    wherry("export", cid, "--car", tmp_path / "wherry.car", *home)
    assert cid in node.run("dag", "import", tmp_path / "wherry.car").decode()
    assert node.add(other, "--only-hash") == cid
    node.get(cid, tmp_path / "from-car")
    assert contents(tmp_path / "from-car") == contents(other)


def test_kubo_resolves_a_name_of_wherry_by_the_tracker(kubo, start, wherry, tree, tmp_path):
    url = start("tracker", "serve", "--listen", HTTP).line()
    config = configured(tmp_path, TRACKED.format(url))
    cid = added(wherry, tree)
    name = json.loads(wherry("name", "publish", cid, "--config", config, "--json").stdout)["name"]
    node = kubo(Routing=routed(url))
    assert node.run("name", "resolve", f"/ipns/{name}").decode().strip() == f"/ipfs/{cid}"
    record = tmp_path / "record"
    record.write_bytes(node.run("routing", "get", f"/ipns/{name}"))
    assert json.loads(node.run("name", "inspect", "--enc=json", "--verify", name, record))["Validation"]["Valid"]


def test_wherry_resolves_a_name_of_kubo(kubo, start, wherry, tree, tmp_path):
    url = start("tracker", "serve", "--listen", HTTP).line()
    node = kubo(Routing=routed(url), Ipns={"DelegatedPublishers": [f"{url}/routing/v1/ipns"]})
    cid = node.add(tree)
    name = json.loads(node.run("key", "gen", "--enc=json", "models"))["Id"]
    node.run("name", "publish", "--key=models", "--allow-offline", f"/ipfs/{cid}")
    for words in (("--config", configured(tmp_path, TRACKED.format(url))), ("--from", node.gateway)):
        home = ("--home", tmp_path / words[0])
        said = json.loads(wherry("name", "resolve", name, *words, *home, "--json").stdout)
        assert said["value"] == f"/ipfs/{cid}"
