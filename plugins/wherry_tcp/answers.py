"""Makes the answer to one request, message by message, on the thread that sends it (specs/0004 §3.5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.observe import Refused, Served, quiet
from wherry.wire.frames import HEADER_BYTES, Frame, charged, frame_bytes, plan
from wherry.wire.messages import BlocksFlag
from wherry.wire.states import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.abc.transport import BlockSource, Held
    from wherry.flow import Flow
    from wherry.observe import Emit
    from wherry.wire.connection import Connection
    from wherry.wire.messages import Want

_MESSAGE_BYTES: Final = 256 * 1024  # a message ends behind the frame that reaches it: between two, others may be sent


class Answering:
    """The answer to one request of the peer."""

    def __init__(
        self, want: Want, source: BlockSource | None, scheme: str, emit: Emit, told: Callable[[int], None] | None = None
    ) -> None:
        """``source``: None has nothing. ``told`` is called once, in a thread, with the bytes of blocks that were sent."""
        self.want = want
        self._source = source
        self._scheme = scheme
        self._emit = emit
        self._told = told
        self._began = time.monotonic()
        self._planned: list[Frame] | None = None
        self._blocks, self._bytes = 0, 0  # of those that are held
        self.sent = 0  # bytes of blocks, as they travel
        self.flow: Flow | None = None  # of the transfer that it is charged to; known once it is planned
        self.over = False
        self.on_over: Callable[[], None] | None = None  # called once, in any thread, when it is sent or given up

    def plan(self) -> list[Frame]:
        """Looks the blocks up, and lays them out; reads no file. Raises WherryError. In a thread."""
        frames = plan(self._found(), self.want.bytes_max, header_bytes=0)
        self._blocks = sum([len(frame.blocks) for frame in frames])
        self._bytes = sum([frame.size for frame in frames])
        self.flow = charged(frames)
        return frames

    def code(self, frames: list[Frame]) -> None:
        """Sends these instead: what was planned, as it was coded."""
        self._planned = frames

    def messages(self, wire: Connection) -> Iterator[list[Frame]]:
        """Gives the messages, each a list of frames, as they are to be sent. Looks blocks up first, and reads no file."""
        whole = False
        try:
            yield from self._messages(wire)
            whole = True
        finally:
            self._end()
            if self._emit is not quiet:
                self._emit(
                    Served(
                        scheme=self._scheme, blocks=self._blocks, bytes=self._bytes, wire_bytes=self.sent,
                        seconds=time.monotonic() - self._began, ok=whole,
                    )
                )  # fmt: skip

    def give_up(self) -> None:
        """Says that nothing is sent any more: the connection has ended before its turn came."""
        self._end()

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        if self._told is not None:
            self._told(self.sent)
        if self.on_over is not None:
            self.on_over()

    def _messages(self, wire: Connection) -> Iterator[list[Frame]]:
        number = self.want.request
        try:
            frames = self.plan() if self._planned is None else self._planned
        except WherryError:
            self._emit(Refused(self._scheme, "failed"))
            yield [Frame(wire.blocks(number, 0, BlocksFlag.FINAL | BlocksFlag.REFUSED), (), 0, 0)]
            return
        groups = _grouped(frames)
        for at, group in enumerate(groups):
            if wire.theirs.get(number) is not Request.ASKED:  # it is not wanted any more: what is left is not sent
                yield [Frame(wire.blocks(number, 0, BlocksFlag.FINAL), (), 0, 0)]
                return
            length = sum([len(frame.head) + frame.size for frame in group])
            flags = BlocksFlag.FINAL if at == len(groups) - 1 else BlocksFlag(0)
            yield [Frame(wire.blocks(number, length, flags), (), 0, 0), *group]
            self.sent += sum([frame.size if frame.blocks else max(0, len(frame.head) - HEADER_BYTES) for frame in group])

    def _found(self) -> Sequence[Held | None]:
        if self._source is None:
            return [None] * len(self.want.cids)
        found = self._source.find(self.want.cids)
        return [
            None if held is None or (size is not None and size != held.size) else held
            for held, size in zip(found, self.want.sizes, strict=True)
        ]


def _grouped(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Puts frames into messages. One that comes in pieces, as those of coded blocks do, stays together."""
    groups: list[list[Frame]] = [[]]
    size = left = 0
    for frame in frames:
        count = len(frame.head) + frame.size
        if not left:
            if size >= _MESSAGE_BYTES:
                groups.append([])
                size = 0
            left = frame_bytes(frame.head)
        groups[-1].append(frame)
        size += count
        left -= count
    return groups
