"""A get in the swarm: which connection a peer is asked over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from wherry.abc.exchange import HaveMap, PeerInfo
from wherry.cid import CID, RAW
from wherry.stretches import Stretches
from wherry.transfer.member import Membership

ROOT = CID.of(RAW, b"root")
HERE = PeerInfo("tcp", "", "tcp://192.0.2.1:4290", "192.0.2.1", incoming=False)


class Fetcher:
    """Keeps what it is told, and never asks anybody."""

    def __init__(self):
        self.sources, self.told, self.flow = [], [], None

    def join(self, member):
        self.member = member

    def adopt(self, address, channel):
        self.sources.append(SimpleNamespace(address=address, alive=True))
        return asyncio.get_running_loop().create_task(asyncio.Event().wait())

    def learned(self, source, have, gained):
        self.told.append((source, have))


class Link:
    """A connection, as far as a get looks at it."""

    def __init__(self, info):
        self.info, self.channel = info, object()


@pytest.mark.parametrize(
    ("incoming", "same"),
    [
        (HERE._replace(incoming=True), True),
        (HERE._replace(incoming=True, address=""), False),  # it does not say where it can be dialled
        (HERE._replace(incoming=True, ip="192.0.2.9"), False),  # says so, and is somewhere else
        (HERE._replace(incoming=True, id="12D3"), False),  # a key that the other connection did not prove
        (HERE._replace(incoming=True, address="tcp://192.0.2.1:4291"), False),
    ],
)
def test_who_dialled_us_while_we_dialled_it_is_asked_over_one_connection(incoming, same):
    """Two that hear of each other at one moment dial each other: as two sources it would be asked for everything twice."""

    async def run():
        fetcher = Fetcher()
        swarm = SimpleNamespace(enter=lambda *_: None)
        member = Membership(ROOT, fetcher, swarm, None, lambda _note: None)
        called, dialled = Link(incoming), Link(HERE)
        member.met(called, incoming)
        (adopted,) = member._adopted.values()
        own = SimpleNamespace(address=HERE.address)
        member.has(dialled, HaveMap(Stretches([(0, 1)])), None)
        member.bind(dialled, own)
        assert fetcher.told == [(own, HaveMap(Stretches([(0, 1)])))], "what it said before holds"
        await asyncio.sleep(0)
        assert adopted.cancelled() is same
        member.leave()
        await asyncio.wait([adopted])

    asyncio.run(run())


def test_keys_tell_a_peer_wherever_it_is():
    async def run():
        fetcher = Fetcher()
        member = Membership(ROOT, fetcher, SimpleNamespace(enter=lambda *_: None), None, lambda _note: None)
        called = Link(PeerInfo("tcps", "12D3", "tcps://10.0.0.7:4290", "203.0.113.7", incoming=True))
        member.met(called, called.info)
        (adopted,) = member._adopted.values()
        member.bind(Link(PeerInfo("tcps", "12D3", "tcps://192.0.2.1:4290", "192.0.2.1", incoming=False)), SimpleNamespace())
        await asyncio.wait([adopted])
        assert adopted.cancelled()
        member.leave()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("reason", "busy"),
    [
        ("tcp://x ended the connection: busy: 2 peers fetch this dataset here; ask the others", True),
        ("tcp://x has too much to do: busy: 256 peers are connected", True),
        ("tcp://x ended the connection: the node stops", False),
    ],
)
def test_a_source_that_sent_us_on_is_known_for_it(reason, busy):
    async def run():
        member = Membership(ROOT, Fetcher(), SimpleNamespace(enter=lambda *_: None), None, lambda _note: None)
        dialled, source = Link(HERE), SimpleNamespace(address=HERE.address, busy=False)
        member.bind(dialled, source)
        member.lost(dialled, reason)
        assert source.busy is busy
        member.leave()

    asyncio.run(run())
