"""The fetching side of the ``http`` transport: control and small answers on the loop, bulk in threads (specs/0008 §6)."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from wherry.abc.transport import Arrival, Channel
from wherry.dial import NAMED
from wherry.errors import PeerBusy, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, WherryError, in_words
from wherry.httpline import Line
from wherry.httplines import Lines
from wherry.limits import RATE_BYTES_MIN
from wherry.offload import in_thread
from wherry.weburl import parsed
from wherry.wire.frames import Answer
from wherry_http.bulk import Asking, check_status, exchange, parse
from wherry_http.frames import BLOCKS_PATH, INFO_PATH, PROTOCOL, WANTS_TYPE, encode_wants
from wherry_http.gateways import Asker, Gateways
from wherry_http.reading import GatewayChannel

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from wherry.abc.transport import Lender, Want
    from wherry.buffers import Buffer
    from wherry.coding import Codings
    from wherry.dial import Dial
    from wherry_http.options import HttpOptions

_INFO_BYTES_MAX = 4096


class HttpChannel(Channel):
    """A way to one HTTP source. Open it with `open_channel`."""

    def __init__(
        self,
        base: URL,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | None,
        options: HttpOptions,
        *,
        codings: Codings,
        dial: Dial = NAMED,
    ) -> None:
        self._base = base
        self._peer = str(base)
        self._session = session
        self._tls = tls
        self._options = options
        self._dial = dial
        self._asking = Asking.of({"Authorization": f"Bearer {options.token}"} if options.token else {}, codings)
        self.parallel = options.connections  # type: ignore[misc]  # an instance's own number, as configured
        self._threads = ThreadPoolExecutor(options.connections, "wherry-fetch")
        self._lines: list[Line] = []

    async def hello(self, busy: Callable[[str | None], None]) -> PeerProtocolError | None:
        """Asks who is there; gives what is wrong if it is some other server of HTTP. Raises PeerError.

        ``busy`` is told the Retry-After of one that has too much to do.
        """
        url = self._base.join(URL(INFO_PATH))
        async with (
            self._mapped(),
            asyncio.timeout(self._options.connect_timeout + self._options.idle_timeout),
            self._session.get(url, allow_redirects=False) as response,
        ):
            try:
                check_status(response.status, response.content_type, self._peer, "application/json")
            except PeerProtocolError as problem:
                return problem
            except PeerBusy:
                busy(response.headers.get("Retry-After"))
                raise
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > _INFO_BYTES_MAX:
                    raise PeerProtocolError(f"{self._peer} says too much of itself", peer=self._peer)
            try:
                version = json.loads(data)["wherry"]
            except (ValueError, KeyError, TypeError, RecursionError) as problem:
                raise PeerProtocolError(f"{self._peer} is no wherry server", peer=self._peer) from problem
            if version != PROTOCOL:
                raise PeerProtocolError(
                    f"{self._peer} speaks version {ascii(version)[:20]}, this wherry {PROTOCOL}", peer=self._peer
                )
        return None

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        buffer = await lender.lend()
        try:
            if any(want.size is None for want in wants):
                arrival, problem = await self._small(wants, buffer)
            else:
                arrival, problem = await self._bulk(wants, buffer, lender)
        except BaseException:
            buffer.release()
            raise
        yield arrival
        if problem is not None:
            raise problem

    async def _small(self, wants: Sequence[Want], buffer: Buffer) -> tuple[Arrival, PeerError | None]:
        """Asks on the loop; gives and raises what `exchange` does."""
        count, problem = await self._received(wants, buffer.view)
        answer = Answer(wants, self._peer)
        try:
            parse(answer, buffer.view[:count], self._peer)
        except PeerProtocolError as fault:
            problem = problem or fault
        blocks = [laid for laid in answer.blocks if laid.stop <= count]
        if problem is not None and not blocks:
            raise problem
        return Arrival(buffer, blocks, answer.missing), problem

    async def _received(self, wants: Sequence[Want], view: memoryview) -> tuple[int, PeerError | None]:
        """Receives an answer into ``view``; gives how many bytes came, and what ended it before its end."""
        at = 0
        url = self._base.join(URL(BLOCKS_PATH)).with_query(max=str(len(view)))
        headers = {"Content-Type": WANTS_TYPE}
        options = self._options
        try:
            async with (
                self._mapped(),
                asyncio.timeout(options.connect_timeout + options.idle_timeout) as deadline,
                self._session.post(url, data=encode_wants(wants), headers=headers, allow_redirects=False) as response,
            ):
                check_status(response.status, response.content_type, self._peer)
                length = response.content_length
                if length is None or length > len(view):
                    raise PeerProtocolError(f"{self._peer} promises {length} bytes, too many", peer=self._peer)
                deadline.reschedule(None)  # silence is sock_read's; a peer that drips is found below
                window, mark = time.monotonic(), 0
                async for piece in response.content.iter_any():
                    if at + len(piece) > length:
                        raise PeerProtocolError(f"{self._peer} sends more than it promised", peer=self._peer)
                    view[at : at + len(piece)] = piece
                    at += len(piece)
                    if time.monotonic() - window > options.idle_timeout:
                        if at - mark < RATE_BYTES_MIN * options.idle_timeout:
                            raise TimeoutError
                        window, mark = time.monotonic(), at
                if at != length:
                    raise PeerProtocolError(f"{self._peer} cut its answer short", peer=self._peer)
        except PeerError as problem:
            return at, problem
        return at, None

    async def _bulk(self, wants: Sequence[Want], buffer: Buffer, lender: Lender) -> tuple[Arrival, PeerError | None]:
        host, port = self._base.host or "", self._base.port or 80
        line = self._lines.pop() if self._lines else Line(host, port, self._tls, self._options, self._dial)

        line.awaited = lambda: lender.awaited

        def work() -> tuple[Arrival, PeerError | None]:
            arrival, problem = exchange(line, wants, self._asking, buffer, self._peer)
            lender.settle(arrival)
            return arrival, problem

        running = asyncio.create_task(in_thread(work, self._threads))
        try:
            arrival, problem = await asyncio.shield(running)
        except asyncio.CancelledError:
            line.cut()
            while not running.done():  # cancelled again or not: the thread must have let go of the buffer
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            running.exception()  # looked at, or asyncio complains
            line.close()
            raise
        self._lines.append(line)
        return arrival, problem

    async def close(self) -> None:
        """Ends the connections; fetches are over by then."""
        for line in self._lines:
            line.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        """Turns aiohttp's errors into wherry's."""
        peer = self._peer
        try:
            yield
        except WherryError:
            raise
        except TimeoutError as problem:  # aiohttp's timeouts are TimeoutErrors too
            raise PeerTimeout(f"{peer} is silent", peer=peer, hint="check that it runs, and the address") from problem
        except aiohttp.ClientConnectorCertificateError as problem:
            hint = "give the certificate to trust: [transport.http] tls_ca"
            raise PeerUnreachable(
                f"{peer} shows a certificate that is not trusted: {problem.certificate_error}", peer=peer, hint=hint
            ) from problem
        except aiohttp.ClientConnectorError as problem:
            hint = "check that it serves, the address, and that the network lets you through"
            raise PeerUnreachable(f"cannot connect to {peer}: {problem.strerror or problem}", peer=peer, hint=hint) from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise PeerProtocolError(f"{peer} cut the connection or broke HTTP: {in_words(problem)}", peer=peer) from problem


def _allowed_by(dial: Dial, peer: str) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """Makes sockets for resolved addresses that may be dialled. Called at each connect; raises PeerDenied."""

    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, where = address
        dial.check(str(where[0]), peer)
        return socket.socket(family, kind, proto)

    return make


@asynccontextmanager
async def open_channel(
    base: URL,
    tls: ssl.SSLContext | None,
    options: HttpOptions,
    codings: Codings,
    dial: Dial = NAMED,
    *,
    memory: Gateways | None = None,
) -> AsyncIterator[Channel]:
    """Connects, proves that a wherry server or an IPFS gateway is there, and closes everything in the end. Raises PeerError.

    ``memory`` is what is known of gateways from earlier connections.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout, sock_read=options.idle_timeout)
    connector = aiohttp.TCPConnector(
        limit=options.connections, ssl=tls if tls is not None else True, socket_factory=_allowed_by(dial, str(base))
    )
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    memory, peer = memory or Gateways(), str(base).removesuffix("/")
    memory.check_rest(peer)
    gateway: GatewayChannel | None = None
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, auto_decompress=False, trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=64 * 1024,
    ) as session:  # fmt: skip
        own = tls if base.scheme == "https" else None
        channel = HttpChannel(base, session, own, options, codings=codings, dial=dial)
        try:
            foreign = await channel.hello(partial(memory.busy, peer))
            if foreign is None:
                yield channel
                return
            lines = Lines(options, tls)
            gateway = GatewayChannel(Asker(parsed(str(base)), lines, options, dial, memory), lines, options)
            try:
                await gateway.prove()
            except PeerProtocolError as problem:
                said, instead = foreign.message.removeprefix(f"{base} "), problem.message.removeprefix(f"{peer} ")
                raise PeerProtocolError(
                    f"{peer} is no wherry server ({said}) and no gateway ({instead})", peer=peer, hint=foreign.hint
                ) from problem
            yield gateway
        finally:
            if gateway is not None:
                gateway.close()
            await channel.close()
