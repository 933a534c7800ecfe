"""Sends frames over a socket, from worker threads, without holding more than a piece of them (specs/0008 §4, specs/0004 §7).

Contiguous leaves of a file go by sendfile; small blocks are gathered into pieces; what must be hashed or made first passes
through a lent buffer. `Outlet.pump` works until the socket is full, so a slow reader holds no thread.
"""

from __future__ import annotations

import enum
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from wherry.errors import WherryError
from wherry.flow import FREE
from wherry.wire.frames import withdrawn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.buffers import Buffer, BufferPool
    from wherry.flow import Flow
    from wherry.wire.frames import Frame

_PIECE_BYTES: Final = 128 * 1024  # small blocks are gathered up to here; 1,000 stalled readers then hold 128 MB at worst
GATHER_BYTES: Final = 64 * 1024  # a run up to here is read and gathered; sendfile's two more system calls cost more
LEAVE_BYTES: Final = 64 * 1024  # leave is taken for so many bytes at a time
_SEND_BYTES: Final = 1 << 30
_FILLER: Final = bytes(64 * 1024)  # what follows the head of a run that was withdrawn


class Pump(enum.Enum):
    """Why `Outlet.pump` came back."""

    DONE = "done"
    FULL = "full"  # the socket takes no more for now
    LEAVE = "leave"  # the flow is limited: leave to send must be got first, and set as `Outlet.allowed`
    BUFFER = "buffer"  # none is spare: one must be lent first, by setting `Outlet.buffer`


class CutShort(Exception):
    """A promised file became shorter, or could not be read, while it was sent; only closing the connection can say so."""


class Sending(Protocol):
    """A socket that does not block, or what stands for one."""

    def fileno(self) -> int:
        """See `socket.socket.fileno`."""

    def send(self, data: memoryview, /) -> int:
        """Sends some of ``data``. Raises BlockingIOError if nothing can be sent now."""


