"""A listener of libp2p whose process ends: it is started again whatever that fails of, and all of it is said."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from wherry.errors import LocalError, PeerUnreachable
from wherry.testing.blocks import MemorySource
from wherry_libp2p.options import Libp2pOptions
from wherry_libp2p.places import parse_place
from wherry_libp2p.process import Process
from wherry_libp2p.transport import _Serving

PLACE = "/ip4/127.0.0.1/tcp/4444"
PEER = "12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY"
FULL = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Running:
    """A process that is ended by the test."""

    listen, peer_id, end = (f"{PLACE}/p2p/{PEER}",), PEER, "the libp2p process ended: it said nothing for 30 s"

    def __init__(self):
        self.ended = asyncio.Event()

    async def stop(self):
        self.ended.set()


class Starting:
    """A transport whose starts come out as the test says."""

    def __init__(self, *outcomes):
        self.outcomes, self.notes, self.made = list(outcomes), [], []

    async def launch(self, listen):
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        self.made.append(Running())
        return self.made[-1]

    def crashed(self):
        return 0.0

    def emit(self, event):
        self.notes.append((event.level, event.text))


async def test_a_listener_is_kept_and_said_whatever_a_start_fails_of():
    transport = Starting(None, FULL, FULL, PeerUnreachable("it rests"), None, None)
    serving = _Serving(transport, parse_place(f"libp2p:{PLACE}"), MemorySource({}))
    await serving.start()
    keeper = asyncio.ensure_future(serving.keep())
    try:
        for count in (1, 2):
            transport.made[-1].ended.set()
            async with asyncio.timeout(10):
                while len(transport.made) == count:
                    await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert not keeper.done()
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    address = f"libp2p:{PLACE}/p2p/{PEER}"
    ended = ("warning", f"{address}: {Running.end}; it is started again in 0 s")
    back = ("info", f"{address}: listened on again")
    failed = [
        ("warning", f"{address}: {words}; it is started again in 0 s") for words in (os.strerror(errno.EMFILE), "it rests")
    ]
    assert transport.notes == [ended, *failed, back, ended, back]


async def test_without_a_socket_for_it_a_process_fails_in_words(monkeypatch):
    def none_left():
        raise FULL

    monkeypatch.setattr(socket, "socketpair", none_left)
    with pytest.raises(LocalError, match="Too many open files") as caught:
        await Process.start(Libp2pOptions(), bytes(32), ())
    assert "ulimit" in caught.value.hint
