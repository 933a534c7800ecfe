"""IPFS implementations that are not ours, as processes, where the environment says that they are here.

`WHERRY_KUBO` is kubo's program, and `WHERRY_HELIA` a folder `node_modules` that has Helia; how both are had is in the README.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from peers import Helia, Kubo
from processes import environ, launcher, start, wherry

__all__ = ["environ", "launcher", "start", "wherry"]

KUBO, HELIA = os.environ.get("WHERRY_KUBO"), os.environ.get("WHERRY_HELIA")  # now: the fixture `home` takes them away


@pytest.fixture
def kubo(tmp_path):
    """Starts a node of kubo with changes of its configuration, and gives it."""
    if not KUBO:
        pytest.skip("WHERRY_KUBO does not say where kubo's program is")
    started = []

    def starter(**config):
        started.append(Kubo(KUBO, tmp_path / f"kubo{len(started)}", config))
        return started[-1]

    yield starter
    for node in started:
        node.stop()


@pytest.fixture
def helia(tmp_path):
    """Starts a node of Helia with the options of helia_peer.mjs, and gives it."""
    if not HELIA:
        pytest.skip("WHERRY_HELIA does not say where node_modules with Helia is")
    started = []

    def starter(**options):
        folder = tmp_path / f"helia{len(started)}"
        started.append(Helia(Path(HELIA), Path(__file__).with_name("helia_peer.mjs"), folder, options))
        return started[-1]

    yield starter
    for node in started:
        node.stop()
