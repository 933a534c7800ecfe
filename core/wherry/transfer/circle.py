"""Everybody whom this node knows: what it remembers of peers, who is banned, who is left alone for a while (specs/0029).

One for a session, shared by all its transfers and listeners. What it is asked is answered from memory; a thread of its own
brings to the disk what is new, and sees what other processes wrote. The thread begins with the first connection, so verbs that
meet nobody have none.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from wherry.access import key_of, place_of
from wherry.errors import LocalError, PeerDenied, PeerError, StoreError
from wherry.redaction import masked
from wherry.transfer.book import Book, key_of_peer
from wherry.transfer.breaker import Breakers
from wherry.transfer.door import Door

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    from wherry.abc.exchange import PeerInfo
    from wherry.abc.transport import Channel
    from wherry.store.state import StateDB
    from wherry.transfer.standing import Standing

REFRESH_S: Final = 2.0  # a ban by another process is seen within so long
FLUSH_S: Final = 15.0  # what was seen of peers is on disk within so long
_STEADY_S: Final = 30.0  # one that is lost sooner, and brought nothing, counts as a failure of its peer

_LOG = logging.getLogger(__name__)


class Circle:
    """Those whom a node knows. `gate`, `judge`, `met`, `keep` and `gave` are for any thread, the rest for the loop's."""

    def __init__(self, home: Path, state: StateDB, *, ban_s: float) -> None:
        """``ban_s`` is that of `Door`. Opens nothing yet."""
        self.door = Door(state, ban_s=ban_s)
        self.breakers = Breakers(random.Random())  # noqa: S311 - jitter is no secret
        self._home = home
        self._book: Book | None = None
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._wake = threading.Event()
        self._closed = False

    @property
    def book(self) -> Book:
        """What is remembered; read from the disk when first asked for."""
        if self._book is None:
            with self._lock:
                if self._book is None:
                    self._book = Book(self._home)
        return self._book

    # Who may come, and be called

    def gate(self, ip: str, peer_id: str) -> str:
        """Tells why a connection from or to ``ip`` is not wanted; "" if it is. See `wherry.env.Env.gate`."""
        self._begin()
        return self.door.gate(ip, peer_id)

    def judge(self, info: PeerInfo) -> str:
        """Tells why a peer is not wanted; "" if it is."""
        self._begin()
        return self.door.judge(info)

    def caught(self, info: PeerInfo | None, why: str) -> bool:
        """A peer sent a wrong block: it is banned if it proved its key. Tells whether it was; close its connection then."""
        if info is None or not self.door.caught(info.id, why):
            return False
        self._begin()
        self._wake.set()
        return True

    # What is remembered

    def met(self, address: str, info: PeerInfo | None = None) -> Standing:
        """Gives the standing to begin with of a peer that was connected to at ``address``, as ``info`` if that is known."""
        self._begin()
        return self.book.standing(_key(address, info))

    def keep(self, address: str, standing: Standing, info: PeerInfo | None = None) -> None:
        """Remembers what a standing saw since this was called last: now and then, and when the peer is left."""
        self.book.keep(_key(address, info), standing, address=address, ip=info.ip if info is not None else "")

    def gave(self, info: PeerInfo, count: int) -> None:
        """Remembers that a peer was given ``count`` bytes."""
        self.book.gave(key_of_peer(info), count, ip=info.ip)

    def useful(self, address: str) -> None:
        """A connection to ``address`` brought right blocks: however it ends, its breaker begins anew."""
        if place := place_of(address):
            self.breakers.of(place).succeeded(time.monotonic())

    # Calling

    def connecting(
        self, connect: Callable[[str], AbstractAsyncContextManager[Channel]]
    ) -> Callable[[str], AbstractAsyncContextManager[Channel]]:
        """Gives ``connect`` as it is for a node that keeps some out, and leaves those alone for a while that fail.

        It waits while the breaker of the address is open, and raises PeerDenied for one that is banned.
        """

        def connected(address: str) -> AbstractAsyncContextManager[Channel]:
            return _Called(self, connect, address)

        return connected

    # To the disk

    def _begin(self) -> None:
        if self._keeper is not None:
            return
        with self._lock:
            if not self._closed and not self._keeper:
                self._keeper = threading.Thread(target=self._run, name="wherry-circle", daemon=True)
                self._keeper.start()

    def _run(self) -> None:
        due = time.monotonic() + FLUSH_S
        while not self._closed:
            self._wake.wait(REFRESH_S)
            self._wake.clear()
            self._refresh()
            if time.monotonic() >= due and self._book is not None:
                self._book.flush()
                due = time.monotonic() + FLUSH_S

    def _refresh(self) -> None:
        try:
            self.door.refresh()
        except (StoreError, LocalError) as problem:  # a full disk, another process that writes for long: again in a moment
            _LOG.warning("the rules about peers cannot be read or written: %s", problem.message)

    def close(self) -> None:
        """Writes what is new, and ends the thread; idempotent. Blocks. Close it before the databases."""
        with self._lock:
            self._closed = True
        if self._keeper is not None:
            self._wake.set()
            self._keeper.join()
            self._keeper = None
            self._refresh()
        if self._book is not None:
            self._book.close()


class _Called:
    """One who is called. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_address", "_circle", "_connect", "_inner", "_made", "_place")

    def __init__(self, circle: Circle, connect: Callable[[str], AbstractAsyncContextManager[Channel]], address: str) -> None:
        self._circle, self._connect, self._address = circle, connect, address
        self._place = ""
        self._made: float | None = None  # when the connection stood

    async def __aenter__(self) -> Channel:
        circle, address = self._circle, self._address
        circle._begin()
        if why := circle.door.place(address):
            hint = "`wherry peers bans` lists the bans, `wherry peers unban` ends one"
            raise PeerDenied(f"{masked(address)} {why}", peer=address, hint=hint)
        self._place = place = place_of(address)
        wait = circle.breakers.of(place).ask(time.monotonic()) if place else 0.0
        while wait:
            await asyncio.sleep(wait)
            wait = circle.breakers.of(place).ask(time.monotonic())
        try:
            self._inner = self._connect(address)
            channel = await self._inner.__aenter__()
        except BaseException as problem:
            self._over(problem)
            raise
        self._made = time.monotonic()
        return channel

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            taken = bool(await self._inner.__aexit__(kind, problem, trace))
        except BaseException as late:
            self._over(late)
            raise
        self._over(None if taken else problem)
        return taken

    def _over(self, problem: BaseException | None) -> None:
        """Tells the breaker of the place how it ended; a folder of this machine has none: it does not tire."""
        if not self._place:
            return
        breaker, now = self._circle.breakers.of(self._place), time.monotonic()
        if isinstance(problem, PeerDenied):  # it is there, and says so
            breaker.succeeded(now)
        elif isinstance(problem, PeerError):
            steady = self._made is not None and now - self._made >= _STEADY_S
            (breaker.succeeded if steady else breaker.failed)(now)
        else:  # we left it, for reasons of our own
            (breaker.succeeded if self._made is not None else breaker.dropped)(now)


def _key(address: str, info: PeerInfo | None) -> str:
    if info is not None and info.id:
        return key_of_peer(info)
    return key_of(address.partition(":")[0], address=address)
