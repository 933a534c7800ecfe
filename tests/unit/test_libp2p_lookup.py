"""The way through a DHT (specs/0035 §7): it is found among a thousand honest peers, and liars send nobody far."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import aclosing

import pytest
from fake_dht import addr, answer, peer_id, record
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import PeerProtocolError, PeerUnreachable
from wherry_libp2p.kad import Ask, Contact, distance, named
from wherry_libp2p.lookup import ASKS_PER_PEER, NEAREST, PARALLEL, PLACES_MAX, Walk
from wherry_libp2p.places import Place

KEY = b"\x12\x20" + hashlib.sha256(b"what is looked for").digest()


def contact(number, host="192.0.2.1"):
    peer = peer_id(number)
    return Contact(peer, (Place("ip4", host, 1 + number % 60_000, named(peer)),))


def anywhere(place):
    return True


def walk_of(ask, *first, usable=anywhere, peers_max=60):
    return Walk(ask, usable, first or (contact(0),), peers_max)


async def all_of(walk, key=KEY, ask=Ask.PROVIDERS):
    async with aclosing(walk.towards(key, ask)) as answers:
        return [each async for each in answers]


class Honest:
    """A DHT of so many peers, each of whom knows some at each distance, as Kademlia has it; the nearest know the provider."""

    def __init__(self, count):
        chance = random.Random(count)
        self.peers = [peer_id(number) for number in range(count)]
        self.at = {peer: number for number, peer in enumerate(self.peers)}
        self.nearest = sorted(self.peers, key=lambda peer: distance(KEY, peer))[:NEAREST]
        self.known = {}
        for peer in self.peers:
            buckets = {}
            for other in chance.sample(self.peers, count):
                bucket = buckets.setdefault(distance(peer, other).bit_length(), [])
                if len(bucket) < NEAREST:
                    bucket.append(other)
            self.known[peer] = [other for bucket in buckets.values() for other in bucket]
        self.asked = []
        self.together = self.most = 0

    async def ask(self, contact, question):
        self.asked.append(contact.peer)
        self.together += 1
        self.most = max(self.most, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        near = sorted(self.known[contact.peer], key=lambda peer: distance(KEY, peer))[:NEAREST]
        closer = [record(peer, addr("192.0.2.1", 1 + self.at[peer])) for peer in near]
        providers = [record(peer_id(-1), addr("192.0.2.9"))] if contact.peer in self.nearest else []
        return answer(closer=closer, providers=providers)


def test_the_nearest_of_many_are_found_by_asking_few():
    dht = Honest(600)
    walk = walk_of(dht.ask)
    answers = asyncio.run(all_of(walk))
    assert set(dht.nearest) <= set(dht.asked)
    assert len(dht.asked) == len(set(dht.asked)) < 60
    assert dht.most <= PARALLEL
    assert sum(bool(each.providers) for each in answers) == NEAREST
    assert walk.answers == len(answers) == len(dht.asked)
    assert not walk.failures


def test_some_who_are_gone_do_not_matter():
    dht = Honest(300)
    gone = set(random.Random(1).sample(dht.peers[1:], 100))

    async def ask(contact, question):
        if contact.peer in gone:
            raise PeerUnreachable("gone")
        return await dht.ask(contact, question)

    walk = walk_of(ask, peers_max=120)
    answers = asyncio.run(all_of(walk))
    assert any(each.providers for each in answers)
    assert set(dht.nearest) - gone <= set(dht.asked)
    assert 0 < len(walk.failures) <= PARALLEL  # the first few are kept


def test_liars_who_name_ever_more_are_met_within_bounds():
    asked = []

    async def ask(contact, question):
        asked.append(contact.peer)
        made = [record(peer_id(1000 * len(asked) + number), addr("192.0.2.1", 1 + number)) for number in range(50)]
        return answer(closer=made)

    asyncio.run(all_of(walk_of(ask, peers_max=30)))
    assert len(asked) == len(set(asked)) == 30
    walk = walk_of(ask, peers_max=30)

    async def twice():
        for number in range(20):
            await all_of(walk, peer_id(number), Ask.NODE)

    asked.clear()
    asyncio.run(twice())
    assert len(set(asked)) <= 30
    assert len(asked) <= ASKS_PER_PEER * 30


def test_an_address_that_the_policy_forbids_is_not_met():
    asked = []

    async def ask(contact, question):
        asked.append(contact)
        inwards = [record(peer_id(number), addr("10.0.0.1"), addr("127.0.0.1", number)) for number in range(1, 10)]
        mixed = record(peer_id(10), addr("10.0.0.1"), *[addr("192.0.2.1", port) for port in range(1, 9)])
        return answer(closer=[*inwards, mixed])

    asyncio.run(all_of(walk_of(ask, usable=lambda place: place.host.startswith("192."))))
    assert [each.peer for each in asked] == [peer_id(0), peer_id(10)]
    assert [place.host for place in asked[1].places] == ["192.0.2.1"] * PLACES_MAX


def test_who_was_named_with_a_wrong_address_is_reached_by_the_right_one():
    """A liar cannot hide a peer by naming it first."""
    asked = {}

    async def ask(contact, question):
        asked[contact.peer] = contact.places
        who = peer_id(9)
        return answer(closer=[record(who, addr("192.0.2.66" if contact.peer == peer_id(0) else "192.0.2.1"))])

    async def run():
        walk = walk_of(ask, contact(0), contact(1), peers_max=2)
        await all_of(walk)
        return walk

    walk = asyncio.run(run())
    assert {place.host for place in walk.where(peer_id(9)).places} == {"192.0.2.66", "192.0.2.1"}
    assert walk.where(peer_id(8)) is None


BAD = [b"", b"\xff" * 100, b"\x08\x04", b"\x08\x03\x4a\xff\xff\x03", bytes(600_000)]


@pytest.mark.parametrize("junk", BAD, ids=["nothing", "no number", "another kind", "past the end", "too long"])
def test_junk_is_the_failure_of_who_sent_it(junk):
    async def ask(contact, question):
        if contact.peer == peer_id(0):
            return answer(closer=[record(peer_id(1), addr("192.0.2.1")), record(peer_id(2), addr("192.0.2.2"))])
        return junk if contact.peer == peer_id(1) else answer(providers=[record(peer_id(3), addr("192.0.2.3"))])

    walk = walk_of(ask)
    answers = asyncio.run(all_of(walk))
    assert [one.peer for each in answers for one in each.providers] == [peer_id(3)]
    (failure,) = walk.failures
    assert type(failure) is PeerProtocolError
    assert failure.peer.endswith(f"/p2p/{named(peer_id(1))}")


def test_stopped_early_it_leaves_no_task():
    async def run():
        async def ask(contact, question):
            if contact.peer != peer_id(0):
                await asyncio.Event().wait()
            return answer(closer=[record(peer_id(number), addr("192.0.2.1", number)) for number in range(1, 9)])

        async with aclosing(walk_of(ask).towards(KEY, Ask.PROVIDERS)) as answers:
            await anext(answers)
            asking = asyncio.ensure_future(anext(answers))
            while len(asyncio.all_tasks()) < 2 + 8:
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@given(st.data())
def test_whatever_is_answered_the_bounds_hold(data):
    asked = []
    numbers = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["192.0.2.1", "10.0.0.1", "::1", "a.b"])), max_size=6)

    async def ask(contact, question):
        asked.append(contact.peer)
        kind = data.draw(st.sampled_from(["fails", "junk", "answers", "answers"]))
        if kind == "fails":
            raise PeerUnreachable("gone")
        if kind == "junk":
            return data.draw(st.binary(max_size=40))
        return answer(closer=[record(peer_id(number), addr(host)) for number, host in data.draw(numbers)])

    walk = walk_of(ask, peers_max=10, usable=lambda place: place.host == "192.0.2.1")
    asyncio.run(all_of(walk))
    assert len(asked) == len(set(asked)) <= 10
