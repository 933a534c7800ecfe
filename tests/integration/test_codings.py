"""Real transfers: over a slow link text takes fewer bytes and chance none more; a fast link carries plain bytes."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import pytest

from wherry.testing.chaos import CALM, Chaos, ChaosProxy
from wherry.testing.compressor import text
from wherry.testing.loop import running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MIB = 1 << 20
SLOW = Chaos(rate=6 * MIB)  # bytes a second of each connection
CODED = '[transport.http]\ncoding = "always"\n'


@pytest.fixture
def carried(start, wherry, tmp_path):
    """Gets ``data`` through a proxy; gives the bytes that it passed to the client. ``config`` is of both ends, or of each."""

    def carry(data, link, serves="", gets=""):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for home, config in (("a", serves), ("b", gets)):
            (folder / home).mkdir()
            (folder / home / "wherry.toml").write_text(config)
        file = folder / "file"
        file.write_bytes(data)
        said = start("share", file, "--home", folder / "a", "--listen", "http://127.0.0.1:0", "--json").said()
        port = int(said["listen"][0].rpartition(":")[2])
        with running(ChaosProxy(("127.0.0.1", port), down=link)) as proxy:
            address = f"http://127.0.0.1:{proxy.port}"
            done = wherry("get", said["cid"], "-o", folder / "copy", "--home", folder / "b", "--from", address, "--json")
            passed = proxy.passed["down"]
        assert (folder / "copy").read_bytes() == data
        assert json.loads(done.stdout)["fetched_bytes"] > 0
        return passed

    return carry


def lines(mib):
    return b"".join(text(MIB, seed=number) for number in range(mib))


def test_text_over_a_slow_link_takes_fewer_bytes(carried):
    """The first answers find out how slow it is, and go plain; most of the others do not."""
    assert carried(lines(64), SLOW) < 0.7 * 64 * MIB


def test_chance_over_a_slow_link_takes_none_more(carried):
    data = random.Random(1).randbytes(24 * MIB)
    assert len(data) < carried(data, SLOW) < 1.002 * len(data)


def test_a_fast_link_carries_plain_bytes(carried):
    """Its processors are this machine's own, whose time is dearer than bytes that cross no wire.

    Where other programs take them, the proxy, and so the link, is slow for a moment, and what is sent then is rightly coded:
    one of three transfers is all plain.
    """
    data = lines(48)
    assert any(carried(data, CALM) > 48 * MIB for _ in range(3))


@pytest.mark.parametrize("serves", ["lz4", "zstd"])
def test_one_line_chooses_the_compressor(carried, serves):
    use = f'[compressor]\nuse = "{serves}"\n'
    assert carried(lines(8), CALM, use + CODED) < 0.5 * 8 * MIB


@pytest.mark.parametrize(
    "serves",
    ['[transport.http]\ncoding = "never"\n', '[compressor]\nuse = "identity"\n' + CODED],
    ids=["never", "identity"],
)
def test_one_line_turns_it_off(carried, serves):
    assert carried(lines(4), SLOW, serves) > 4 * MIB


def test_a_node_that_codes_nothing_still_decodes(carried):
    assert carried(lines(4), CALM, CODED, '[compressor]\nuse = "identity"\n') < 2 * MIB


def test_a_dictionary_that_one_side_lacks_is_not_used(carried, tmp_path):
    """The other coding that both know is."""
    import zstandard

    rng = random.Random(1)
    rows = [b'{"id": %d, "name": "n%d"}' % (number, rng.getrandbits(20)) for number in range(3000)]
    (tmp_path / "dictionary").write_bytes(zstandard.train_dictionary(4096, rows).as_bytes())
    serves = f'[compressor.zstd]\ndictionary = "{tmp_path / "dictionary"}"\n'
    assert carried(lines(4), CALM, serves + CODED) < 2 * MIB
