"""Takes connections for servers, as many as the limit of open files bears: those that say nothing make room (specs/0008 §5.1).

asyncio's own servers, without a descriptor to spare, print a traceback for each connection that could wait, again every second.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wherry.errors import in_words
from wherry.offload import settled

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

BACKLOG: Final = 1024  # connections that the kernel keeps until they are taken
_OPEN_FILES: Final = 65_536  # enough for any number of requests that is worth to be allowed
_TIRED_S: Final = 0.2  # after `accept` failed, as it does without a spare descriptor
_SAID_S: Final = 60.0  # between two lines that say it
_NO_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})  # such as ::1 of "localhost", where there is no IPv6


def allow_open_files() -> None:
    """Raises the soft limit of open files towards the hard one. An answer under way holds three, so 1,024 end at 340."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a system with a lower bound of its own: what is allowed has to do
        return


def open_files_max() -> int:
    """Gives how many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def crowded(sock: socket.socket, others: int) -> bool:
    """Tells of a connection just taken, beside ``others`` of its listener, whether it is one too many.

    A listener has a third of the files that may be open: the rest is for answers. Whatever the others do, a quarter is kept
    free; the kernel gives the lowest number that is, so one beyond means that so many are open.
    """
    most = open_files_max()
    return others >= most // 3 or sock.fileno() >= most * 3 // 4


class Shortage:
    """Says that files run short: once a minute, for who connects decides how often it happens."""

    def __init__(self) -> None:
        self._next = 0.0

    def say(self, problem: OSError | None = None) -> None:
        """``problem``: what the system said; None: a connection met `crowded`."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _SAID_S
        what = f"no connection can be taken: {in_words(problem)}" if problem is not None else "too many connections"
        logging.getLogger(__name__).warning(
            "%s; this process may have %d files open: raise the limit (`ulimit -n`)", what, open_files_max()
        )


async def bound(host: str, port: int) -> list[socket.socket]:
    """Listens at all addresses of ``host``, at one port (0: any that is free). Raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(infos):
            try:
                sockets.append(_listening(family, (address[0], port, *address[2:])))
            except OSError as problem:
                if problem.errno not in _NO_HERE:
                    raise
                missing = problem
                continue
            port = sockets[-1].getsockname()[1]
        if missing is not None and not sockets:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listening(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


async def accepting(listening: socket.socket, take: Callable[[socket.socket, Any], None], shortage: Shortage) -> None:
    """Gives each connection and its address to ``take``, until cancelled."""
    while True:
        try:
            await _acceptable(listening)  # and no `sock_accept`: cancelled just then, it would lose a connection, open
            sock, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            continue
        except OSError as problem:
            shortage.say(problem)
            await asyncio.sleep(_TIRED_S)
            continue
        take(sock, address)


async def _acceptable(listening: socket.socket) -> None:
    """Waits until somebody connects."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(listening, wake)
    try:
        await ready
    finally:
        loop.remove_reader(listening)


class _Guest(socket.socket):
    """A connection that says when it is closed, whoever closes it."""

    def __init__(self, sock: socket.socket, host: str, gone: Callable[[_Guest], None]) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.number = self.fileno()
        self.host = host
        self._gone = gone

    def close(self) -> None:
        super().close()
        self._gone(self)


class Reception:
    """Takes the connections of one server that is made of asyncio protocols. Made and used on one event loop."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_s: float,
        *,
        wanted: Callable[[str, list[str]], bool] | None = None,
        refused: Callable[[], None] | None = None,
    ) -> None:
        """``handshake_s``: who has not shaken hands (TLS) by then is left.

        ``wanted`` tells of the IP address of who comes, and of those of all who are here, whether it may come in. ``refused``
        is called of each for whom there is no room.
        """
        self._protocol = protocol
        self._tls = tls
        self._handshake_s = handshake_s if tls is not None else None
        self._wanted = wanted
        self._refused = refused
        self._shortage = Shortage()
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._greeting: set[asyncio.Task[None]] = set()
        self._guests: dict[int, _Guest] = {}  # by their descriptors
        self._silent: dict[int, _Guest] = {}  # of them, those without a request under way; the longest silent first

    async def start(self, host: str, port: int) -> int:
        """Begins to listen; gives the port. Raises OSError if the address cannot be bound."""
        self._sockets = await bound(host, port)
        self._accepting = [asyncio.create_task(accepting(sock, self._take, self._shortage)) for sock in self._sockets]
        found: int = self._sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """Stops accepting; who is here stays. Twice is once."""
        tasks = [*self._accepting, *self._greeting]
        for task in tasks:
            task.cancel()
        await settled(tasks)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    @contextmanager
    def hearing(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Keeps a connection from being cut while a request that came over it is answered inside the block."""
        sock = transport.get_extra_info("socket") if transport is not None else None
        guest = self._silent.pop(sock.fileno(), None) if sock is not None else None
        try:
            yield
        finally:
            if guest is not None and self._guests.get(guest.number) is guest:
                self._silent[guest.number] = guest  # as the last: its answer may not be out yet

    def _take(self, sock: socket.socket, address: Any) -> None:
        host = str(address[0])
        if self._wanted is not None and not self._wanted(host, [guest.host for guest in self._guests.values()]):
            sock.close()
            return
        if crowded(sock, len(self._guests)):
            self._shortage.say()
            if not self._make_room():
                sock.close()
                if self._refused is not None:
                    self._refused()
                return
        guest = _Guest(sock, host, self._leave)
        self._guests[guest.number] = self._silent[guest.number] = guest
        task = asyncio.create_task(self._greet(guest))
        self._greeting.add(task)
        task.add_done_callback(partial(self._greeted, guest))

    def _make_room(self) -> bool:
        """Ends the connection that has been silent longest, as any may be ended; False: there is none."""
        if not self._silent:
            return False
        guest = self._silent.pop(next(iter(self._silent)))
        with suppress(OSError):  # it is gone already
            guest.shutdown(socket.SHUT_RDWR)  # its protocol sees the end and closes it
        return True

    async def _greet(self, guest: _Guest) -> None:
        with suppress(OSError):  # it left, or speaks no TLS: asyncio has closed it
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, guest, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )

    def _greeted(self, guest: _Guest, task: asyncio.Task[None]) -> None:
        self._greeting.discard(task)
        if task.cancelled():  # perhaps before asyncio had the connection
            guest.close()

    def _leave(self, guest: _Guest) -> None:
        for known in (self._guests, self._silent):
            if known.get(guest.number) is guest:
                del known[guest.number]
