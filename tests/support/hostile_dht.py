"""A libp2p peer that answers questions of a DHT as none should, in a process of its own; for tests/interop.

    python hostile_dht.py MODE

Prints its multiaddr, and ``asked`` when it is asked. In the mode ``honest`` it names a provider at 192.0.2.7.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress

import trio
from fake_dht import addr, answer, peer_id, record
from multiaddr import Multiaddr

from wherry_libp2p.frames import ANSWER_BYTES_MAX
from wherry_libp2p.host import make_host
from wherry_libp2p.messages import varint


def said(mode):
    """The bytes on the stream."""
    good = answer(closer=[record(peer_id(1))], providers=[record(peer_id(7), addr("192.0.2.7"))])
    if mode == "oversize":
        return varint(ANSWER_BYTES_MAX + 1) + bytes(ANSWER_BYTES_MAX + 1)
    if mode == "endless":
        return b"\xff" * 64
    if mode == "junk":
        return varint(1000) + secrets.token_bytes(1000)
    if mode == "cut":
        return (varint(len(good)) + good)[:-10]
    if mode == "honest":
        return varint(len(good)) + good
    return b""  # hangup


async def main(mode):
    host = make_host(secrets.token_bytes(32), 8)

    async def asked(stream):
        print("asked", flush=True)
        with suppress(Exception):  # what libp2p raises when the other side cuts it is of many kinds
            await stream.read(2)
            await stream.write(said(mode))
            if mode == "silent":
                await trio.sleep_forever()
            if mode == "reset":
                await stream.reset()
            await stream.close()

    host.set_stream_handler("/ipfs/lan/kad/1.0.0", asked)
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
