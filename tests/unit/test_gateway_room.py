"""What the walks of a process hold together, and that whoever asks for a page does not wait for them."""

from __future__ import annotations

import asyncio
import threading
from itertools import islice

import pytest
from gateways import Tree, ask, car_cids, gateway

from wherry import dagcbor
from wherry.cid import DAG_CBOR
from wherry.errors import LimitExceeded
from wherry.gateway import order, room
from wherry.gateway.blocks import Blocks
from wherry.gateway.order import Found, Walk
from wherry.gateway.request import CarWish
from wherry.publiccid import PublicCID
from wherry.testing.blocks import MemorySource
from wherry_http.gateway import handler


@pytest.fixture
def small_room(monkeypatch):
    for module in (room, order):
        monkeypatch.setattr(module, "GATEWAY_WALK_OWN", 20)
    monkeypatch.setattr(room, "GATEWAY_WALKS_MAX", 2)
    monkeypatch.setattr(room, "GATEWAY_WALKS_SEEN_MAX", 50)
    monkeypatch.setattr(room, "GATEWAY_WALKS_WAITING_MAX", 300)
    monkeypatch.setattr(order, "_STEP", 10)
    return room.Room()


def listed(tree, count, tag=0):
    return tree.put(dagcbor.encode([tree.put(dagcbor.encode([tag, number]), DAG_CBOR) for number in range(count)]), DAG_CBOR)


def test_walks_that_remember_much_hold_no_more_together_than_there_is(small_room):
    tree = Tree()
    roots = [listed(tree, 150, tag) for tag in range(2)]
    with small_room.share() as one, small_room.share() as two:
        walks = [Walk(Blocks(tree.source()), CarWish(), share) for share in (one, two)]
        running = [walk.blocks(Found((), root)) for walk, root in zip(walks, roots, strict=True)]
        for _ in range(151):
            assert [next(run).cid.codec for run in running] == [DAG_CBOR] * 2
            assert sum(len(walk._seen._new) + len(walk._seen._old) for walk in walks) <= 2 * 20 + 50
        assert [list(run) for run in running] == [[], []]  # and nothing is left out for it
        assert small_room.seen == 0
        with small_room.share() as third:
            assert third is None
    assert (small_room.walks, small_room.seen, small_room.waiting) == (0, 50, 300)
    assert not one.remember(1)  # a thread that still walks
    assert not one.wait(21)


def test_links_that_wait_in_all_walks_are_bounded(small_room):
    tree = Tree()
    root = listed(tree, 200)
    blocks = Blocks(tree.source())
    with small_room.share() as one, small_room.share() as two:
        first = Walk(blocks, CarWish(), one).blocks(Found((), root))
        second = Walk(blocks, CarWish(), two).blocks(Found((), root))
        [next(first) for _ in range(2)]
        next(second)
        with pytest.raises(LimitExceeded, match="200 links wait in one walk, and more in others"):
            next(second)
        assert len(list(first)) == 199
    with small_room.share() as share:
        assert len(list(Walk(blocks, CarWish(), share).blocks(Found((), root)))) == 201


def test_a_walk_that_remembers_little_does_not_go_in_circles_and_send_nothing(small_room):
    tree = Tree()
    at = tree.put(dagcbor.encode([]), DAG_CBOR)
    for _ in range(40):  # each level doubles what is below, and a walk with so little room forgets the deeper half of them
        at = tree.put(dagcbor.encode([at, at]), DAG_CBOR)
    blocks = Blocks(tree.source())
    read = 0

    def node(cid):
        nonlocal read
        read += 1
        return Blocks.node(blocks, cid)

    blocks_of = Blocks(tree.source())
    blocks_of.node = node
    small_room.seen = 0
    with small_room.share() as share:
        for sent, _ in enumerate(islice(Walk(blocks_of, CarWish(), share).blocks(Found((), at)), 2000)):
            assert read <= 2 * sent + 10


class Gated(MemorySource):
    """Looks for some blocks only when it is told to go on."""

    def __init__(self, blocks, held_up):
        super().__init__(blocks)
        self.held_up, self.go_on, self.begun = {cid.digest for cid in held_up}, threading.Event(), threading.Semaphore(0)

    def find(self, cids):
        if any(cid.digest in self.held_up for cid in cids):
            self.begun.release()
            assert self.go_on.wait(30)
        return super().find(cids)


@pytest.fixture
def gated():
    tree = Tree()
    leaf, other = tree.file(b"a leaf"), tree.file(b"another")
    root, page = tree.dir(leaf=leaf), tree.dir(other=other)
    source = Gated(tree.blocks, [PublicCID(leaf.cid).block()])
    yield source, *(str(PublicCID(child.cid)) for child in (root, page, other))
    source.go_on.set()


async def test_too_many_cars_are_told_to_come_later_and_pages_are_not(gated, monkeypatch):
    source, root, page, other = gated
    monkeypatch.setattr(room, "GATEWAY_WALKS_MAX", 1)
    monkeypatch.setattr(handler, "_ROOM", room.Room())
    async with gateway(source, gateway="path") as address, asyncio.TaskGroup() as group:
        first = group.create_task(ask(address, f"/ipfs/{root}?format=car"))
        await asyncio.to_thread(source.begun.acquire)
        for path in (f"{page}?format=car", f"{page}?format=tar"):
            busy = await ask(address, f"/ipfs/{path}")
            assert (busy.status, busy.headers["retry-after"]) == (503, "5")
        for path in (f"{page}/", f"{page}/other", f"{other}?format=raw", f"{other}?format=car&dag-scope=block"):
            assert (await ask(address, f"/ipfs/{path}")).status == 200
        source.go_on.set()
        assert (await first).whole
        assert len(car_cids((await ask(address, f"/ipfs/{root}?format=car")).body)) == 2


@pytest.mark.parametrize("kind", ["car", "tar"])
async def test_a_page_does_not_wait_for_what_takes_long(gated, kind):
    source, root, page, _ = gated
    async with gateway(source, gateway="path") as address, asyncio.TaskGroup() as group:
        many = [group.create_task(ask(address, f"/ipfs/{root}?format={kind}")) for _ in range(8)]
        await asyncio.to_thread(source.begun.acquire)
        await asyncio.sleep(0.3)
        async with asyncio.timeout(5):
            assert (await ask(address, f"/ipfs/{page}/other")).body == b"another"
        source.go_on.set()
    assert all(task.result().whole for task in many)
