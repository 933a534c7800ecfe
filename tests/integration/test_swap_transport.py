"""The same data by another transport, with one line of wherry.toml changed."""

from __future__ import annotations

import json

import pytest

from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def source(start, wherry, tree, tmp_path):
    """A home that holds the tree, and serves it by HTTP: its CID, its address, its folder."""
    said = start("share", tree, "--home", tmp_path / "a", "--listen", "http://127.0.0.1:0", "--json").said()
    return said["cid"], said["listen"][0], tmp_path / "a"


def get(wherry, home, cid, target, config, *words, code=0):
    home.mkdir(exist_ok=True)
    (home / "wherry.toml").write_text(config)
    return wherry("get", cid, "-o", target, "--home", home, "--json", *words, code=code)


def test_one_line_of_peers(wherry, source, tree, tmp_path):
    cid, address, folder = source
    used = []
    for number, peer in enumerate((address, f"file://{folder}")):
        target = tmp_path / f"copy-{number}"
        done = get(wherry, tmp_path / f"home-{number}", cid, target, f'[peers]\nlab = "{peer}"\n', *by_name(number))
        found = json.loads(done.stdout)
        assert list(compare(tree, target)) == []
        assert found["fetched_bytes"] > 0
        used += [each["address"] for each in found["sources"]]
    assert used == [address, f"file://{folder}"]


def by_name(number):
    """A peer is asked because it is named, or because no other is."""
    return ("--from", "lab") if number % 2 else ()


def test_a_plain_copy_needs_its_manifest_from_somewhere(wherry, source, tree, tmp_path):
    """Files alone cannot say what a CID stands for; a home can, and then the bytes come from either."""
    cid, address, _ = source
    alone = f'[peers]\ndisk = "file://{tree}"\n'
    done = get(wherry, tmp_path / "b", cid, tmp_path / "copy", alone, code=6)
    assert json.loads(done.stderr.splitlines()[-1])["error"] == "BlockNotFound"
    both = f'[peers]\nlab = "{address}"\ndisk = "file://{tree}"\n'
    done = get(wherry, tmp_path / "b", cid, tmp_path / "copy", both)
    assert list(compare(tree, tmp_path / "copy")) == []
    assert len(json.loads(done.stdout)["sources"]) == 2


@pytest.mark.parametrize("use", ["http", "file"])
def test_one_line_of_transports(wherry, source, tree, tmp_path, use):
    """What is not in use is not spoken, and the error says which line to change."""
    cid, address, folder = source
    places = {"http": address, "file": f"file://{folder}"}
    for scheme, place in places.items():
        config = f'[transport]\nuse = ["{use}"]\n'
        code = 0 if scheme == use else 2
        done = get(wherry, tmp_path / "b", cid, tmp_path / scheme, config, "--from", place, code=code)
        if code:
            assert "[transport] use" in json.loads(done.stderr.splitlines()[-1])["hint"]
            assert not (tmp_path / scheme).exists()
        else:
            assert list(compare(tree, tmp_path / scheme)) == []


def test_an_instance_with_other_options(wherry, source, tree, tmp_path):
    cid, address, _ = source
    config = '[transport]\nuse = ["mirror"]\n[transport.mirror]\nplugin = "http"\nidle_timeout = "5s"\n'
    get(wherry, tmp_path / "b", cid, tmp_path / "copy", config, "--from", address)
    assert list(compare(tree, tmp_path / "copy")) == []
