"""The ``libp2p`` transport: blocks from and for the peers of IPFS, by Bitswap (specs/0035)."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

from wherry.abc.exchange import PeerInfo
from wherry.abc.transport import Transport
from wherry.cid import CID
from wherry.errors import CIDError, PeerDenied, PeerUnreachable, PluginError, UsageError, WherryError, in_words
from wherry.hosts import is_loopback
from wherry.nodekey import NodeKey
from wherry.observe import Note
from wherry_libp2p.channel import Libp2pChannel
from wherry_libp2p.frames import BLOCK_BYTES_MAX, Kind
from wherry_libp2p.places import parse_place
from wherry_libp2p.process import Process
from wherry_libp2p.resolving import resolved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.abc.transport import BlockSource, Channel
    from wherry.env import Env
    from wherry_libp2p.options import Libp2pOptions
    from wherry_libp2p.places import Place

_WAIT_S: Final = 0.5  # after the second crash, the first costs no wait; then twice as long each time
_WAIT_MAX_S: Final = 60.0
_CALM_S: Final = 300.0  # a process that lasted so long has not crashed at once


class Libp2pTransport(Transport):
    """Blocks of libp2p peers. Its process runs while there is a channel or a listener."""

    schemes = frozenset({"libp2p"})
    obeys_dial = True

    def __init__(self, options: Libp2pOptions, env: Env) -> None:
        self._options, self._env = options, env
        self._process: Process | None = None
        self._users = 0
        self._lock = asyncio.Lock()
        self.flow, self.emit = env.flow, env.emit
        self._crashes = 0
        self._started = self._rest_until = 0.0

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`; addresses are ``libp2p:/ip4/HOST/tcp/PORT/p2p/PEER`` (specs/0035 §2)."""
        place = parse_place(address)
        if not place.peer:
            hint = "add /p2p/PEER, the peer's id: its owner sees it with `ipfs id`, or where `wherry serve` says it listens"
            raise UsageError(f"{address!a} does not say which peer is there", hint=hint)
        if not place.port:
            raise UsageError(f"{address!a} names no port", hint="write libp2p:/ip4/HOST/tcp/PORT/p2p/PEER")
        peer = "libp2p:" + place.multiaddr()
        target = await resolved(place, peer, self._env.dial)
        info = PeerInfo("libp2p", place.peer, address, parse_place(target).host, incoming=False)
        self._check(info, peer)
        self._users += 1
        try:
            process = await self._running()
            number = await process.ask(Kind.DIAL, target.encode(), peer)
            try:
                self._check(info, peer)  # it may have been banned meanwhile
                yield Libp2pChannel(process, number, peer, info, self._env.gate)
            finally:
                process.close(number)
        finally:
            await self._left()

    @asynccontextmanager
    async def listen(self, address: str, source: BlockSource) -> AsyncIterator[str]:
        """See `SupportsListen.listen`. Anybody who reaches it may ask for what it has: a public address needs leave."""
        place = parse_place(address)
        if place.kind not in ("ip4", "ip6") or place.peer:
            raise UsageError(f"{address!a} cannot be listened on", hint="write libp2p:/ip4/127.0.0.1/tcp/4001")
        if not (is_loopback(place.host) or self._env.allow_public):
            hint = "say --allow-public if everyone who reaches it may read the data"
            raise UsageError(f"{address!a} is open to other machines, and every libp2p peer may ask there", hint=hint)
        serving = _Serving(self, place, source)
        await serving.start()
        keeper = asyncio.ensure_future(serving.keep())
        try:
            yield serving.address
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await serving.stop()

    async def launch(self, listen: tuple[str, ...] = ()) -> Process:
        """Starts a process; after crashes, only when it has rested. Raises PluginError, PeerUnreachable while it rests."""
        if (left := self._rest_until - time.monotonic()) > 0:
            raise PeerUnreachable(f"the libp2p process crashed {self._crashes} times; it is started again in {left:.0f} s")
        self._started = time.monotonic()
        return await Process.start(self._options, self._seed(lasting=bool(listen)), listen, gate=self._env.gate)

    def crashed(self) -> float:
        """Notes that a process ended by itself; gives the seconds until it may be started again."""
        now = time.monotonic()
        self._crashes = 1 if now - self._started > _CALM_S else self._crashes + 1
        wait = min(_WAIT_MAX_S, _WAIT_S * 2 ** min(self._crashes - 2, 10)) if self._crashes > 1 else 0.0
        self._rest_until = now + wait
        return wait

    def _check(self, info: PeerInfo, peer: str) -> None:
        """Raises PeerDenied for one who is banned, by the key that Noise proves or by its IP address."""
        if why := self._env.gate(info.ip, info.id):
            hint = "`wherry peers bans` lists who is, `wherry peers unban` ends it"
            raise PeerDenied(f"{peer} {why}", peer=peer, hint=hint)

    async def _running(self) -> Process:
        async with self._lock:
            if self._process is not None and self._process.ended.is_set():
                await self._process.stop()
                self._process = None
                self.crashed()
            if self._process is None:
                self._process = await self.launch()
            return self._process

    async def _left(self) -> None:
        self._users -= 1
        if not self._users and self._process is not None:
            process, self._process = self._process, None
            await process.stop()

    def _seed(self, *, lasting: bool) -> bytes:
        """Gives the seed of the peer's key: who serves keeps its id, who only asks has a new one each time."""
        if not lasting:
            return secrets.token_bytes(32)
        # Ed25519 signs the same text the same way each time: a secret of its own, from which the node's key cannot be found.
        return hashlib.sha256(NodeKey.load(self._env.home).sign(b"wherry: the key of the libp2p host")).digest()


