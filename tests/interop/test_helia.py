"""Transfers each way with Helia: over HTTP by gateways, found by wherry's tracker, and over Bitswap."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec

import pytest
from peers import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
LIBP2P = pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra libp2p is not installed: tox -e libp2p")
HTTP = "http://127.0.0.1:0"
BITSWAP = "libp2p:/ip4/127.0.0.1/tcp/0"


@pytest.fixture
def tree(tmp_path):
    """A directory with an empty file, one of a block, one of several, and a directory in it."""
    root = tmp_path / "data"
    (root / "below/deeper").mkdir(parents=True)
    (root / "empty").touch()
    (root / "below/small").write_bytes(b"small")
    (root / "below/deeper/large").write_bytes(random.Random(1).randbytes((5 << 20) + 77))
    return root


@pytest.fixture
def configured(tmp_path):
    """Writes a configuration, and gives its path."""

    def write(text):
        path = tmp_path / "wherry.toml"
        path.write_text(text)
        return path

    return write


def test_helia_fetches_from_the_gateway(start, helia, tree, tmp_path):
    said = start("serve", "--listen", HTTP, tree, "--json").said()
    empty = start("tracker", "serve", "--listen", HTTP).line()  # without any router, Helia 7.1 waits for ever
    node = helia(gateways=said["listen"], routers=[empty])
    node.ask("get", said["added"][0]["unixfs_cid"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)


def test_helia_finds_it_by_the_tracker_alone(start, helia, tree, tmp_path, configured):
    url = start("tracker", "serve", "--listen", HTTP).line()
    config = configured(f'[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{url}"]\nannounce = true\n')
    said = start("serve", "--config", config, "--listen", HTTP, tree, "--json").said()
    node = helia(routers=[url])
    node.ask("get", said["added"][0]["unixfs_cid"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)


def test_wherry_fetches_from_a_gateway_of_helia(helia, wherry, tree, tmp_path):
    node = helia()
    cid, url = node.ask("add", tree), node.ask("serve")
    wherry("get", cid, "--from", url, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)
    assert wherry("cat", f"{cid}/below/small", "--from", url).stdout == b"small"
    assert wherry("ls", cid, "--from", url).stdout.split() == [b"below/", b"empty"]


def test_both_give_a_tree_the_same_cid(helia, wherry, tree):
    assert helia().ask("add", tree) == json.loads(wherry("add", tree, "--json").stdout)["unixfs_cid"]


def test_helia_resolves_a_name_of_wherry_by_the_tracker(start, helia, wherry, tree, configured):
    url = start("tracker", "serve", "--listen", HTTP).line()
    cid = json.loads(wherry("add", tree, "--json").stdout)["unixfs_cid"]
    config = configured(f'[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{url}"]\n')
    name = json.loads(wherry("name", "publish", cid, "--config", config, "--json").stdout)["name"]
    assert helia(routers=[url]).ask("resolve", name) == f"/ipfs/{cid}"


@LIBP2P
def test_bitswap_from_helia(helia, wherry, tree, tmp_path, configured):
    node = helia(libp2p=True)
    cid = node.ask("add", tree)
    config = configured('[transport]\nuse = ["http", "libp2p"]\n')
    wherry("get", cid, "--config", config, "--from", node.address, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)


@LIBP2P
def test_bitswap_to_helia(start, helia, tree, tmp_path, configured):
    config = configured('[transport]\nuse = ["http", "libp2p"]\n')
    said = start("serve", "--config", config, "--listen", BITSWAP, tree, "--json").said()
    node = helia(libp2p=True)
    node.ask("connect", said["listen"][0].removeprefix("libp2p:"))
    node.ask("get", said["added"][0]["unixfs_cid"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tree)
