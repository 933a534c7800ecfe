"""What a fetcher says of its sources, and how often."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from wherry.abc.transport import Channel
from wherry.buffers import BufferPool
from wherry.cid import CID, RAW
from wherry.errors import NoSource, PeerUnreachable
from wherry.transfer import scheduler as scheduler_module
from wherry.transfer.fetch import Fetcher
from wherry.transfer.running import running


class Gone(Channel):
    """Ends whenever it is asked."""

    async def fetch(self, wants, lender):
        raise PeerUnreachable("it ended the connection", peer="peer")
        yield


async def test_of_a_source_that_comes_and_goes_it_is_said_once_in_a_while(monkeypatch):
    monkeypatch.setattr(scheduler_module, "_BACKOFF_FIRST_S", 0.01)
    notes, calls = [], []

    @asynccontextmanager
    async def connect(address):
        calls.append(address)
        yield Gone()

    made = Fetcher(["peer"], connect, BufferPool(), wait_s=1.0, observe=notes.append)
    with pytest.raises(NoSource):
        async with running(made):
            await made.nodes([CID.of(RAW, b"leaf")])
    assert len(calls) > 2
    assert [note.text for note in notes if "is gone" in note.text] == [
        "peer is gone (it ended the connection); trying again for up to 1 s"
    ]