class _Serving:
    """One listener: its process, started again when it crashes, at the port that it had."""

    def __init__(self, transport: Libp2pTransport, place: Place, source: BlockSource) -> None:
        self._transport, self._place, self._source = transport, place, source
        self._process: Process | None = None
        self.address = ""

    async def start(self) -> None:
        """Starts the process. Raises as `Libp2pTransport.launch`."""
        process = await self._transport.launch((self._place.multiaddr(),))
        try:
            bound = parse_place(process.listen[0])
        except (IndexError, UsageError) as problem:
            await process.stop()
            raise PluginError(f"libp2p: its process listens at {process.listen[:1]!a}, which is no address") from problem
        process.seek = self._seek
        self._process = process
        self._place = self._place._replace(port=bound.port)
        self.address = "libp2p:" + self._place._replace(peer=process.peer_id).multiaddr()

    async def keep(self) -> None:
        """Starts it again whenever it ended by itself, and says so: whoever serves would see nothing of it."""
        why = said = ""
        while True:
            if self._process is not None:
                await self._process.ended.wait()
                await self._process.stop()
                why, said = self._process.end, ""
                self._process = None
            wait = self._transport.crashed()
            if why != said:
                said = why
                self._say("warning", f"{why}; it is started again in {wait:.0f} s")
            await asyncio.sleep(wait)
            try:
                await self.start()
            except (WherryError, OSError) as problem:  # it is tried again, later each time
                why = problem.message if isinstance(problem, WherryError) else in_words(problem)
                continue
            self._say("info", "listened on again")

    def _say(self, level: Literal["info", "warning"], text: str) -> None:
        self._transport.emit(Note(level, f"{self.address}: {text}"))

    async def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            await self._process.stop()

    async def _seek(self, cid: bytes, only_whether: bool) -> bytes | None:
        """Looks a block up, in a thread. What cannot be read is not here."""
        found = await asyncio.to_thread(self._look, cid, only_whether)
        if found:
            flow = self._transport.flow
            if flow.limited:
                await flow.up(len(found))
            else:
                flow.moved(up=len(found))
        return found

    def _look(self, cid: bytes, only_whether: bool) -> bytes | None:
        try:
            (held,) = self._source.find([CID(cid)])
            if held is None or held.size > BLOCK_BYTES_MAX:
                return None
            if only_whether:
                held.confirm()
                return b""
            data = bytearray(held.size)
            held.read_into(memoryview(data))
        except (CIDError, WherryError):
            return None
        return bytes(data) if hashlib.sha256(data).digest() == cid[-32:] else None
