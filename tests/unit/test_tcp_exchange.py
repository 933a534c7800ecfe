"""The tcp transport with an exchange at both ends: have-maps, requests that wait, choking, cancelling, and closing."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager, suppress

import pytest
from codings import codings_of, text_file

from wherry.abc.exchange import Exchange, HaveMap, Peer
from wherry.abc.transport import BlockSource, Want
from wherry.cid import CID, RAW
from wherry.env import Env
from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerUnreachable, StoreError
from wherry.flow import Flow
from wherry.limits import WIRE_SPANS_MAX
from wherry.observe import Refused, Served
from wherry.stretches import Stretches
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.leaves import file_of, right, source_of
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport

ROOT = CID.of(RAW, b"root")


class Met(Peer):
    """Notes what the peer said; answers at once unless told otherwise."""

    def __init__(self, node, link):
        self.node, self.link = node, link
        self.said = []
        self.waiting = []

    def note(self, *what):
        self.said.append(what)
        self.node.bell.set()

    def follows(self, root):
        self.note("follows", root)

    def unfollows(self, root):
        self.note("unfollows", root)

    def has(self, root, have, gained=None):
        self.note("has", root, list(have.spans), have.complete, have.choosy, None if gained is None else list(gained))

    def has_nothing(self, root):
        self.note("has nothing", root)

    def peers(self, addresses):
        self.note("peers", tuple(addresses))

    def asked(self, request, cids):
        self.waiting.append(request)
        self.note("asked", request, len(cids))
        if self.node.answers:
            self.link.answer(request)

    def cancelled(self, request):
        self.note("cancelled", request)

    def answered(self, request, sent):
        self.note("answered", request, sent)

    def choked(self, *, on):
        self.note("choked", on)

    def closed(self, reason):
        self.note("closed", reason)


class Node(Exchange):
    """One end."""

    def __init__(self, source, home, *, refuses=None, **options):
        self.source, self.refuses, self.answers = source, refuses, True
        self.met, self.bell = [], asyncio.Event()
        self.transport = TcpTransport(
            TcpOptions(connect_timeout=5.0, idle_timeout=5.0, request_timeout=5.0, **options), Env(home, {})
        )
        self.transport.exchange(self)

    def meet(self, link):
        if self.refuses is not None:
            raise self.refuses
        self.met.append(Met(self, link))
        self.bell.set()
        return self.met[-1]

    def addresses(self):
        return ["tcp://192.0.2.7:4290"]

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self.bell.clear()
                await self.bell.wait()

    async def heard(self, *what):
        await self.until(lambda: self.met and what in [said[: len(what)] for said in self.met[0].said])


@asynccontextmanager
async def pair(tmp_path, one, two, scheme="tcp"):
    """Node ``one`` dials node ``two``."""
    address = f"unix://{tmp_path}/u" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    async with two.transport.listen(address, two.source) as found, one.transport.connect(found) as channel:
        await two.until(lambda: two.met)
        yield one.met[0], two.met[0], channel


def nodes(tmp_path, *, left=(), right=(), **options):
    for name in "ab":
        (tmp_path / name).mkdir()
    return Node(source_of(*left), tmp_path / "a", **options), Node(source_of(*right), tmp_path / "b", **options)


@pytest.mark.parametrize("end", [Chaos(truncate_at=1_000_000), Chaos(reset_after=1_000_000), Chaos(stall_after=1_000_000)])
async def test_who_is_lost_midway_is_to_be_dialled_anew_and_the_cause_is_told(tmp_path, end):
    """Else the next fetch would find that the connection has ended, and tell only that."""
    file = file_of("file", *[100_000] * 20)
    one, two = nodes(tmp_path, right=[file])
    async with (
        two.transport.listen("tcp://127.0.0.1:0", two.source) as found,
        ChaosProxy(("127.0.0.1", int(found.rpartition(":")[2])), down=end) as proxy,
        one.transport.connect(f"tcp://127.0.0.1:{proxy.port}") as channel,
    ):
        with pytest.raises(PeerUnreachable, match="cut|silent") as caught:
            await harvest(channel, [leaf.want for leaf in file], CountedPool())
    assert caught.value.peer == f"tcp://127.0.0.1:{proxy.port}"


@pytest.mark.parametrize("scheme", ["tcp", "tcps", "unix"])
async def test_both_sides_fetch_over_one_connection(tmp_path, scheme):
    mine, yours = file_of("mine", *[100_000] * 20), file_of("yours", *[70_000] * 20)
    one, two = nodes(tmp_path, left=[mine], right=[yours])
    async with pair(tmp_path, one, two, scheme) as (at_one, at_two, channel):
        assert at_two.link.info.incoming
        assert at_two.link.info.address == "tcp://192.0.2.7:4290"
        assert not at_one.link.info.incoming
        ids = (at_one.link.info.id, at_two.link.info.id)
        assert ids == (("", "") if scheme != "tcps" else (two.transport._node().peer_id, one.transport._node().peer_id))
        pool = CountedPool()
        for _ in range(3):
            found = await asyncio.gather(
                harvest(channel, [leaf.want for leaf in yours], pool),
                harvest(at_two.link.channel, [leaf.want for leaf in mine], pool),
            )
            right(found[0], yours)
            right(found[1], mine)
        assert pool.out == 0
        await two.heard("answered", 0, 20 * 70_000)
    await two.heard("closed")
    await one.heard("closed")


async def test_what_is_told_arrives(tmp_path):
    one, two = nodes(tmp_path)
    many = Stretches((3 * number, 3 * number + 1) for number in range(2 * WIRE_SPANS_MAX + 5))
    async with pair(tmp_path, one, two) as (at_one, at_two, _):
        at_one.link.follow(ROOT)
        await two.heard("follows", ROOT)
        at_two.link.tell_have(ROOT, HaveMap(Stretches([(5, 9)])))
        at_two.link.tell_have(ROOT, HaveMap(Stretches([(5, 20)])), [(9, 20)])
        at_two.link.tell_have(ROOT, HaveMap(Stretches([(0, 9)]), complete=True, choosy=True))
        at_two.link.tell_have(ROOT, HaveMap(Stretches(), complete=True))
        at_two.link.tell_have(ROOT, None)
        at_two.link.tell_have(ROOT, HaveMap(many))
        at_two.link.tell_peers([f"tcp://192.0.2.{number}:1" for number in range(30)])
        at_two.link.choke(on=True)
        await one.heard("choked", True)
        said = [what for what in at_one.said if what[0] != "peers"]
        assert said[:5] == [
            ("has", ROOT, [(5, 9)], False, False, None),
            ("has", ROOT, [(5, 20)], False, False, [(9, 20)]),
            ("has", ROOT, [(0, 9)], True, True, None),
            ("has", ROOT, [], True, False, None),
            ("has nothing", ROOT),
        ]
        assert said[-2][:3] == ("has", ROOT, list(many))
        assert [len(what[1]) for what in at_one.said if what[0] == "peers"] == [20, 10]
        at_one.link.unfollow(ROOT)
        await two.heard("unfollows", ROOT)


async def test_choking_drops_what_waits_and_what_comes(tmp_path):
    file = file_of("file", *[1000] * 4)
    wants = [leaf.want for leaf in file]
    one, two = nodes(tmp_path, right=[file])
    two.answers = False
    async with pair(tmp_path, one, two) as (_, at_two, channel):
        pool = CountedPool()
        fetching = asyncio.create_task(harvest(channel, wants, pool))
        await two.heard("asked", 0)
        at_two.link.choke(on=True)
        with pytest.raises(PeerBusy):
            await fetching
        await one.heard("choked", True)
        with pytest.raises(PeerBusy):
            await harvest(channel, wants, pool)
        two.answers = True
        at_two.link.choke(on=False)
        await one.heard("choked", False)
        right(await harvest(channel, wants, pool), file)
        assert pool.out == 0
        assert [what[0] for what in at_two.said] == ["asked", "asked", "answered"]


async def test_a_request_that_waits_can_be_cancelled(tmp_path):
    file = file_of("file", *[1000] * 4)
    wants = [leaf.want for leaf in file]
    one, two = nodes(tmp_path, right=[file])
    two.answers = False
    async with pair(tmp_path, one, two) as (_, at_two, channel):
        pool = CountedPool()
        fetching = asyncio.create_task(harvest(channel, wants, pool))
        await two.heard("asked", 0)
        fetching.cancel()
        with suppress(asyncio.CancelledError):
            await fetching
        await two.heard("cancelled", 0)
        at_two.link.answer(0)  # too late: nothing happens
        fetching = asyncio.create_task(harvest(channel, wants, pool))
        await two.heard("asked", 1)
        at_two.link.answer(1)
        right(await fetching, file)


async def test_requests_are_answered_in_the_order_that_core_says(tmp_path):
    files = [file_of(f"file{number}", 1000) for number in range(5)]
    one, two = nodes(tmp_path, right=files)
    two.answers = False
    async with pair(tmp_path, one, two) as (_, at_two, channel):
        pool = CountedPool()
        fetching = [asyncio.create_task(harvest(channel, [file[0].want], pool)) for file in files]
        await two.heard("asked", 4)
        for number in (3, 1, 4, 0, 2):
            at_two.link.answer(number)
            right(await fetching[number], files[number])


async def test_who_is_not_wanted_hears_it(tmp_path):
    one, two = nodes(tmp_path)
    for refusal in (PeerBusy("full"), PeerDenied("banned")):
        two.refuses = refusal
        async with (
            two.transport.listen("tcp://127.0.0.1:0", two.source) as address,
            one.transport.connect(address) as channel,
        ):
            with pytest.raises((type(refusal), PeerUnreachable)):
                await harvest(channel, [file_of("x", 10)[0].want], CountedPool())
            await one.until(lambda: any(what[0] == "closed" for what in one.met[-1].said))


async def test_a_link_that_is_closed_is_closed_for_both(tmp_path):
    file = file_of("file", 1000)
    one, two = nodes(tmp_path, right=[file])
    async with pair(tmp_path, one, two) as (_, at_two, channel):
        at_two.link.close("enough")
        await one.heard("closed")
        assert "enough" in one.met[0].said[-1][1]
        await two.heard("closed")
        with pytest.raises(PeerError):
            await harvest(channel, [file[0].want], CountedPool())


async def test_more_connections_join_and_end_with_the_first(tmp_path):
    file = file_of("file", *[1 << 20] * 4)
    wants = [leaf.want for leaf in file]
    one, two = nodes(tmp_path, right=[file], connections=3)
    async with pair(tmp_path, one, two, "tcps") as (at_one, at_two, channel):
        pool = CountedPool()
        for line in at_one.link.lines:
            line.rate = 1e9  # as if the processor were the narrow place
        async with asyncio.timeout(30):
            while len(at_two.link.lines) < 3:
                for line in at_one.link.lines:
                    line.rate = 1e9
                await asyncio.gather(*[harvest(channel, wants, pool) for _ in range(6)])
        assert len(two.met) == 1
        right(await harvest(channel, wants, pool), file)
    await two.heard("closed")


@pytest.mark.parametrize("scheme", ["tcp", "tcps"])
async def test_blocks_are_coded_on_their_hop(tmp_path, scheme):
    file = text_file("text", *[300_000] * 9, 100)
    events = []
    env = Env(tmp_path, {}, codings=codings_of("zstd"), emit=events.append)
    async with (
        TcpTransport(TcpOptions(coding="always"), env).listen(f"{scheme}://127.0.0.1:0", source_of(file)) as address,
        TcpTransport(TcpOptions(), env).connect(address) as channel,
    ):
        pool = CountedPool()
        right(await harvest(channel, [leaf.want for leaf in file], pool), file)
        assert pool.out == 0
    served = [event for event in events if isinstance(event, Served)]
    assert sum(event.bytes for event in served) == 9 * 300_000 + 100
    assert 0 < sum(event.wire_bytes for event in served) < 9 * 150_000


async def test_who_decodes_nothing_is_sent_plain_blocks(tmp_path):
    file = text_file("text", *[300_000] * 3)
    coded, plain = Env(tmp_path, {}, codings=codings_of("zstd")), Env(tmp_path, {})
    async with (
        TcpTransport(TcpOptions(coding="always"), coded).listen("tcp://127.0.0.1:0", source_of(file)) as address,
        TcpTransport(TcpOptions(), plain).connect(address) as channel,
    ):
        right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)


async def test_what_cannot_be_looked_up_is_refused(tmp_path):
    class Broken(BlockSource):
        def find(self, cids):
            raise StoreError("damaged")

    for coding in ("always", "never"):
        events = []
        env = Env(tmp_path, {}, codings=codings_of("zstd"), emit=events.append)
        async with (
            TcpTransport(TcpOptions(coding=coding), env).listen("tcp://127.0.0.1:0", Broken()) as address,
            TcpTransport(TcpOptions(), env).connect(address) as channel,
        ):
            with pytest.raises(PeerBusy):
                await harvest(channel, [Want(ROOT, 10)], CountedPool())
        assert Refused("tcp", "failed") in events


class Slow(Flow):
    """Gives leave for one piece at a time."""

    limited = True

    def __init__(self):
        self.taken = self.given_back = 0
        self.peers = []

    async def up(self, count):
        await asyncio.sleep(0)
        self.taken += count

    def up_now(self, most):
        return 0

    def unused(self, count):
        self.given_back += count

    def of_peer(self, peer):
        self.peers.append(peer)
        return self


async def test_leave_is_taken_before_bytes_are_sent(tmp_path):
    file = file_of("file", *[300_000] * 5)
    flow = Slow()
    async with (
        TcpTransport(TcpOptions(), Env(tmp_path, {}, flow=flow)).listen("tcp://127.0.0.1:0", source_of(file)) as address,
        TcpTransport(TcpOptions(), Env(tmp_path, {})).connect(address) as channel,
    ):
        right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)
    assert flow.peers == ["127.0.0.1"]
    assert 1_500_000 <= flow.taken - flow.given_back <= 1_510_000


async def test_one_that_says_much_is_heard_bit_by_bit_and_the_others_meanwhile(tmp_path, monkeypatch):
    one, two = nodes(tmp_path)
    monkeypatch.setattr("wherry_tcp.maps.Maps.pause_s", lambda *_: 0.2)
    loop, times, behind = asyncio.get_running_loop(), [], []
    async with pair(tmp_path, one, two) as (at_one, at_two, _):
        at_one.link.follow(ROOT)
        await two.heard("follows", ROOT)

        def has(*_):
            times.append(loop.time())
            behind.append(len(at_one.link._main.wire.received))

        at_one.has = has
        for _ in range(4):
            at_two.link.tell_have(ROOT, HaveMap(Stretches([(5, 9)])))
        at_two.link.choke(on=True)
        await one.heard("choked", True)
        assert behind == [0] * 4  # a long map takes a MiB while it waits
        assert loop.time() - times[0] > 0.75
        assert all(later - earlier > 0.19 for earlier, later in itertools.pairwise(times))


async def test_what_a_peer_claims_beyond_the_end_is_not_heard(tmp_path):
    one, two = nodes(tmp_path)
    async with pair(tmp_path, one, two) as (at_one, at_two, _):
        at_one.size = lambda root: 7 if root == ROOT else 0
        at_one.link.follow(ROOT)
        await two.heard("follows", ROOT)
        at_two.link.tell_have(ROOT, HaveMap(Stretches([(0, 1), (5, 9), (20, 21)])))
        await one.heard("has", ROOT, [(0, 1), (5, 7)])
        assert at_one.link._engine.spans == 2
    assert at_one.link._engine.spans == 0
