"""The libp2p transport with a process that speaks its frames and does what a file beside it says (fake_libp2p.py)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.env import Env
from wherry.plugin import Duration
from wherry_libp2p.options import Libp2pOptions
from wherry_libp2p.transport import Libp2pTransport

FAKE = Path(__file__).with_name("fake_libp2p.py")
PEER = "12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY"
ADDRESS = f"libp2p:/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
DATA = [b"one", b"", b"three" * 1000, bytes(2 * 1024 * 1024)]
CIDS = [CID.of(RAW, data) for data in DATA]


class Fake:
    def __init__(self, folder):
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        self.python.chmod(0o700)
        (folder / "blocks").mkdir()
        (folder / "home").mkdir()
        for cid, data in zip(CIDS, DATA, strict=True):
            (folder / "blocks" / bytes(cid).hex()).write_bytes(data)
        self.mode("good")

    def mode(self, mode):
        (self.folder / "mode").write_text(mode)

    def pids(self):
        return [int(line) for line in (self.folder / "starts").read_text().split()]

    def transport(self, **options):
        options = {"start_timeout": Duration(20.0), "idle_timeout": Duration(20.0)} | options
        env = Env(self.folder / "home", {}, **{name: options.pop(name) for name in ("dial", "gate") if name in options})
        return Libp2pTransport(Libp2pOptions(python=self.python, **options), env)


@pytest.fixture
def fake(tmp_path):
    made = Fake(tmp_path)
    yield made
    for pid in made.pids() if (tmp_path / "starts").exists() else ():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)  # none is left behind, whatever happened


def wants(*, sized=True):
    return [Want(cid, len(data) if sized else None) for cid, data in zip(CIDS, DATA, strict=True)]
