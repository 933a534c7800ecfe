"""A DHT without libp2p: its messages as bytes, and the process of `fake_libp2p.py` that answers with them."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import sys
from pathlib import Path

from wherry.env import Env
from wherry.plugin import Duration
from wherry.protobuf import varint
from wherry_libp2p.kad import named
from wherry_libp2p.kademlia import Kademlia
from wherry_libp2p.options import KademliaOptions

FAKE = Path(__file__).with_name("fake_libp2p.py")
PROVIDERS, NODE = 3, 4


def peer_id(number):
    """The id of a peer with an Ed25519 key: always the same for a number."""
    return b"\x00\x24\x08\x01\x12\x20" + hashlib.sha256(b"%d" % number).digest()


def addr(host, port=4001, tail=b""):
    """A multiaddr of TCP in its binary form; ``host`` is an IP address or a name."""
    try:
        ip = ipaddress.ip_address(host)
        head = (b"\x04" if ip.version == 4 else b"\x29") + ip.packed
    except ValueError:
        head = b"\x35" + bytes((len(host),)) + host.encode()
    return head + b"\x06" + port.to_bytes(2, "big") + tail


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def record(peer, *addrs):
    return field(1, peer) + b"".join(field(2, each) for each in addrs) + field(3, 1)


def answer(kind=PROVIDERS, closer=(), providers=()):
    peers = [*(field(8, each) for each in closer), *(field(9, each) for each in providers)]
    return field(1, kind) + field(2, b"\x12\x20" + bytes(32)) + b"".join(peers) + field(10, 0)


class FakeDht:
    """Peers of a DHT in a folder, answered for by a process that speaks the frames of specs/0035."""

    def __init__(self, folder):
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        self.python.chmod(0o700)
        for name in ("blocks", "dht", "home"):
            (folder / name).mkdir()
        self.mode("good")

    def mode(self, mode):
        (self.folder / "mode").write_text(mode)

    def says(self, number, *answers):
        """Has the peer of this number answer so, once for each question; the last answer to all that follow."""
        for at, each in enumerate(answers):
            (self.folder / "dht" / f"{named(peer_id(number))}.{at}").write_bytes(each)

    def place(self, number, host="127.0.0.1"):
        return f"/ip4/{host}/tcp/{4000 + number}/p2p/{named(peer_id(number))}"

    def locator(self, *first, reach="named", timeout=20.0, **options):
        own = KademliaOptions(
            bootstrap=first or (self.place(0),), reach=reach, python=self.python, timeout=Duration(timeout), **options
        )
        return Kademlia(own, Env(self.folder / "home", {}))

    def log(self, name):
        """What the process wrote of itself: ``starts`` (its pids), ``dials`` (addresses), ``asks`` (peers)."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def left(self):
        """The processes that still run."""
        found = []
        for pid in map(int, self.log("starts")):
            try:
                os.kill(pid, 0)
                found.append(pid)
            except ProcessLookupError:
                continue
        return found
