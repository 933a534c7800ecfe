"""Each new connection is shown to wherry, which says whether it is wanted; in the process of its own (specs/0035 §5)."""

from __future__ import annotations

from typing import Any

from wherry_libp2p.frames import Kind

try:
    import trio
except ImportError:  # not installed here: `wherry_libp2p.sidecar.main` says so to wherry
    trio = None


class Door:
    """Asks wherry about connections. The muxer of each enters here before it reads or writes anything."""

    def __init__(self, line: Any, nursery: trio.Nursery) -> None:
        """``line`` is the socket to wherry."""
        self._line, self._nursery = line, nursery
        self._met: dict[int, tuple[Any, trio.Event]] = {}  # connection, and that wherry has answered
        self._denied: set[int] = set()  # of those
        self._last = 0
        self.opened = trio.Event()  # READY was said: until then wherry takes no other frame

    async def enter(self, connection: Any) -> int | None:
        """Gives a number for a connection that is wanted, to `leave` with; None for one that is not."""
        await self.opened.wait()
        self._last = number = self._last % 0xFFFF_FFFF + 1
        answered = trio.Event()
        self._met[number] = connection, answered
        address = connection.get_remote_address()
        try:
            await self._line.send(Kind.MEET, number, 0, f"{connection.peer_id} {address[0] if address else ''}".encode()[:256])
            await answered.wait()
        except BaseException:
            self.leave(number)
            raise
        if number not in self._denied:
            return number
        self.leave(number)
        return None

    def leave(self, number: int) -> None:
        """The connection is over."""
        if self._met.pop(number, None) is not None:
            self._denied.discard(number)
            self._nursery.start_soon(self._line.send, Kind.PART, number)

    def answer(self, number: int, *, wanted: bool) -> None:
        """Takes wherry's answer; or, later, that a connection is not wanted any more."""
        connection, answered = self._met.get(number, (None, None))
        if connection is None or answered is None:
            return
        if not wanted:
            self._denied.add(number)
            if answered.is_set():
                self._nursery.start_soon(_closed, connection)
        answered.set()


async def _closed(connection: Any) -> None:
    with trio.move_on_after(2):
        await connection.close()
