"""The ``tcp`` transport: addresses, who may listen where, and what connections share."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from wherry.abc.exchange import SupportsExchange
from wherry.abc.transport import Transport
from wherry.errors import UsageError, local_error
from wherry.hosts import is_loopback, reachable
from wherry.ipns.name import Name
from wherry.nodekey import NodeKey
from wherry_tcp.engine import Engine
from wherry_tcp.places import SCHEMES, Place, parse_place
from wherry_tcp.shared import Ways

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.exchange import Exchange
    from wherry.abc.transport import BlockSource, Channel
    from wherry.env import Env
    from wherry_tcp.options import TcpOptions
    from wherry_tcp.shared import Share


class TcpTransport(Transport, SupportsExchange):
    """Blocks over one connection, both ways."""

    schemes = frozenset(SCHEMES)
    obeys_dial = True

    def __init__(self, options: TcpOptions, env: Env) -> None:
        self._options = options
        self._env = env
        self._exchange: Exchange | None = None
        self._engine: Engine | None = None
        self._ways: Ways | None = None  # of the engine
        self._users = 0
        self._key: NodeKey | None = None

    def exchange(self, exchange: Exchange) -> None:
        """See `SupportsExchange.exchange`."""
        self._exchange = exchange

    def connect(self, address: str) -> AbstractAsyncContextManager[Channel]:
        """See `Transport.connect`; addresses are those of specs/0004 §1."""
        return self._way(address)

    async def name_record(self, address: str, name: str) -> bytes | None:
        """See `SupportsRecords.name_record`."""
        found = bytes(Name.parse(name))
        async with self._way(address) as way:
            return await way.record(found)

    @asynccontextmanager
    async def _way(self, address: str) -> AsyncIterator[Share]:
        place = parse_place(address)
        if place.scheme != "unix" and not place.port:
            raise UsageError(f"address {address!r} names no port", hint="write tcp://HOST:PORT")
        with self._running() as engine:
            if self._ways is None:
                self._ways = Ways(engine, self._env.dial)
            async with self._ways.to(place) as way:
                yield way

    @asynccontextmanager
    async def listen(self, address: str, source: BlockSource) -> AsyncIterator[str]:
        """See `SupportsListen.listen`. A public address needs TLS, a token, or leave (``[serve] allow_public``)."""
        from wherry_tcp.listening import Listener  # who only dials needs none

        place = parse_place(address)
        if place.peer and place.peer != self._node().peer_id:
            raise UsageError(f"{address!r} has the id of another node", hint="write tcps://HOST:PORT to listen")
        if place.scheme == "tcp" and not (is_loopback(place.host) or self._options.token or self._env.allow_public):
            hint = (
                "listen on tcps://HOST:PORT, or give a token (--token-file or WHERRY_TOKEN), "
                "or say --allow-public if everyone who reaches it may read the data"
            )
            raise UsageError(f"{address!r} is open to other machines, without TLS and without a token", hint=hint)
        with self._running() as engine:
            listener = Listener(engine, place, source)
            try:
                await listener.start()
            except OSError as problem:
                raise local_error(problem, "cannot listen on", address) from problem
            try:
                yield str(self._shown(place, listener.port))
            finally:
                await listener.stop()

    def _shown(self, place: Place, port: int) -> Place:
        """Gives what others dial."""
        if place.scheme == "unix":
            return place
        return place._replace(host=reachable(place.host), port=port, peer=self._node().peer_id if place.tls else "")

    def _node(self) -> NodeKey:
        if self._key is None:
            self._key = NodeKey.load(self._env.home)
        return self._key

    @contextmanager
    def _running(self) -> Iterator[Engine]:
        """Gives what the connections share, made for the first of them and closed with the last."""
        if self._engine is None:
            env = self._env
            self._engine = Engine(
                self._options, key=self._node, codings=env.codings, emit=env.emit, flow=env.flow, exchange=self._exchange
            )
        self._users += 1
        try:
            yield self._engine
        finally:
            self._users -= 1
            if not self._users:
                engine, self._engine, self._ways = self._engine, None, None
                engine.close()
