"""Gets of torrents: what is seeded, in this process and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from wherry.session import Session

LOOPBACK = {"WHERRY_TRANSPORT__TORRENT__LISTEN": "127.0.0.1:0"}


def planted(tmp_path):
    """Makes a folder, ``source/tree``, to be seeded."""
    root = tmp_path / "source" / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(os.urandom((1 << 20) + 17))
    (root / "sub" / "a name").write_bytes(b"small")
    (root / "sub" / "empty").touch()
    return root


def getting(tmp_path, what, output, **options):
    """Gets a torrent in this process; gives the result, and what `add` says of the source."""

    async def run():
        async with Session.open(home=tmp_path / "home", environ=LOOPBACK) as session:
            return await session.get_torrent(str(what), output=str(output), **options)

    return asyncio.run(run())


def wherry(tmp_path, *words, **options):
    environ = {**os.environ, **LOOPBACK, "WHERRY_HOME": str(tmp_path / "home")}
    return subprocess.Popen(
        [sys.executable, "-m", "wherry_cli", *map(str, words)], env=environ, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def progress(process, least):
    """Waits until so many bytes are there; gives how many."""
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "progress" and event["phase"] == "fetch" and event["bytes_done"] >= least:
            return event["bytes_done"]
    raise AssertionError("it ended before")


def until(process, found):
    """Waits for an event; gives it."""
    for line in process.stderr:
        if found(event := json.loads(line)):
            return event
    raise AssertionError("it ended before")


def noted(words):
    return lambda event: event.get("event") == "note" and words in event["text"]
