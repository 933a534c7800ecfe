"""The walk of somebody who publishes plugins: wheels, a clean environment, their own tests, and real data through them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
KINDS = ("transport", "cache", "compressor", "chunker", "cipher", "policy", "locator", "observer", "command")
CONFIG = """\
[transport]
use = ["acme.transport", "http", "file"]
[cache]
use = "acme.cache"
[compressor]
use = "acme.compressor"
[chunker]
use = "acme.chunker"
[cipher]
use = "acme.cipher"
[policy]
use = "acme.policy"
[locator]
use = ["acme.locator"]
[observer]
use = ["acme.observer"]
"""


class Clean:
    """An environment that has wherry from its wheel and the new packages from theirs, and nothing of this checkout."""

    def __init__(self, place):
        self.place = place
        self.bin = place / "venv/bin"
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST", "PYTHON", "WHERRY"))
        }

    def run(self, program, *words, cwd=None, code=0):
        done = subprocess.run(
            [self.bin / program, *map(str, words)], cwd=cwd or self.place, env=self.environ, capture_output=True, check=False
        )
        assert done.returncode == code, done.stdout.decode()[-3000:] + done.stderr.decode()[-3000:]
        return done.stdout.decode()

    def wherry(self, *words, **options):
        return self.run("wherry", *words, **options)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    place = tmp_path_factory.mktemp("publish")
    made = Clean(place)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place / "wheels"]
    done = subprocess.run([*build, ROOT], env=made.environ, capture_output=True, text=True, check=False, cwd=place)
    if done.returncode != 0 and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the build's own requirements cannot be had here")
    assert done.returncode == 0, done.stderr
    venv.create(place / "venv", with_pip=True)
    (wheel,) = (place / "wheels").glob("wherry-*.whl")
    made.run("pip", "install", "--quiet", wheel)
    for kind in KINDS:
        made.wherry("plugins", "new", kind, f"acme.{kind}", "-q")
    # As the author would: the folder, with its tests' needs. wherry is there, so pip takes that one.
    made.run("pip", "install", "--quiet", *[f"./acme-{kind}[test]" for kind in KINDS])
    made.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place / "wheels", "./acme-transport")
    return made


def test_all_of_it_is_installed_from_wheels(clean):
    assert list((clean.place / "wheels").glob("acme_transport-*.whl"))
    where = clean.run("python", "-c", "import wherry, wherry_cli, acme_transport as a; print(wherry.__file__, a.__file__)")
    assert all(str(clean.place / "venv") in path for path in where.split())
    lines = json.loads(clean.wherry("plugins", "list", "--json"))["plugins"]
    assert {line["name"] for line in lines if line["status"] == "ok"} >= {f"acme.{kind}" for kind in KINDS}
    assert {line["status"] for line in lines} == {"ok"}


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_are_green_there(clean, kind):
    assert " passed" in clean.run("pytest", "-q", "-p", "no:cacheprovider", cwd=clean.place / f"acme-{kind}")


@pytest.mark.parametrize("kind", ["cache", "chunker", "compressor", "policy"])
def test_the_check_is_green_there(clean, kind):
    checks = json.loads(clean.wherry("plugins", "check", f"acme.{kind}", "--json"))["plugins"][0]["checks"]
    assert sum(one["outcome"] == "passed" for one in checks) > 5
    assert not [one for one in checks if one["outcome"] == "failed"]


@pytest.mark.parametrize(
    "sealed",
    [(), ("--encrypt", "team", "--chunker", "fixed")],  # a chunker without a key does not cut what is sealed
    ids=["plain", "sealed"],
)
def test_real_data_moves_through_all_of_them(clean, tree, tmp_path, sealed):
    """One configuration selects every one; a dataset goes from A to B by the new transport, and is read again by C."""
    homes = {name: tmp_path / name for name in "abc"}
    for home in homes.values():
        home.mkdir()
        (home / "wherry.toml").write_text(CONFIG)
    assert "ok" in clean.wherry("config", "check", "--home", homes["a"], "--json")
    clean.wherry("keys", "new", "team", "--home", homes["a"])
    key = tmp_path / "team.key"
    clean.wherry("keys", "export", "team", "--plain", "-o", key, "--home", homes["a"])
    for name in "bc":
        clean.wherry("keys", "import", "team", key, "--home", homes[name])
    words = ["share", tree, *sealed, "--home", homes["a"], "--listen", "acme-transport://127.0.0.1:0", "--json"]
    sharing = subprocess.Popen([clean.bin / "wherry", *map(str, words)], env=clean.environ, stdout=subprocess.PIPE)
    try:
        said = json.loads(sharing.stdout.readline())
        cid, (address,) = said["cid"], said["listen"]
        assert address.startswith("acme-transport://")
        got = json.loads(clean.wherry("get", cid, "--from", address, "-o", tmp_path / "copy", "--home", homes["b"], "--json"))
        assert list(compare(tree, tmp_path / "copy")) == []
        assert got["fetched_bytes"] > 5 << 20
        listed = homes["c"] / "acme-locator" / "addresses.txt"  # C is told of nobody, and asks its locator
        listed.parent.mkdir()
        listed.write_text(f"* {address}\n")
        read = clean.wherry("cat", f"{cid}/names/with space", "--home", homes["c"])
        assert read == "1"
    finally:
        sharing.terminate()
        sharing.wait(30)
        sharing.stdout.close()
    assert json.loads((homes["b"] / "acme-observer" / "counts.json").read_text())
    assert cid in clean.wherry("--home", homes["b"], "acme.command")