class Outlet:
    """One answer, or several, on their way. Used by one thread at a time."""

    def __init__(
        self,
        sock: Sending,
        frames: Iterable[Frame],
        pool: BufferPool,
        *,
        spans: bool = True,
        flow: Flow = FREE,
        strict: bool = False,
    ) -> None:
        """``spans``: the kernel may send files; not so where bytes are encrypted on their way. ``flow`` is asked first.

        ``strict``: what is being sent has no form for a run that is gone, so the answer ends there (CutShort).
        """
        self._socket = sock
        self._frames = iter(frames)
        self._pool = pool
        self._spans = spans
        self.flow = flow  # that is asked now
        self._strict = strict
        self.allowed = 0  # bytes that the flow gave leave for
        self._freely = 0  # bytes that went without asking, since nothing was limited
        self._frame: Frame | None = None
        self._pending = memoryview(b"")  # bytes to be sent before anything else
        self._fd = -1  # the file whose span is being sent, after what is pending
        self._offset = 0
        self._left = 0
        self._spanned: Frame | None = None  # the run that goes so
        self._filler = 0  # bytes without meaning to be sent after that
        self.buffer: Buffer | None = None  # lent for the run in work, and kept for the next one
        self._from_buffer = False  # whether what is pending lies in it
        self._block = 0  # of that run, the next to be read
        self._piece_bytes = 0  # of the block that lies in the buffer, with the run's head if it is the first
        self._again = 0  # bytes of the next block that were sent before the buffer was given back
        self.sent = 0  # bytes
        self.resent = 0  # segments that the kernel had sent again, when it was asked last

    def pump(self, patience_ms: int) -> Pump:
        """Sends what the socket takes, waiting at most ``patience_ms`` for it to take more.

        Raises OSError if the connection is gone, CutShort; what is wrong with a file is told to whom `Held` tells it.
        """
        while True:
            if (self._pending or self._left) and not self.allowed and self.flow.limited:
                self.allowed = self.flow.up_now(self.flow.up_piece)
                if not self.allowed:
                    return Pump.LEAVE
            if self._pending:
                if not self._send_pending() and not self._patient(patience_ms):
                    return Pump.FULL
            elif self._left:
                if not self._send_span() and not self._patient(patience_ms):
                    return Pump.FULL
            elif self._filler:
                self._pending = memoryview(_FILLER)[: self._filler]
                self._filler -= len(self._pending)
            elif self._frame is not None:
                if self.buffer is None:
                    self.buffer = self._pool.spare()  # waiting for one is the event loop's, and takes a hop there and back
                if self.buffer is None:
                    return Pump.BUFFER
                self._next_block()
            elif not self._next():
                self._give_back()
                return Pump.DONE

    def rest(self) -> None:
        """Gives the buffer back while the socket is full; the block in work is read again later.

        So those who read slowly do not keep the few buffers from the others.
        """
        if self._from_buffer:
            self._again = self._piece_bytes - len(self._pending)
            self._block -= 1
        self._give_back()

    def _give_back(self) -> None:
        if self._from_buffer:
            self._pending = memoryview(b"")
            self._from_buffer = False
        if self.buffer is not None:
            self.buffer.release()
            self.buffer = None

    def close(self) -> None:
        """Frees what is held, and gives back leave that was not used."""
        self._settle()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._give_back()

    def charge(self, flow: Flow) -> None:
        """Asks another flow from here on. On the thread that pumps, where the frames are made that it is for."""
        if flow is not self.flow:
            self._settle()
            self.flow = flow

    def _settle(self) -> None:
        """Gives back leave that was not used, and notes what went without."""
        if self.allowed:
            self.flow.unused(self.allowed)
            self.allowed = 0
        self.flow.moved(up=self._freely)
        self._freely = 0

    def _patient(self, patience_ms: int) -> bool:
        if not patience_ms:
            return False
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLOUT)
        return bool(poll.poll(patience_ms))

    def _went(self, count: int) -> None:
        self.sent += count
        if self.allowed:
            self.allowed -= count
        else:
            self._freely += count

    def _send_pending(self) -> bool:
        try:
            count = self._socket.send(self._pending[: self.allowed] if self.allowed else self._pending)
        except BlockingIOError:
            return False
        self._went(count)
        self._pending = self._pending[count:]
        if not self._pending:
            self._piece_sent()
        return True

    def _send_span(self) -> bool:
        try:
            count = os.sendfile(self._socket.fileno(), self._fd, self._offset, min(self._left, self.allowed or _SEND_BYTES))
        except BlockingIOError:
            return False
        except ConnectionError:
            raise
        except OSError:  # of the file, of which the system says no more than of the socket; if it is that one, `send` says so
            count = 0
        if count == 0:
            self._read_apart()
            return True
        self._went(count)
        self._offset += count
        self._left -= count
        if not self._left:
            self._end_span()
        return True

    def _end_span(self) -> None:
        os.close(self._fd)
        self._fd, self._left, self._spanned = -1, 0, None

    def _read_apart(self) -> None:
        """Goes on block by block with a run whose file became shorter, or cannot be read: from elsewhere, or with an error."""
        frame = self._spanned
        if frame is None:
            raise CutShort
        done, block = frame.size - self._left, 0
        while done >= frame.blocks[block].size:
            done -= frame.blocks[block].size
            block += 1
        self._end_span()
        self._frame, self._block = frame, block
        self._again = done if block else len(frame.head) + done

    def _next(self) -> bool:
        """Makes the next frames ready to be sent; False when there are none."""
        gathered = bytearray()
        for frame in self._frames:
            if not frame.blocks and len(frame.head) > _PIECE_BYTES and not gathered:
                self._pending = memoryview(frame.head)  # a coded block: sent as it lies in memory
                return True
            if not frame.blocks:
                gathered += frame.head
            elif frame.size <= GATHER_BYTES:
                gathered += read_small(frame, strict=self._strict)
            else:
                self._begin(frame, gathered)
                break
            if len(gathered) >= _PIECE_BYTES:
                break
        self._pending = memoryview(gathered)
        return bool(gathered) or self._frame is not None or self._left > 0 or self._filler > 0

    def _begin(self, frame: Frame, gathered: bytearray) -> None:
        """Begins a long run: by a span of its file, or block by block through a buffer."""
        span = None
        with suppress(WherryError):  # its file is gone; the block may lie elsewhere too
            span = frame.blocks[0].open_span() if self._spans else None
        if span is None and not (self._strict or whole(frame)):
            gathered += self._withdraw(frame)
            return
        if span is not None:
            self._give_back()
            gathered += frame.head
            self._fd, self._offset = span
            self._left, self._spanned = frame.size, frame
        else:
            self._frame, self._block, self._again = frame, 0, 0

    def _withdraw(self, frame: Frame) -> bytes:
        """Gives the head of a run that is gone, and has filler of the promised length sent behind it."""
        if self._strict:
            raise CutShort
        head = withdrawn(frame)
        self._filler = len(frame.head) + frame.size - len(head)
        return head

    def _next_block(self) -> None:
        """Reads the next block of the run in work into the buffer."""
        frame, buffer = self._frame, self.buffer
        if frame is None or buffer is None:
            return
        block = frame.blocks[self._block]
        head = frame.head if self._block == 0 else b""
        buffer.view[: len(head)] = head
        try:
            block.read_into(buffer.view[len(head) : len(head) + block.size])
        except WherryError as problem:
            if self._block or self._again:
                raise CutShort from problem  # its head is sent: the run cannot be withdrawn any more
            self._frame = None
            self._pending = memoryview(self._withdraw(frame))
            return
        self._piece_bytes = len(head) + block.size
        self._pending = buffer.view[self._again : self._piece_bytes]
        self._from_buffer = True
        self._again = 0
        self._block += 1
        if not self._pending:
            self._piece_sent()

    def _piece_sent(self) -> None:
        """Notes that nothing is pending any more. The buffer stays for the next run: asking for one takes a hop."""
        if self._from_buffer and self._frame is not None and self._block == len(self._frame.blocks):
            self._frame = None
        self._from_buffer = False


def whole(frame: Frame) -> bool:
    """Tells whether all blocks of a run are still there: once its head is sent, it cannot be withdrawn any more.

    They lie in one file. Where that is gone, one of them may lie elsewhere too, and the next one not.
    """
    try:
        span = frame.blocks[0].open_span()
    except WherryError:
        span = None
    if span is not None:
        os.close(span.fd)
        return True
    try:
        for block in frame.blocks:
            block.confirm()
    except WherryError:
        return False
    return True


def read_small(frame: Frame, *, strict: bool = False) -> bytes | bytearray:
    """Reads a whole run, with its head; gives what stands for it if its file has changed. ``strict``: raises CutShort then."""
    run = bytearray(len(frame.head) + frame.size)
    run[: len(frame.head)] = frame.head
    view, at = memoryview(run), len(frame.head)
    for block in frame.blocks:
        try:
            block.read_into(view[at : at + block.size])
        except WherryError as problem:
            if strict:
                raise CutShort from problem
            head = withdrawn(frame)
            return head + bytes(len(run) - len(head))
        at += block.size
    return run
