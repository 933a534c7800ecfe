"""A libp2p peer that speaks Bitswap as none should, in a process of its own; for tests/interop.

    python hostile_libp2p.py MODE FILE

Prints its multiaddr. It answers wants of the one block that ``FILE`` is as ``MODE`` says, and prints ``asked`` before. In the
mode ``ask``, ``FILE`` is a multiaddr, which is sent messages that are too long, junk, and 200,000 wants; then comes ``asked``.
``fill`` opens 200 streams to it with a byte on each, and 40 on each of which it begins a message of 4 MiB; it ends none, and
keeps to no window. ``brim`` begins 48 of 4 MiB on each of three connections, and keeps to every window.
``told-MODE`` fetches from such a peer in the same process, and prints the kind of the problem. ``led`` and ``free`` meet one
that says it is elsewhere and hangs up, with the process's guard and without, and print whether it was dialled there.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import trio
from libp2p.bitswap.pb.bitswap_pb2 import Message
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from multiaddr import Multiaddr

from wherry_libp2p.bitswap import Exchange
from wherry_libp2p.fetch import Fetch
from wherry_libp2p.frames import Head, Kind
from wherry_libp2p.host import make_host
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, length_of, message_of, varint
from wherry_libp2p.peer import PROTOCOLS
from wherry_libp2p.sidecar import Bridge

RAW = b"\x01\x55\x12\x20"
SPAM = 64


def framed(message):
    data = message.SerializeToString()
    return varint(len(data)) + data


def blocks(*datas):
    message = Message()
    for data in datas:
        message.payload.add(prefix=RAW, data=data)
    return framed(message)


def answers(mode, data):
    """What is written when a block is wanted."""
    if mode == "wrong":
        yield blocks(bytes([data[0] ^ 1]) + data[1:])
    elif mode == "short":
        yield blocks(data[:-1])
    elif mode == "oversize":
        yield varint((4 << 20) + 1) + bytes(1 << 20)
    elif mode == "endless":
        yield b"\xff" * 64
    elif mode == "junk":
        yield varint(1000) + secrets.token_bytes(1000)
    elif mode == "cut":
        yield blocks(data)[: len(data) // 2]
    elif mode == "unsolicited":
        for _ in range(SPAM):
            yield blocks(secrets.token_bytes(1 << 20))
        yield blocks(secrets.token_bytes(10), data, data, b"")


def hostile_host(mode, data):
    """A host that answers wants of ``data`` as ``mode`` says."""
    host = make_host(secrets.token_bytes(32), 8)

    async def asked(stream):
        with suppress(Exception):  # what libp2p raises when the other side cuts it is of many kinds
            while (length := await length_of(stream, MESSAGE_BYTES_MAX)) is not None:
                message = await message_of(stream, length)
                await answer(stream.muxed_conn.peer_id, message)

    async def answer(peer, message):
        if all(entry.block != RAW + hashlib.sha256(data).digest() for entry in message.wantlist.entries):
            return
        print("asked", flush=True)
        back = await host.new_stream(peer, PROTOCOLS)
        for part in answers(mode, data):
            await back.write(part)
        if mode in ("hangup", "cut"):
            await host.disconnect(peer)

    for protocol in PROTOCOLS:
        host.set_stream_handler(protocol, asked)
    return host


async def serve(mode, data):
    host = hostile_host(mode, data)
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def told(mode, data):
    """Fetches from such a peer, and prints of what kind the problem is. Who waits for it until a time-out never says that."""
    host, local = make_host(secrets.token_bytes(32), 8), [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    hostile = hostile_host(mode, data)
    async with host.run(listen_addrs=local), hostile.run(listen_addrs=local), trio.open_nursery() as nursery:
        exchange = Exchange(host, nursery, None, peer_wants=1, peers=8)
        await host.connect(PeerInfo(hostile.get_id(), hostile.get_addrs()))
        fetch = Fetch([RAW + hashlib.sha256(data).digest()], None)
        peer = exchange.peer(hostile.get_id())
        peer.want(fetch)
        await fetch.ended.wait()
        print(type(fetch.problem).__name__, flush=True)
        await trio.sleep_forever()


class NoLine:
    """wherry is not there."""

    async def send(self, kind, request=0, index=0, body=b""):
        pass


async def led(guarded):
    """Dials a peer that says it listens where a canary does; when it has hung up, opens a stream to it."""
    host, hostile = (make_host(secrets.token_bytes(32), 8) for _ in range(2))
    local = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    knocks = 0

    async def canary(stream):
        nonlocal knocks
        knocks += 1
        await stream.aclose()

    async with host.run(listen_addrs=local), hostile.run(listen_addrs=local), trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), canary, 0)
        elsewhere = Multiaddr(f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}")
        where = hostile.get_addrs()[0]
        hostile.get_addrs = lambda: [elsewhere]
        bridge = Bridge(NoLine(), nursery)
        bridge.host = host
        known = host.get_peerstore().addrs
        if guarded:
            bridge.keep_to_the_named()
        await bridge._dial(Head(Kind.DIAL, 1, 0, 0), str(where))
        peer = hostile.get_id()
        while not any(str(elsewhere) in str(address) for address in known(peer)):
            await trio.sleep(0.01)
        await hostile.disconnect(host.get_id())
        while host.get_network().get_connections(peer):
            await trio.sleep(0.01)
        await hostile.close()  # so that nothing answers where it was
        with suppress(Exception), trio.move_on_after(10):
            await host.new_stream(peer, PROTOCOLS)
        print("dialled" if knocks else "kept", flush=True)
        await trio.sleep_forever()


async def ask(address):
    host = make_host(secrets.token_bytes(32), 8)
    info = info_from_p2p_addr(Multiaddr(address))
    wants = Message()
    for number in range(200_000):
        wants.wantlist.entries.add(block=RAW + hashlib.sha256(b"%d" % number).digest(), priority=1, wantType=number % 2)
    huge = framed(wants)
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        await host.connect(info)
        for sent in (
            varint(5 << 20) + bytes(1 << 20),
            b"\xff" * 64,
            varint(900) + secrets.token_bytes(900),
            huge[:3_000_000],
            huge,
        ):
            stream = await host.new_stream(info.peer_id, PROTOCOLS)
            with trio.move_on_after(5):
                try:
                    await stream.write(sent)
                except Exception as problem:  # it may be cut at any time, in any of libp2p's kinds
                    print(f"{problem!r}", file=sys.stderr)
        print("asked", flush=True)
        await trio.sleep_forever()


async def fill(address, hosts, rounds, window):
    local = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    info = info_from_p2p_addr(Multiaddr(address))

    async def begin(host, data):
        with suppress(Exception):  # it may be cut at any time
            stream = await host.new_stream(info.peer_id, PROTOCOLS)  # connects anew, where need be
            stream.muxed_stream.send_window = window or stream.muxed_stream.send_window
            await stream.write(data)

    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.run(listen_addrs=local))
            await host.connect(info)
        for data, count in rounds:
            with trio.move_on_after(10):
                async with trio.open_nursery() as nursery:
                    for host in hosts:
                        for _ in range(count):
                            nursery.start_soon(begin, host, data)
        print("asked", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    mode, what = sys.argv[1:]
    if mode in ("led", "free"):
        trio.run(led, mode == "led")
    elif mode == "ask":
        trio.run(ask, what)
    elif mode in ("fill", "brim"):
        begun, seed = varint(4 << 20) + bytes((4 << 20) - 10), secrets.token_bytes(32)
        if mode == "fill":
            trio.run(fill, what, [make_host(seed, 8)], ((b"\xff", 200), (begun, 40)), 1 << 30)
        else:
            trio.run(fill, what, [make_host(seed, 8) for _ in range(3)], ((begun, 48),), None)
    elif mode.startswith("told-"):
        trio.run(told, mode.removeprefix("told-"), Path(what).read_bytes())
    else:
        trio.run(serve, mode, Path(what).read_bytes())
