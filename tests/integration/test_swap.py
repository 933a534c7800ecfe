"""One line of wherry.toml changes a part of a running example, and the same bytes arrive: for each kind that moves data."""

from __future__ import annotations

import json
import random
import re

import pytest

from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# What both sides run with. Each test changes one line of it, on both sides or on one.
CONFIG = """\
[transport]
use = ["http", "file"]

[compressor]
use = "zstd"

[cache]
use = "disk"

[policy]
use = "reputation"

[chunker]
use = "fixed"

[cipher]
use = "xchacha20poly1305"
"""
CHOICES = {
    "compressor": ("zstd", "lz4", "identity"),
    "cache": ("disk", "memory", "tiered"),
    "policy": ("reputation", "fastest", "round-robin", "random", "local-first"),
    "chunker": ("fixed", "fastcdc"),
    "cipher": ("xchacha20poly1305", "chacha20poly1305"),
}
SWAPS = [(kind, name) for kind, names in CHOICES.items() for name in names]


def changed(kind, name):
    """The configuration with another plugin of one kind: one line differs, or none."""
    text, count = re.subn(rf'(\[{kind}\]\nuse = )"[^"]+"', rf'\1"{name}"', CONFIG)
    assert count == 1
    differs = sum(old != new for old, new in zip(CONFIG.splitlines(), text.splitlines(), strict=True))
    assert differs == (f'[{kind}]\nuse = "{name}"' not in CONFIG)
    return text


@pytest.fixture
def data(tmp_path):
    """A tree with text, which shrinks, and noise, which does not."""
    rng = random.Random(11)
    root = tmp_path / "data"
    (root / "small").mkdir(parents=True)
    for number in range(30):
        (root / "small" / f"{number}.json").write_text(json.dumps({"number": number, "words": "word " * number}))
    (root / "log.txt").write_bytes(
        b"".join(b"%d a line of a log that says little\n" % rng.randrange(99) for _ in range(90_000))
    )
    (root / "noise.bin").write_bytes(rng.randbytes(3 << 20))
    return root


class Example:
    """A adds and serves; B gets, and reads a file by way of its cache. Each with a configuration of its own."""

    def __init__(self, wherry, start, tmp_path, data):
        self.wherry, self.start, self.base, self.data = wherry, start, tmp_path, data

    def home(self, name, config):
        home = self.base / name
        home.mkdir(exist_ok=True)
        (home / "wherry.toml").write_text(config)
        return home

    def served(self, config, *words):
        """Adds and serves the data; gives its CID and the address."""
        said = self.start(
            "share", self.data, "--home", self.home("a", config), "--listen", "http://127.0.0.1:0", "--json", *words
        )
        line = said.said()
        return line["cid"], line["listen"][0]

    def got(self, config, cid, *addresses, code=0):
        """Gets the data and reads a file of it; every byte must be right."""
        home = self.home("b", config)
        sources = [word for address in addresses for word in ("--from", address)]
        done = self.wherry("get", cid, "-o", self.base / "copy", "--home", home, "--json", *sources, code=code)
        if code:
            return done
        assert list(compare(self.data, self.base / "copy")) == []
        for _ in range(2):  # from the source, and from the cache
            fresh = self.home("c", config)
            read = self.wherry("cat", f"{cid}/log.txt", "--home", fresh, *sources)
            assert read.stdout == (self.data / "log.txt").read_bytes()
        return json.loads(done.stdout)


@pytest.fixture
def example(wherry, start, tmp_path, data):
    return Example(wherry, start, tmp_path, data)


@pytest.mark.parametrize(("kind", "name"), SWAPS, ids="/".join)
def test_the_same_bytes_arrive(example, wherry, kind, name):
    """The line is in force on both sides; for policies two sources are asked."""
    config = changed(kind, name)
    words = []
    if kind == "cipher":
        if "--encrypt" not in wherry("add", "--help").stdout.decode():
            pytest.skip("add cannot encrypt yet")
        wherry("keys", "new", "team", "--home", example.home("a", config))
        key = wherry("keys", "export", "team", "--plain", "--home", example.home("a", config)).stdout.decode().strip()
        for home in ("b", "c"):
            wherry("keys", "import", "team", "-", "--home", example.home(home, config), input=key.encode())
        words = ["--encrypt", "team"]
    cid, address = example.served(config, *words)
    sources = (address, address.replace("127.0.0.1", "localhost")) if kind == "policy" else (address,)
    found = example.got(config, cid, *sources)
    assert found["fetched_bytes"] > 0


@pytest.mark.parametrize("kind", ["compressor", "cache", "policy", "chunker", "cipher"])
def test_the_line_is_what_decides(example, wherry, kind):
    """A name that nobody offers in that line is met, on the side that uses it, and said with what there is."""
    wherry("keys", "new", "team", "--home", example.home("a", CONFIG))
    cid, address = example.served(CONFIG)
    config = changed(kind, "acme.none")
    home = example.home("d", config)
    wherry("keys", "new", "team", "--home", home)
    lines = {
        "policy": [
            "get",
            cid,
            "-o",
            example.base / "copy",
            "--from",
            address,
            "--from",
            address.replace("127.0.0.1", "localhost"),
        ],
        "cache": ["cat", f"{cid}/noise.bin", "--from", address],
        "compressor": ["get", cid, "-o", example.base / "copy", "--from", address],
        "chunker": ["add", example.data],
        "cipher": ["add", example.data, "--encrypt", "team"],
    }
    said = wherry(*lines[kind], "--home", home, code=4).stderr.decode()
    assert "acme.none" in said
    assert CHOICES[kind][0] in said  # what is installed


def test_a_chunker_changes_the_cid_and_not_the_bytes(example):
    cids = set()
    for name in CHOICES["chunker"]:
        config = changed("chunker", name)
        cid, address = example.served(config)
        example.got(CONFIG, cid, address)  # who gets it needs no chunker
        cids.add(cid)
    assert len(cids) == 2


def test_one_line_of_peers_changes_the_transport(example):
    """By HTTP, from the other's home on disk, or by a transport of somebody else's: see test_guide.py for the latter."""
    cid, address = example.served(CONFIG)
    used = set()
    for peer in (address, f"file://{example.base / 'a'}"):
        config = f'{CONFIG}\n[peers]\nlab = "{peer}"\n'
        found = example.got(config, cid)
        used.update(source["address"] for source in found["sources"])
        example.base = example.base / "next"
        example.base.mkdir()
    assert used == {address, f"file://{example.base.parent.parent / 'a'}"}
