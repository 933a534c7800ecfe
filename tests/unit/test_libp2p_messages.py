"""How much of what libp2p peers begin to send is kept, and for how long. Where py-libp2p is installed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wherry_libp2p.bitswap import Exchange
from wherry_libp2p.faults import Slow, of_request
from wherry_libp2p.frames import Fault
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, length_of, message_of, varint
from wherry_libp2p.muxer import bound
from wherry_libp2p.room import Room

trio = pytest.importorskip("trio", reason="the extra libp2p is not installed: tox -e libp2p")
testing = pytest.importorskip("trio.testing")
yamux = pytest.importorskip("libp2p.stream_muxer.yamux.yamux", reason="the extra libp2p is not installed: tox -e libp2p")
bitswap = pytest.importorskip("libp2p.bitswap.pb.bitswap_pb2", reason="the extra libp2p is not installed: tox -e libp2p")

MIB = 1 << 20


class Stream:
    """A stream whose pieces come each after a time, and then nothing."""

    def __init__(self, peer, *pieces, after_s=0.0):
        self.muxed_conn = SimpleNamespace(peer_id=peer)
        self.pieces, self.after_s, self.resets = list(pieces), after_s, 0

    async def read(self, count):
        if not self.pieces:
            await trio.sleep_forever()
        await trio.sleep(self.after_s)
        piece = self.pieces.pop(0)
        if len(piece) > count:
            self.pieces.insert(0, piece[count:])
        return piece[:count]

    async def reset(self):
        self.resets += 1

    async def close(self):
        pass


class Host:
    def set_stream_handler(self, protocol, handler):
        self.opened = handler

    def get_network(self):
        return SimpleNamespace(register_notifee=lambda notifee: None)


def running(work):
    trio.run(work, clock=testing.MockClock(autojump_threshold=0.01))


def test_messages_beyond_what_there_is_room_for_wait():
    async def work():
        room, taken, begun = Room(4 * MIB, 2 * MIB), [], {}

        async def take(who, count):
            begun[who, count] = await room.take(who, count, asked=True)
            taken.append(who)

        async with trio.open_nursery() as nursery:
            for who, count in (("a", MIB), ("a", MIB), ("a", MIB), ("b", 2 * MIB), ("c", MIB), ("c", 16 << 10)):
                nursery.start_soon(take, who, count)
                await testing.wait_all_tasks_blocked()
            assert taken == ["a", "a", "b", "c"]  # a has its share, and all is taken; what is small waits for nothing
            room.give(begun["a", MIB])
            room.give(begun["c", 16 << 10])
            await testing.wait_all_tasks_blocked()
            assert len(taken) == 5
            room.give(begun["b", 2 * MIB])
        assert sorted(taken) == ["a", "a", "a", "b", "c", "c"]

    running(work)


def test_who_comes_unasked_keeps_no_block_from_coming_that_is_wanted():
    async def work():
        room, taken, begun = Room(4 * MIB, 2 * MIB), [], []

        async def take(who, *, asked):
            begun.append(await room.take(who, MIB, asked=asked))
            taken.append(who)

        async with trio.open_nursery() as nursery:
            for who in ("x", "x", "y", "z"):
                nursery.start_soon(lambda who=who: take(who, asked=False))
                await testing.wait_all_tasks_blocked()
            assert taken == ["x", "x"]
            for who in ("source", "source", "other"):
                nursery.start_soon(lambda who=who: take(who, asked=True))
                await testing.wait_all_tasks_blocked()
            assert taken == ["x", "x", "source", "other"]  # a quarter is for those who have none
            for at in range(7):
                room.give(begun[at])
                await testing.wait_all_tasks_blocked()
        assert sorted(taken) == ["other", "source", "source", "x", "x", "y", "z"]

    running(work)


@pytest.mark.parametrize(("size", "seconds"), [(1000, 10.0), (MESSAGE_BYTES_MAX, 50.0)])
def test_a_message_that_is_begun_and_does_not_come_is_given_up(size, seconds):
    async def work():
        began = trio.current_time()
        with pytest.raises(Slow) as caught:
            await message_of(Stream("a", bytes(size - 1)), size)
        assert seconds <= trio.current_time() - began < seconds + 1
        assert of_request(caught.value, alive=True) == (
            Fault.TIMEOUT, f"a message of {size} bytes did not come within {seconds:.0f} s",
        )  # fmt: skip

    running(work)


def test_one_that_comes_slowly_comes():
    message = bitswap.Message()
    message.payload.add(prefix=b"\1\x55\x12\x20", data=bytes(2 * MIB))
    data = message.SerializeToString()

    async def work():
        stream = Stream("a", *(data[at : at + MIB // 8] for at in range(0, len(data), MIB // 8)), after_s=1.2)
        assert await message_of(stream, len(data)) == message

    running(work)


def test_a_length_that_is_too_large_is_refused():
    async def work():
        assert await length_of(Stream("a", varint(MESSAGE_BYTES_MAX)), MESSAGE_BYTES_MAX) == MESSAGE_BYTES_MAX
        for wrong in (varint(MESSAGE_BYTES_MAX + 1), b"\xff" * 6):
            with pytest.raises(ValueError, match="a message of|a length of"):
                await length_of(Stream("a", wrong), MESSAGE_BYTES_MAX)

    running(work)


def test_of_the_messages_of_one_peer_a_few_are_read_at_a_time_and_all_are_ended():
    async def work():
        host = Host()
        async with trio.open_nursery() as nursery:
            exchange = Exchange(host, nursery, None, peer_wants=1, peers=8)
            streams = [Stream(who, varint(MESSAGE_BYTES_MAX), bytes(9)) for who in ["a"] * 40 + ["b"]]
            for stream in streams:
                nursery.start_soon(host.opened, stream)
            await trio.sleep(1)
            assert not any(stream.resets for stream in streams)
            assert exchange.room._taken == {"a": 8 * MIB, "b": 4 * MIB}
            await trio.sleep(60 * 20)  # two at a time, each of which is given up
            assert all(stream.resets for stream in streams)
            assert not exchange.room._taken
            assert exchange.peer("a").streams == 0
            await host.opened(Stream("a", b""))

    running(work)


def test_a_stream_is_sent_what_its_window_allows_and_windows_grow_within_bounds():
    (muxer,) = bound().values()

    class Secured:
        is_initiator = False

        async def write(self, data):
            sent.append(data)

    sent, used = [], []

    async def work():
        connection = muxer(Secured(), "a")
        streams = [yamux.YamuxStream(number, connection, False) for number in range(48)]
        for stream in streams:
            connection.streams[stream.stream_id], connection.stream_buffers[stream.stream_id] = stream, bytearray()
        for stream in (*[streams[0]] * 9, *streams * 40):
            for size in (1, stream.recv_window // 2 - 1, stream.recv_window // 2, stream.recv_window // 3):
                size = min(size, stream.recv_window)
                stream.recv_window -= size
                used.append(size)
                await stream._auto_tune_and_send_window_update(bytes_read=size)
        allowed = 48 * MIB // 4 + sum(int.from_bytes(data[8:12]) for data in sent)
        assert allowed == sum(used) + sum(stream.recv_window for stream in streams) > 100 * MIB
        assert sum(stream.recv_window for stream in streams) <= 48 * MIB // 4 + 3 * MIB
        assert streams[0].target_recv_window == max(stream.target_recv_window for stream in streams) == MIB
        assert all(stream.recv_window > stream.target_recv_window // 2 for stream in streams)
        # Helia fills a window by one frame; that is no fault.
        assert yamux.MAX_WINDOW_SIZE >= MIB

    running(work)


def test_a_connection_is_closed_whose_peer_sends_past_a_window():
    (muxer,) = bound().values()

    class Secured:
        is_initiator = False

        async def read(self, count):
            return bytes(count)

    async def work():
        connection = muxer(Secured(), "a")
        for number in range(48):  # all that honest peers may have on its way is taken
            stream = connection.streams[number] = yamux.YamuxStream(number, connection, False)
            connection.stream_buffers[number] = bytearray(await connection._read_data_body(stream.recv_window))
            stream.recv_window -= len(connection.stream_buffers[number])
        with pytest.raises(trio.TooSlowError):
            await connection._read_data_body(256 * 1024 + 1)
        assert len(await connection._read_data_body(4)) == 4  # it may be for a stream that is new
        stream.recv_window -= 4
        with pytest.raises(trio.TooSlowError):
            await connection._read_data_body(1)

    running(work)
