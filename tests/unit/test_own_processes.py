"""Plugins that run a part of theirs in a process, which another environment's interpreter may run."""

from __future__ import annotations

import asyncio
import sys

import pytest

from wherry.errors import PluginError
from wherry_libp2p import process as libp2p
from wherry_libp2p.options import Libp2pOptions
from wherry_torrent import process as torrent
from wherry_torrent.options import TorrentOptions

STARTS = {
    "wherry_torrent": (lambda python: torrent.Process.start(TorrentOptions(python=python)), "libtorrent is not installed"),
    "wherry_libp2p": (
        lambda python: libp2p.Process.start(Libp2pOptions(python=python), bytes(32), []),
        "py-libp2p is not installed",
    ),
}


@pytest.mark.parametrize("package", STARTS)
def test_the_process_runs_our_code_whatever_version_its_interpreter_has(tmp_path, package):
    """Its interpreter has another version installed, before anything that could be appended, and no library."""
    other = tmp_path / "other" / package
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('another version')")
    run = f"import sys; sys.path.insert(0, '{other.parent}'); at = sys.argv.index('-c', 1); "
    run += "code = sys.argv[at + 1]; sys.argv = ['-c', *sys.argv[at + 2 :]]; exec(code)"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -c "{run}" "$@"\n')
    python.chmod(0o755)
    start, said = STARTS[package]
    with pytest.raises(PluginError, match=said):
        asyncio.run(start(python))
