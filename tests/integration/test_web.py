"""Data from real nginx that has never heard of CIDs: the manifest from a wherry peer, the bytes from a plain copy."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from wherry_cli.bench import reference
from wherry_cli.demo import compare

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not reference.installed("nginx"), reason="nginx is not installed"),
]


@pytest.fixture
def peer(start, tree, tmp_path):
    """A wherry node that has the tree: the process, its CID and its address."""
    process = start("share", tree, "--home", tmp_path / "a", "--listen", "http://127.0.0.1:0", "--json")
    said = process.said()
    return process, said["cid"], said["listen"][0]


@pytest.fixture
def mirror(tree, tmp_path):
    """nginx over a copy of the tree in a folder of its root; the address."""
    root = tmp_path / "www" / "some data"
    shutil.copytree(tree, root, symlinks=True)
    (tmp_path / "nginx").mkdir()
    with reference.nginx(tmp_path / "nginx", tmp_path / "www", os.environ) as address:
        yield f"web+{address}/some%20data/"


def get(wherry, home, cid, target, *sources, code=0):
    words = [word for source in sources for word in ("--from", source)]
    done = wherry("get", cid, "-o", target, "--home", home, "--json", *words, code=code)
    said = done.stderr if code else done.stdout
    return json.loads(said.splitlines()[-1])


def test_both_are_one_swarm(wherry, peer, mirror, tree, tmp_path):
    _, cid, address = peer
    found = get(wherry, tmp_path / "b", cid, tmp_path / "copy", address, mirror)
    assert list(compare(tree, tmp_path / "copy")) == []
    assert {each["address"] for each in found["sources"]} == {address, mirror}


def test_when_the_peer_is_gone_after_the_manifest_all_the_rest_comes_from_the_web(wherry, peer, mirror, tree, tmp_path):
    process, cid, address = peer
    wherry("get", cid, "-o", tmp_path / "copy", "--home", tmp_path / "b", "--dry-run", "--from", address)
    assert not (tmp_path / "copy").exists()
    process.stop(signal.SIGKILL)
    found = get(wherry, tmp_path / "b", cid, tmp_path / "copy", mirror)
    assert list(compare(tree, tmp_path / "copy")) == []
    assert [(each["address"], each["bytes"] > 0) for each in found["sources"]] == [(mirror, True)]


def test_without_a_manifest_it_says_what_is_missing_and_what_to_do(wherry, peer, mirror, tmp_path):
    _, cid, _ = peer
    problem = get(wherry, tmp_path / "b", cid, tmp_path / "copy", mirror, code=6)
    assert problem["error"] == "BlockNotFound"
    assert "manifest" in problem["message"]
    assert mirror in problem["message"]
    assert "wherry peer" in problem["hint"]


def test_what_was_changed_or_lost_on_the_mirror_comes_from_the_peer(wherry, peer, mirror, tree, tmp_path):
    _, cid, address = peer
    copy = tmp_path / "www" / "some data"
    data = bytearray((copy / "data" / "large.bin").read_bytes())
    data[3_000_000] ^= 1
    (copy / "data" / "large.bin").write_bytes(data)
    (copy / "data" / "one-more-than-1MiB.bin").write_bytes(b"short")
    (copy / "bin" / "run.sh").unlink()
    get(wherry, tmp_path / "b", cid, tmp_path / "copy", mirror, address)
    assert list(compare(tree, tmp_path / "copy")) == []


def test_a_dataset_that_is_one_file(wherry, start, mirror, tree, tmp_path):
    process = start("share", tree / "data" / "large.bin", "--home", tmp_path / "c", "--listen", "http://127.0.0.1:0", "--json")
    said = process.said()
    url = f"{mirror}data/large.bin"
    wherry("get", said["cid"], "-o", tmp_path / "copy", "--home", tmp_path / "b", "--dry-run", "--from", said["listen"][0])
    process.stop(signal.SIGKILL)
    get(wherry, tmp_path / "b", said["cid"], tmp_path / "copy", url)
    assert (tmp_path / "copy").read_bytes() == (tree / "data" / "large.bin").read_bytes()


def test_an_instance_of_its_own_under_peers(wherry, peer, mirror, tree, tmp_path):
    _, cid, address = peer
    (tmp_path / "b").mkdir()
    named = mirror.replace("web+", "hub+")
    (tmp_path / "b" / "wherry.toml").write_text(
        f'[transport.hub]\nplugin = "web"\nconnections = 2\n[peers]\nlab = "{address}"\nhub = "{named}"\n'
    )
    found = get(wherry, tmp_path / "b", cid, tmp_path / "copy")
    assert list(compare(tree, tmp_path / "copy")) == []
    assert {each["address"] for each in found["sources"]} == {address, named}
