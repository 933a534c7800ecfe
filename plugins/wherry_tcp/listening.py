"""Takes connections: no more than allowed, none that stays silent, each in a task of its own (specs/0004 §5)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.exchange import PeerInfo
from wherry.accepting import BACKLOG, Shortage, accepting, bound, crowded
from wherry.errors import PeerDenied, PeerError, UsageError
from wherry.observe import Refused
from wherry.offload import settled
from wherry.wire.connection import Connection
from wherry.wire.messages import SESSION_BYTES
from wherry_tcp.dialling import encrypted
from wherry_tcp.handshake import Mine, accept
from wherry_tcp.line import Line
from wherry_tcp.session import Session
from wherry_tcp.stream import Stream

if TYPE_CHECKING:
    import ssl

    from wherry.abc.transport import BlockSource
    from wherry_tcp.engine import Engine
    from wherry_tcp.places import Place

_END_S: Final = 8.0  # what is under way at the end has so long


class Listener:
    """Listens at one place. Made and used on one event loop."""

    def __init__(self, engine: Engine, place: Place, source: BlockSource) -> None:
        self.port = place.port
        self._engine = engine
        self._place = place
        self._source = source
        self._tls: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._shortage = Shortage()
        self._silent: dict[asyncio.Task[None], None] = {}  # hands are not shaken; the oldest first
        self._hosts: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: set[Session] = set()

    async def start(self) -> None:
        """Begins to listen. Raises OSError, UsageError."""
        if self._place.tls:
            from wherry_tcp.tls import server_context

            self._tls = server_context(self._engine.key())
        try:
            if self._place.scheme == "unix":
                self._sockets.append(_unix(self._place.path))
            else:
                self._sockets = await bound(self._place.host, self._place.port)
                self.port = self._sockets[0].getsockname()[1]
        except BaseException:
            self._close()
            raise
        self._accepting = [asyncio.create_task(accepting(sock, self._take, self._shortage)) for sock in self._sockets]

    async def stop(self) -> None:
        """Stops accepting, says good-bye, and waits for what is under way."""
        for task in self._accepting:
            task.cancel()
        await settled(self._accepting)
        self._close()
        for session in self._sessions:
            session.close("the node stops")
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=0.05 if not self._sessions else _END_S)
        for task in self._tasks:
            task.cancel()
        await settled([*self._tasks])

    def _close(self) -> None:
        for sock in self._sockets:
            sock.close()
        if self._place.scheme == "unix" and self._sockets:
            with suppress(OSError):
                os.unlink(self._place.path)
        self._sockets.clear()

    def _take(self, sock: socket.socket, address: Any) -> None:
        ip = str(address[0]) if self._place.scheme != "unix" else ""
        host = _host(ip)
        options = self._engine.options
        if ip and self._hosts.get(host, 0) >= options.max_per_host:
            self._refuse(sock)
            return
        if few := crowded(sock, len(self._tasks)):
            self._shortage.say()
        if few or len(self._tasks) >= options.max_connections:
            if not self._silent:
                self._refuse(sock)
                return
            next(iter(self._silent)).cancel()  # who has said nothing for longest makes room
            self._silent.pop(next(iter(self._silent)))
        name = f"{ip}:{address[1]}" if ip else f"unix://{self._place.path}"
        task = asyncio.create_task(self._serve(sock, ip, name))
        self._hosts[host] = self._hosts.get(host, 0) + 1
        self._tasks.add(task)
        self._silent[task] = None
        task.add_done_callback(partial(self._gone, host, sock))

    def _gone(self, host: str, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._silent.pop(task, None)
        sock.close()
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        if not task.cancelled():
            task.result()

    def _refuse(self, sock: socket.socket) -> None:
        self._engine.emit(Refused(self._place.scheme, "busy"))
        Stream(sock).close(late=True)

    async def _serve(self, sock: socket.socket, ip: str, peer: str) -> None:
        """Shakes hands and works with a peer until it goes."""
        task = asyncio.current_task()
        engine, options, scheme = self._engine, self._engine.options, self._place.scheme
        stream: Stream | None = None
        try:
            async with asyncio.timeout(options.connect_timeout):
                stream = Stream(sock) if self._tls is None else await encrypted(sock, self._tls, server=True)
                line = Line(stream, Connection(peer, dialled=False, requests_max=options.max_requests), engine)
                line.codings = engine.offer()
                exchange = engine.exchange
                secret = secrets.token_bytes(SESSION_BYTES)
                hello, proven = await accept(
                    line,
                    Mine(
                        options.token, engine.key() if self._tls is not None else None,
                        engine.key().public if self._tls is not None else b"",
                        tuple(exchange.addresses()) if exchange is not None else (), line.codings, options.max_requests, secret,
                    ),
                )  # fmt: skip
        except (PeerError, OSError) as problem:  # ssl.SSLError and TimeoutError are OSErrors
            engine.emit(Refused(scheme, "denied" if isinstance(problem, PeerDenied) else "malformed"))
            if stream is not None:
                stream.close(late=not isinstance(problem, PeerDenied))
            sock.close()
            return
        except BaseException:  # whoever makes room, or the end: inside TLS the socket is the stream's
            if stream is not None:
                stream.close(late=True)
            raise
        finally:
            if task is not None:
                self._silent.pop(task, None)
        line.requests_max, line.decodes = min(hello.requests, options.max_requests), hello.codings
        line.charge(proven or ip)
        if hello.join:
            joined = engine.sessions.get(hello.join)
            if joined is None or (joined.info.ip, joined.info.id) != (ip, proven) or len(joined.lines) >= 16:
                stream.close()
                return
            await joined.joined(line)
            return
        address = hello.addresses[0] if hello.addresses else ""
        session = Session(engine, PeerInfo(scheme, proven, address, ip, incoming=True), line, self._source)
        engine.sessions[secret] = session
        self._sessions.add(session)
        try:
            with suppress(PeerError):  # it is told, and then left
                session.meet()
            await session.run()
        finally:
            self._sessions.discard(session)
            del engine.sessions[secret]


def _host(ip: str) -> str:
    """Gives what counts as one host: an address of IPv4, the network of IPv6 that one host is usually given."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network(f"{ip.partition('%')[0]}/64", strict=False))


def _unix(path: str) -> socket.socket:
    """Listens at a path; takes the place of a socket that nobody listens at any more. Raises OSError, UsageError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise UsageError(f"{path} is there and is no socket", hint="give a path where nothing is")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
        before = os.umask(0o177)  # its owner alone may connect
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
