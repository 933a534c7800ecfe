"""Connections that are not there, for the swarm: they write down what they are told, and close when they are told to."""

from __future__ import annotations

import random
from collections import defaultdict

from wherry.abc.exchange import HaveMap, PeerInfo, PeerLink
from wherry.cid import CID, RAW
from wherry.stretches import Stretches
from wherry.swarm.swarm import Swarm
from wherry.units import MiB

ROOT = CID.of(RAW, b"a dataset")


def cid(number):
    return CID.of(RAW, b"block %d" % number)


def spans(*units):
    return Stretches((unit * MiB, (unit + 1) * MiB) for unit in units)


def have(*units, complete=False, choosy=False):
    return HaveMap(spans(*units), complete, choosy)


class Link(PeerLink):
    """See `PeerLink`. `peer` is set by `meet`."""

    def __init__(self, address="tcp://10.0.0.1:1", *, id="", ip="10.0.0.1", incoming=True):
        self.info = PeerInfo("tcp", id, address, ip, incoming)
        self.channel = None
        self.peer = None
        self.follows = []
        self.told = defaultdict(list)  # root -> (units or "all" or None, choosy)
        self.gained = []
        self.peers = []
        self.answering = []
        self.choked = []
        self.reason = None

    def follow(self, root):
        self.follows.append(root)

    def unfollow(self, root):
        self.follows.remove(root)

    def tell_have(self, root, have, gained=None):
        self.told[root].append(None if have is None else have._replace(spans=have.spans.copy()))
        self.gained.append(gained)

    def tell_peers(self, addresses):
        self.peers += addresses

    def answer(self, request):
        self.answering.append(request)

    def choke(self, *, on):
        self.choked.append(on)
        if on:
            self.answering.clear()

    def close(self, reason):
        if self.reason is None:
            self.reason = reason
            self.peer.closed(reason)

    # For tests

    def answered(self, sent=MiB):
        """The answer that was begun first is over."""
        self.peer.answered(self.answering.pop(0), sent)


class Listens:
    """See `Listener`."""

    def __init__(self):
        self.heard = []

    def met(self, link, peer_info):
        self.heard.append(("met", link))

    def has(self, link, have, gained):
        self.heard.append(("has", link, have.spans.total, have.complete))

    def choked(self, link, on):
        self.heard.append(("choked", link, on))

    def lost(self, link, reason):
        self.heard.append(("lost", link))

    def hints(self, addresses, by):
        self.heard.append(("hints", tuple(addresses)))


class World:
    """One node with a clock that is set by hand."""

    def __init__(self, *, seed=1, held=None, options=None, judge=None, addresses=(), **told):
        self.now = 100.0
        self.held = held or {}
        judged = told if judge is None else {**told, "judge": judge}
        self.swarm = Swarm(
            None, lambda: addresses, self.held.get, clock=lambda: self.now, rng=random.Random(seed), options=options, **judged
        )

    def meet(self, number=1, **info):
        link = Link(f"tcp://10.0.0.{number}:1", ip=f"10.0.0.{number}", **info)
        link.peer = self.swarm.meet(link)
        return link

    def after(self, seconds, step=0.1):
        """Lets time pass, as a clock does."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.swarm.tick()
