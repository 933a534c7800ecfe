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
    from types import TracebackType

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
        return _Dialled(self, address)

    async def name_record(self, address: str, name: str) -> bytes | None:
        """See `SupportsRecords.name_record`."""
        found = bytes(Name.parse(name))
        async with _Dialled(self, address) as way:
            return await way.record(found)

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
        engine = self._begin()
        try:
            yield engine
        finally:
            self._end()

    def _begin(self) -> Engine:
        """Gives what the connections share, made for the first of them and closed with the last: say `_end` once for each."""
        if self._engine is None:
            env = self._env
            self._engine = Engine(
                self._options, key=self._node, codings=env.codings, emit=env.emit, flow=env.flow, exchange=self._exchange
            )
        self._users += 1
        return self._engine

    def _end(self) -> None:
        self._users -= 1
        if not self._users and self._engine is not None:
            engine, self._engine, self._ways = self._engine, None, None
            engine.close()


class _Dialled:
    """A place that is dialled. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_address", "_inner", "_transport")

    def __init__(self, transport: TcpTransport, address: str) -> None:
        self._transport, self._address = transport, address

    async def __aenter__(self) -> Share:
        transport, place = self._transport, parse_place(self._address)
        if place.scheme != "unix" and not place.port:
            raise UsageError(f"address {self._address!r} names no port", hint="write tcp://HOST:PORT")
        engine = transport._begin()
        try:
            if transport._ways is None:
                transport._ways = Ways(engine, transport._env.dial)
            self._inner = transport._ways.to(place)
            return await self._inner.__aenter__()
        except BaseException:
            transport._end()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._inner.__aexit__(kind, problem, trace)
        finally:
            self._transport._end()
