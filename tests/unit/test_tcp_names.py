"""Records of names over the native exchange: asked, answered, bounded; peers that lie, are silent, or are old (specs/0004)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from wherry.abc.transport import BlockSource
from wherry.env import Env
from wherry.errors import NotFound, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, StoreError
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.limits import NAME_ASKS_MAX, NAME_RECORD_BYTES_MAX
from wherry.nodekey import NodeKey
from wherry.session import Session
from wherry.wire.connection import Connection, Misuse
from wherry.wire.encoding import decode, decode_head, encode
from wherry.wire.messages import Hello, Ping, Pong, Proof, Record, Resolve
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport

KEY = NodeKey(b"n" * 32)
NAME = Name.of(KEY.public)
FAR = 4_000_000_000 * 10**9
EMPTY = "/ipfs/bafkqaaa"


def other(number):
    return Name.of(NodeKey(number.to_bytes(32, "big")).public)


class Named(BlockSource):
    """A source with records of names, or with what it raises instead."""

    def __init__(self, records, failure=None):
        self.records = records
        self.failure = failure

    def find(self, cids):
        return [None] * len(cids)

    def record(self, name):
        if self.failure is not None:
            raise self.failure
        return self.records.get(name)


class Plain(BlockSource):
    def find(self, cids):
        return [None] * len(cids)


def transport(home, **options):
    times = {"connect_timeout": 5.0, "idle_timeout": 5.0, "request_timeout": 5.0}
    return TcpTransport(TcpOptions(**{**times, **options}), Env(home, {}))


@pytest.mark.parametrize("scheme", ["tcp", "tcps", "unix"])
async def test_a_peer_gives_the_record_that_it_has(tmp_path, scheme):
    place = f"unix://{tmp_path}/u" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    for name in "ab":
        (tmp_path / name).mkdir()
    async with transport(tmp_path / "a").listen(place, Named({bytes(NAME): b"record"})) as address:
        asking = transport(tmp_path / "b")
        assert await asking.name_record(address, str(NAME)) == b"record"
        assert await asking.name_record(address, NAME.peer_id) == b"record"
        assert await asking.name_record(address, str(other(1))) is None


@pytest.mark.parametrize(
    "source", [Plain(), Named({}, StoreError("broken")), Named({bytes(NAME): bytes(NAME_RECORD_BYTES_MAX + 1)})]
)
async def test_a_peer_without_a_record_says_so(tmp_path, source):
    async with transport(tmp_path).listen("tcp://127.0.0.1:0", source) as address:
        assert await transport(tmp_path).name_record(address, str(NAME)) is None


async def test_many_names_are_asked_for_at_a_time(tmp_path):
    known = {bytes(other(number)): b"%d" % number for number in range(NAME_ASKS_MAX)}
    async with transport(tmp_path).listen("tcp://127.0.0.1:0", Named(known)) as address:
        asking = transport(tmp_path)
        async with asking.connect(address) as way:
            said = await asyncio.gather(*(way.record(name) for name in known))
            assert said == list(known.values())


async def heard(reader):
    head = decode_head(await reader.readexactly(8))
    return decode(head, await reader.readexactly(head.length))


@asynccontextmanager
async def lying(says, *, names=True):
    """A peer that shakes hands, takes one Resolve, and says what it is told to; gives its address and what it heard."""
    done = []

    async def serve(reader, writer):
        try:
            await heard(reader)
            writer.write(encode(Hello(bytes(32), names=names)))
            await heard(reader)
            writer.write(encode(Proof()))
            while True:
                message = await heard(reader)
                done.append(message)
                if isinstance(message, Resolve):
                    data = says(message)
                    if data is None:
                        return
                    writer.write(data)
                elif isinstance(message, Ping):
                    writer.write(encode(Pong(message.number)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", done


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (lambda asked: encode(Record(bytes(other(1)), b"x")), PeerProtocolError),  # another name
        (lambda asked: encode(Record(asked.name, b"x")) * 2, None),  # the second one was not asked for
        (lambda asked: b"\x11\0\0\0\0\xff\xff\xff", PeerProtocolError),  # without end
        (lambda asked: encode(Record(asked.name, bytes(NAME_RECORD_BYTES_MAX)))[:5000], PeerTimeout),  # cut off
        (lambda asked: b"", PeerTimeout),
        (lambda asked: None, PeerUnreachable),
        (lambda asked: b"\x11\0\0\0\0\0\0\0", PeerProtocolError),
    ],
)
async def test_a_peer_that_lies_about_names_or_is_silent(tmp_path, says, problem):
    async with lying(says) as (address, _):
        asking = transport(tmp_path, request_timeout=0.5)
        if problem is None:
            with suppress(PeerProtocolError):  # what came first is right, and both may be read in one go
                assert await asking.name_record(address, str(NAME)) == b"x"
            return
        with pytest.raises(problem) as raised:
            await asking.name_record(address, str(NAME))
        assert address in raised.value.message or raised.value.peer == address


async def test_an_older_peer_is_never_sent_what_it_does_not_know(tmp_path):
    async with lying(lambda asked: b"", names=False) as (address, done):
        with pytest.raises(PeerError, match="carries no records"):
            await transport(tmp_path).name_record(address, str(NAME))
        assert not [message for message in done if isinstance(message, Resolve)]


async def test_an_older_peer_that_says_nothing_of_names_is_served_as_ever(tmp_path):
    async with transport(tmp_path).listen("tcp://127.0.0.1:0", Named({})) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(encode(Hello(bytes(32))))
        assert (await heard(reader)).names  # one that it passes over
        writer.write(encode(Proof()) + encode(Ping(5)))
        assert isinstance(await heard(reader), Proof)
        assert await heard(reader) == Pong(5)
        writer.close()


def ends():
    one, two = (Connection("peer", dialled=dialled, requests_max=4) for dialled in (True, False))
    feeds = {}
    for wire in (one, two):
        pieces = wire.incoming()
        feeds[wire] = (pieces, next(pieces))
    return one, two, feeds


def feed(feeds, wire, data):
    pieces, piece = feeds[wire]
    while data:
        piece[:] = data[: len(piece)]
        data = data[len(piece) :]
        piece = next(pieces)
    feeds[wire] = pieces, piece


def opened(*, one_names=True, two_names=True):
    one, two, feeds = ends()
    for sender, taker, message in (
        (one, two, Hello(bytes(32), names=one_names)), (two, one, Hello(bytes(32), names=two_names)),
        (one, two, Proof()), (two, one, Proof()),
    ):  # fmt: skip
        feed(feeds, taker, sender.send(message))
    return one, two, feeds


def test_what_may_be_asked_is_bounded_on_both_sides():
    one, two, feeds = opened()
    for number in range(NAME_ASKS_MAX):
        feed(feeds, two, one.send(Resolve(bytes(other(number)))))
    with pytest.raises(Misuse):
        one.send(Resolve(bytes(NAME)))
    with pytest.raises(PeerProtocolError, match="may not ask"):
        feed(feeds, two, encode(Resolve(bytes(NAME))))
    one, two, feeds = opened()
    feed(feeds, two, one.send(Resolve(bytes(NAME))))
    with pytest.raises(Misuse):
        one.send(Resolve(bytes(NAME)))
    with pytest.raises(PeerProtocolError, match="may not ask"):
        feed(feeds, two, encode(Resolve(bytes(NAME))))
    one, two, feeds = opened()
    with pytest.raises(Misuse):
        two.send(Record(bytes(NAME), b""))
    feed(feeds, two, one.send(Resolve(bytes(NAME))))
    feed(feeds, one, two.send(Record(bytes(NAME), b"r")))
    assert one.received[-1] == Record(bytes(NAME), b"r")
    with pytest.raises(PeerProtocolError, match="not asked"):
        feed(feeds, one, encode(Record(bytes(NAME), b"r")))


def test_who_does_not_take_names_is_not_asked_and_may_not_be():
    one, two, feeds = opened(two_names=False)
    with pytest.raises(Misuse):
        one.send(Resolve(bytes(NAME)))
    with pytest.raises(PeerProtocolError, match="may not ask"):
        feed(feeds, two, encode(Resolve(bytes(NAME))))


@asynccontextmanager
async def session(tmp_path, home):
    async with Session.open(home=tmp_path / home, environ={}) as opened_session:
        yield opened_session


async def test_a_name_is_resolved_at_a_peer_and_what_it_says_is_verified(tmp_path):
    async with session(tmp_path, "a") as mine, session(tmp_path, "b") as theirs:
        name = (await mine.publish_name(EMPTY)).name
        async with mine.serve(listen=["tcp://127.0.0.1:0"]) as serving:
            found = await theirs.resolve_name(name, sources=serving.listen)
            assert (found.value, found.told) == (EMPTY, list(serving.listen))
            with pytest.raises(NotFound):
                await theirs.resolve_name(str(NAME), sources=serving.listen)
        forged = create(NodeKey(b"x" * 32), EMPTY, 9, FAR)
        old = create(KEY, EMPTY, 1, 10**18)
        for record in (forged, old, b"junk"):
            async with lying(lambda asked, record=record: encode(Record(asked.name, record))) as (address, _):
                with pytest.raises(NotFound):
                    await theirs.resolve_name(str(NAME), sources=[address])


async def test_peers_that_the_user_wrote_down_are_asked_without_being_named(tmp_path):
    async with session(tmp_path, "a") as mine:
        name = (await mine.publish_name(EMPTY)).name
        async with mine.serve(listen=["tcp://127.0.0.1:0", "http://127.0.0.1:0"]) as serving:
            known = [*serving.listen, "file:///nowhere", "gopher://x:1"]
            environ = {"WHERRY_LOCATOR__USE": "static", "WHERRY_LOCATOR__STATIC__ADDRESSES": ",".join(known)}
            async with Session.open(home=tmp_path / "b", environ=environ) as theirs:
                found = await theirs.resolve_name(name)
                assert (found.value, sorted(found.told), found.warnings) == (EMPTY, sorted(serving.listen), [])
