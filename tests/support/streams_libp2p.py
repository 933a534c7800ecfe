"""A libp2p peer that keeps to every window, and opens a stream for each message, as Helia does; and one that fetches from it.

    python streams_libp2p.py SIZE AT_ONCE LOST known|unknown

The first gives 64 blocks of ``SIZE`` bytes, ``AT_ONCE`` at a time, and loses the first streams of ``LOST`` of them; whether
their sizes are known to the other is the last word. Prints JSON: whether all came, and what could not be sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import sys

import trio
from libp2p.bitswap.pb.bitswap_pb2 import Message
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from wherry_libp2p.bitswap import Exchange
from wherry_libp2p.fetch import Fetch
from wherry_libp2p.host import make_host
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, length_of, message_of, varint
from wherry_libp2p.peer import PROTOCOLS

COUNT = 64


class Giving:
    """A host that gives blocks, so many at a time, each on a stream of its own. The first of some it loses."""

    def __init__(self, nursery, blocks, *, at_once, lost=()):
        self.host, self.nursery, self.blocks, self.lost = make_host(secrets.token_bytes(32), 8), nursery, blocks, set(lost)
        self.slots = trio.Semaphore(at_once)
        self.failures = []
        for protocol in PROTOCOLS:
            self.host.set_stream_handler(protocol, self.opened)

    async def opened(self, stream):
        while (length := await length_of(stream, MESSAGE_BYTES_MAX)) is not None:
            for entry in (await message_of(stream, length)).wantlist.entries:
                if not entry.cancel:
                    self.nursery.start_soon(self.give, stream.muxed_conn.peer_id, bytes(entry.block))

    async def give(self, peer, cid):
        message = Message()
        message.payload.add(prefix=cid[:4], data=self.blocks[cid])
        data = message.SerializeToString()
        async with self.slots:
            try:
                stream = await self.host.new_stream(peer, PROTOCOLS)
                if cid in self.lost:
                    self.lost.discard(cid)
                    await stream.write(varint(len(data)) + data[: len(data) // 2])
                    await stream.reset()
                    return
                await stream.write(varint(len(data)) + data)
                await stream.close()
            except Exception as problem:  # libp2p's are many, of no common kind
                self.failures.append(repr(problem))


def exchanged(size, at_once, lost, *, sized):
    """Says whether all came of such a peer, and what it could not send."""
    blocks = [random.Random(number).randbytes(size) for number in range(COUNT)]
    cids = [b"\x01\x55\x12\x20" + hashlib.sha256(data).digest() for data in blocks]

    async def work():
        local = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
        async with trio.open_nursery() as nursery:
            mine = make_host(secrets.token_bytes(32), 8)
            giving = Giving(nursery, dict(zip(cids, blocks, strict=True)), at_once=at_once, lost=cids[:lost])
            async with mine.run(listen_addrs=local), giving.host.run(listen_addrs=local):
                exchange = Exchange(mine, nursery, None, peer_wants=16, peers=8)
                await mine.connect(PeerInfo(giving.host.get_id(), giving.host.get_addrs()))
                got = {}

                async def receive(index, data):
                    got[index] = data

                peer = exchange.peer(giving.host.get_id())
                fetch = Fetch(cids, receive, [size if sized else None] * COUNT)
                peer.want(fetch)
                await peer.fulfilled(fetch, 20.0)
                nursery.cancel_scope.cancel()
        return {"came": got == dict(enumerate(blocks)), "unsent": giving.failures, "problem": repr(fetch.problem)}

    return trio.run(work)


if __name__ == "__main__":
    size, at_once, lost = map(int, sys.argv[1:4])
    print(json.dumps(exchanged(size, at_once, lost, sized=sys.argv[4] == "known")), flush=True)
    os._exit(0)  # what libp2p leaves open is no matter here
