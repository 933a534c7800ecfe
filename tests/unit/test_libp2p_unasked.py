"""A libp2p peer that sends other blocks than it was asked for is told from one whose answers come late or twice."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from wherry_libp2p.bitswap import Exchange
from wherry_libp2p.faults import Lies, of_request
from wherry_libp2p.fetch import Fetch
from wherry_libp2p.frames import Fault
from wherry_libp2p.peer import _ASKED_MAX

trio = pytest.importorskip("trio", reason="the extra libp2p is not installed: tox -e libp2p")
testing = pytest.importorskip("trio.testing")
pb = pytest.importorskip("libp2p.bitswap.pb.bitswap_pb2", reason="the extra libp2p is not installed: tox -e libp2p")

RIGHT = [b"right %d" % number for number in range(8)]
CIDS = [b"\x01\x55\x12\x20" + hashlib.sha256(data).digest() for data in RIGHT]


class Host:
    def set_stream_handler(self, protocol, handler):
        pass

    def get_network(self):
        return SimpleNamespace(register_notifee=lambda notifee: None)


class Asked:
    """A peer of whom blocks are wanted."""

    def __init__(self, nursery):
        self.exchange = Exchange(Host(), nursery, None, peer_wants=1, peers=8)
        self.peer = self.exchange.peer("a")
        self.peer.send = self.sent
        self.wanted = []  # the CIDs of each message that was sent

    async def sent(self, message):
        self.wanted.append([bytes(entry.block) for entry in message.wantlist.entries if not entry.cancel])

    async def want(self, *cids):
        async def receive(index, data):
            pass

        fetch = Fetch(list(cids), receive)
        self.peer.want(fetch)
        await testing.wait_all_tasks_blocked()
        return fetch

    async def give_up(self, fetch):
        await self.peer.cancel(fetch)
        self.peer.drop(fetch)

    async def says(self, *datas, dont_have=()):
        message = pb.Message()
        for data in datas:
            message.payload.add(prefix=b"\x01\x55\x12\x20", data=data)
        for cid in dont_have:
            message.blockPresences.add(cid=cid, type=1)
        await self.exchange._take(message, self.peer)
        await testing.wait_all_tasks_blocked()


def run(work):
    async def nursed():
        async with trio.open_nursery() as nursery:
            await work(Asked(nursery))

    trio.run(nursed)


def test_a_few_blocks_that_were_not_asked_for_end_what_is_wanted():
    async def work(asked):
        first, second = await asked.want(*CIDS[:4]), await asked.want(*CIDS[4:])
        await asked.says(RIGHT[0], b"wrong", b"wrong, too")
        assert first.problem is None
        await asked.says(RIGHT[4], b"wrong again")
        for fetch in (first, second):
            assert fetch.ended.is_set()
            assert isinstance(fetch.problem, Lies)
            words = "sends blocks that were not asked for (3)"
            assert of_request(fetch.problem, alive=True) == (Fault.LIES, words)
        assert asked.exchange.counts["unsolicited"] == 3

    run(work)


@pytest.mark.parametrize("order", [(b"wrong", RIGHT[1]), (RIGHT[1], b"wrong")])
def test_where_all_else_has_come_it_is_asked_again_at_once(order):
    async def work(asked):
        fetch = await asked.want(*CIDS[:2])
        await asked.says(*order)
        assert asked.wanted == [CIDS[:2], CIDS[:1]]
        await asked.says(RIGHT[1])  # a late answer is none to that, nor a reason to ask again
        assert len(asked.wanted) == 2
        await asked.says(b"wrong, too")
        assert asked.wanted[2:] == [CIDS[:1]]
        assert fetch.problem is None
        await asked.says(b"wrong again")
        assert str(fetch.problem) == "sends blocks that were not asked for (3)"
        assert isinstance(fetch.problem, Lies)

    run(work)


def test_who_was_asked_before_this_process_was_started_may_answer_late():
    async def work(asked):
        fetch = await asked.want(CIDS[0])
        await asked.says(b"asked for by the one before", b"this, too")
        assert fetch.problem is None
        await asked.says(RIGHT[0])
        assert fetch.ended.is_set()
        assert fetch.problem is None

    run(work)


def test_where_the_peer_says_that_it_has_no_more_it_is_asked_again_for_the_rest():
    async def work(asked):
        fetch = await asked.want(*CIDS[:2])
        await asked.says(b"wrong")
        assert asked.wanted == [CIDS[:2]]
        await asked.says(dont_have=CIDS[:1])
        assert asked.wanted[1:] == [CIDS[1:2]]
        await asked.says(dont_have=CIDS[1:2])
        assert fetch.ended.is_set()
        assert fetch.problem is None

    run(work)


def test_answers_that_come_late_or_twice_are_no_lies():
    async def work(asked):
        given_up = await asked.want(*CIDS[:4])
        await asked.give_up(given_up)
        fetch = await asked.want(*CIDS[4:])
        await asked.says(*RIGHT[:4], RIGHT[4], RIGHT[4], RIGHT[4], *RIGHT[:4], dont_have=CIDS[:4])
        await asked.says(RIGHT[5], RIGHT[6], RIGHT[6], *RIGHT[:4])
        assert fetch.problem is None
        await asked.says(RIGHT[7])
        assert fetch.ended.is_set()
        assert fetch.problem is None

    run(work)


def test_what_comes_while_nothing_is_wanted_is_only_counted():
    async def work(asked):
        await asked.says(b"wrong", b"wrong, too", b"wrong again")
        fetch = await asked.want(CIDS[0])
        await asked.says(RIGHT[0])
        assert fetch.problem is None
        assert asked.exchange.counts["unsolicited"] == 3

    run(work)


def test_what_was_asked_for_is_remembered_within_bounds():
    async def work(asked):
        for number in range(_ASKED_MAX + 100):
            await asked.give_up(await asked.want(number.to_bytes(36, "big")))
        assert len(asked.peer._asked) == _ASKED_MAX

    run(work)
