"""How much a libp2p peer is asked for at a time, what is asked for again, and whose fault it is that nothing comes."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from wherry_libp2p.bitswap import Exchange
from wherry_libp2p.faults import Silent
from wherry_libp2p.frames import Kind
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, varint
from wherry_libp2p.sidecar import Bridge

trio = pytest.importorskip("trio", reason="the extra libp2p is not installed: tox -e libp2p")
testing = pytest.importorskip("trio.testing")
pb = pytest.importorskip("libp2p.bitswap.pb.bitswap_pb2", reason="the extra libp2p is not installed: tox -e libp2p")

MIB = 1 << 20


def cid_of(data):
    return b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()


def framed(*datas):
    message = pb.Message()
    for data in datas:
        message.payload.add(prefix=b"\x01\x55\x12\x20", data=data)
    written = message.SerializeToString()
    return varint(len(written)) + written


class Stream:
    """A stream of a peer that says something, and then nothing; or so much of it each second."""

    def __init__(self, peer, data, *, each_s=0):
        self.muxed_conn, self.data, self.each_s, self.resets = SimpleNamespace(peer_id=peer), bytearray(data), each_s, []

    async def read(self, count):
        if not self.data:
            await trio.sleep_forever()
        if self.each_s and count > 1:
            await trio.sleep(1)
            count = min(count, self.each_s)
        piece = bytes(self.data[:count])
        del self.data[:count]
        return piece

    async def reset(self):
        self.resets.append(trio.current_time())

    async def close(self):
        pass


class Exchanging:
    """A bridge whose peers are asked; gives what each was, and takes what they say."""

    def __init__(self, nursery):
        self.nursery, self.wanted, self.hung_up, self.frames = nursery, {}, [], []
        self.exchange = Exchange(self, nursery, None, peer_wants=1, peers=64)
        self.bridge = Bridge(self, nursery)
        self.bridge.exchange, self.bridge.host, self.bridge.idle_s = self.exchange, self, 30.0

    def set_stream_handler(self, protocol, handler):
        self.opened = handler

    def get_network(self):
        return SimpleNamespace(register_notifee=lambda notifee: None)

    async def disconnect(self, peer):
        self.hung_up.append(peer)

    async def send(self, kind, request=0, index=0, body=b""):
        self.frames.append((kind, index, bytes(body)))

    def peer(self, who):
        peer = self.exchange.peer(who)
        asked = self.wanted.setdefault(who, [])

        async def sent(message):
            asked.append([bytes(entry.block) for entry in message.wantlist.entries if not entry.cancel])

        peer.send = sent
        return peer

    def want(self, who, *wants):
        """Has wherry want CIDs, with sizes; what it fails of is noted."""
        self.peer(who)
        self.bridge._dialled[len(self.wanted)] = who, ""
        head = SimpleNamespace(at=len(self.wanted), request=1)

        async def wanting():
            try:
                await self.bridge._want(head, list(wants))
            except Exception as problem:
                self.frames.append((Kind.FAIL, who, problem))

        self.nursery.start_soon(wanting)

    def says(self, who, data, **how):
        stream = Stream(who, data, **how)
        self.nursery.start_soon(self.opened, stream)
        return stream


def run(work):
    async def nursed():
        async with trio.open_nursery() as nursery:
            await work(Exchanging(nursery))
            nursery.cancel_scope.cancel()

    trio.run(nursed, clock=testing.MockClock(autojump_threshold=0.01))


def test_so_much_is_asked_for_at_a_time_as_there_is_room_for():
    async def work(it):
        datas = [bytes([number]) * 64 for number in range(60)]
        cids = [cid_of(data) for data in datas]
        it.want("a", *zip(cids, [MIB] * 10 + [None] * 10 + [64] * 40, strict=True))
        await testing.wait_all_tasks_blocked()
        asked = it.wanted["a"]
        assert asked == [cids[:7]]  # 7 MiB, where there is room for 8 of one peer; unknown sizes count as 1
        for at in range(13):
            it.says("a", framed(datas[at]))
            await testing.wait_all_tasks_blocked()
        assert asked == [cids[:7], *([cid] for cid in cids[7:20])]
        it.says("a", framed(*datas[13:20]))
        await testing.wait_all_tasks_blocked()
        assert [cid for cids in asked for cid in cids] == cids[: 20 + 32]  # however small: it may open a stream for each
        it.says("a", framed(*datas[20:]))
        await testing.wait_all_tasks_blocked()
        assert sorted(it.frames) == sorted([(Kind.DONE, 0, b""), *((Kind.BLOCK, at, data) for at, data in enumerate(datas))])

    run(work)


def test_many_peers_are_asked_for_no_more_than_there_is_room_for_in_all():
    async def work(it):
        for who in range(48):
            it.want(who, *((cid_of(b"%d %d" % (who, number)), MIB // 2) for number in range(9)))
            await testing.wait_all_tasks_blocked()
        counts = [sum(map(len, it.wanted[who])) for who in range(48)]
        assert counts[:4] == [9, 9, 9, 9]  # 4.5 MiB each
        assert counts[4:8] == [9, 8, 6, 6]
        assert counts[23:] == [2] + [1] * 24

    run(work)


def test_what_does_not_come_is_asked_for_again_once_the_peer_is_quiet():
    async def work(it):
        data = [b"first", bytes(MIB), b"lost", b"not to be had"]
        cids = [cid_of(one) for one in data]
        it.want("a", *((cid, None) for cid in cids))
        await testing.wait_all_tasks_blocked()
        it.says("a", framed(data[0]))
        it.says("a", framed(data[1]), each_s=MIB // 10)
        await trio.sleep(9)
        assert it.wanted["a"] == [cids]  # a message comes, however slowly
        await trio.sleep(6)
        assert it.wanted["a"] == [cids, cids[2:]]
        await trio.sleep(3)
        assert len(it.wanted["a"]) == 2  # it may have nothing to say
        it.says("a", framed(data[2]))
        await trio.sleep(4.5)
        assert it.wanted["a"] == [cids, cids[2:], cids[3:]]
        await trio.sleep(23)
        assert len(it.wanted["a"]) == 5  # twice as long each time
        assert not it.hung_up
        await trio.sleep(7)
        assert it.hung_up == ["a"]
        assert isinstance(it.frames[-1][2], Silent)

    run(work)


def test_a_request_waits_for_those_before_it():
    async def work(it):
        first, second = [cid_of(b"1 %d" % number) for number in range(14)], cid_of(b"2")
        it.want("a", *((cid, MIB) for cid in first))
        await testing.wait_all_tasks_blocked()
        it.want("a", (second, MIB))
        for number in range(14):
            await trio.sleep(20 if number <= 7 else 3)  # a silent one, when it was asked, is waited for for 30 s
            assert any(second in cids for cids in it.wanted["a"]) == (number > 7)
            it.says("a", framed(b"1 %d" % number))
            await testing.wait_all_tasks_blocked()
        it.says("a", framed(b"2"))
        await trio.sleep(1)
        assert [frame[0] for frame in it.frames] == [Kind.BLOCK] * 14 + [Kind.DONE, Kind.BLOCK, Kind.DONE]

    run(work)


@pytest.mark.parametrize(
    ("count", "each_s", "seconds"),
    [
        (4, 0, 1),  # a few who fill all the room that one may have: it is not all
        (8, 0, 7),  # many who fill all: what stands still is given up
        (8, MESSAGE_BYTES_MAX // 48, 50),  # what keeps pace is not, and who waits for it is not silent
    ],
)
def test_sources_that_begin_messages_and_end_none_starve_no_honest_one(count, each_s, seconds):
    async def work(it):
        data = bytes(range(256)) * (MIB // 256)
        streams = []
        for who in range(count):
            it.want(who, (cid_of(b"%d" % who), None))
            await testing.wait_all_tasks_blocked()
            for _ in range(2):
                said = varint(MESSAGE_BYTES_MAX) + (bytes(MESSAGE_BYTES_MAX - 1) if each_s else b"")
                streams.append(it.says(who, said, each_s=each_s))
        await trio.sleep(0.5)
        it.want("honest", (cid_of(data), MIB))
        await testing.wait_all_tasks_blocked()
        it.says("honest", framed(data))
        await trio.sleep(seconds)
        assert (Kind.BLOCK, 0, data) in it.frames
        assert (Kind.DONE, 0, b"") in it.frames
        assert "honest" not in it.hung_up
        if count == 8 and not each_s:
            assert sum(bool(stream.resets) for stream in streams) == 8

    run(work)


def test_a_message_that_stands_still_is_waited_for_where_nobody_needs_its_room():
    async def work(it):
        for who in ("a", "b"):
            it.want(who, (cid_of(b"%r" % who), None))
        streams = [it.says(who, varint(MESSAGE_BYTES_MAX)) for who in ("a", "a", "b", "b")]
        await trio.sleep(29)
        assert not any(stream.resets for stream in streams)

    run(work)


def test_who_has_begun_a_message_is_slow_and_not_silent():
    async def work(it):
        it.want("a", (cid_of(b"1"), None))
        await trio.sleep(2)
        it.says("a", varint(MESSAGE_BYTES_MAX) + bytes(MESSAGE_BYTES_MAX - 1), each_s=MIB // 12)
        await trio.sleep(29.5)
        assert isinstance(it.frames[0][2], trio.TooSlowError)
        assert not it.hung_up

    run(work)
