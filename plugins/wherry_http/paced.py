"""Writes through the event loop within the limits of the link: the way of TLS, which threads cannot take (specs/0026 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from wherry.flow import Flow


class PacedWriter:
    """An answer's writer, and the leave that was taken for it. Waiting for leave is apart from writing, which has deadlines."""

    def __init__(self, writer: AbstractStreamWriter, flow: Flow) -> None:
        self._writer = writer
        self._flow = flow
        self._leave = 0

    def may(self, count: int) -> bool:
        """Tells whether ``count`` bytes may be written now, and takes leave for them if that is needed."""
        if self._leave < count and self._flow.limited:
            self._leave += self._flow.up_now(count - self._leave)
            return self._leave >= count
        return True

    async def leave(self, count: int) -> None:
        """Waits until ``count`` bytes may be written."""
        if not self.may(count):
            missing = count - self._leave
            await self._flow.up(missing)
            self._leave += missing

    async def write(self, data: bytes | bytearray) -> None:
        """Writes what there is leave for."""
        if self._leave >= len(data):
            self._leave -= len(data)
        else:
            self._flow.moved(up=len(data) - self._leave)
            self._leave = 0
        await self._writer.write(data)

    async def drain(self) -> None:
        """Waits until it is on its way."""
        await self._writer.drain()

    def close(self) -> None:
        """Gives back what was not used."""
        self._flow.unused(self._leave)
        self._leave = 0
