"""A real peer of py-libp2p that keeps to every window, and opens a stream for each message, as Helia does."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_spec("libp2p") is None, reason="the extra libp2p is not installed: tox -e libp2p"),
]
SCRIPT = Path(__file__).parents[1] / "support/streams_libp2p.py"


def exchanged(*words):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=100, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("size", "at_once", "sizes"),
    [
        (1_000_000, 20, "known"),
        (1_000_000, 50, "known"),
        (262_144, 50, "known"),
        (2 << 20, 50, "known"),
        (999, 50, "known"),
        (1 << 20, 50, "unknown"),
    ],
)
def test_all_comes_and_no_stream_is_cut(size, at_once, sizes):
    assert exchanged(size, at_once, 0, sizes) == {"came": True, "unsent": [], "problem": "None"}


def test_what_was_lost_with_its_stream_comes_by_another():
    assert exchanged(100_000, 50, 20, "known") == {"came": True, "unsent": [], "problem": "None"}
