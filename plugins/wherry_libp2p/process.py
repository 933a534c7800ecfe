"""The process that runs py-libp2p, seen from wherry: started, spoken with, watched, ended (specs/0035 §4).

Lives on one event loop. Bodies of blocks are received straight into the buffers that core lent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wherry.access import anybody
from wherry.errors import (
    LocalError,
    PeerDenied,
    PeerError,
    PeerProtocolError,
    PeerTimeout,
    PeerUnreachable,
    PluginError,
    UnaskedBlocks,
    local_error,
)
from wherry_libp2p.frames import HEAD, VERSION, Fault, Head, Kind, fields_of, head_of, pack
from wherry_libp2p.meeting import Met

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wherry.access import Gate
    from wherry.errors import WherryError
    from wherry_libp2p.options import Libp2pOptions

_RUN: Final = (  # our own code and nothing else of this environment, whatever is installed in the other's
    "import sys, types; package = types.ModuleType('wherry_libp2p'); package.__path__ = [sys.argv[1]]; "
    "sys.modules[package.__name__] = package; from wherry_libp2p.sidecar import main; main()"
)
_PACKAGE: Final = str(Path(__file__).resolve().parent)
_END_S: Final = 2.0
_WORDS_BYTES_MAX: Final = 4096
_PEER_FAULTS: Final = {
    Fault.UNREACHABLE: PeerUnreachable,
    Fault.TIMEOUT: PeerTimeout,
    Fault.PROTOCOL: PeerProtocolError,
    Fault.LIES: UnaskedBlocks,
    Fault.ANOTHER: PeerDenied,  # for good: it is not who is meant, however often it is asked
}
_HINTS: Final = {Fault.ANOTHER: "check the peer id behind /p2p/: the peer at that address has another one now"}
_OURS: Final = frozenset(  # what it may send
    {Kind.READY, Kind.DONE, Kind.BLOCK, Kind.FAIL, Kind.SEEK, Kind.PONG, Kind.SAID, Kind.MEET, Kind.PART}
)


class Request:
    """One question to the process, and where its answer goes."""

    def __init__(self, place: Callable[[int, int], memoryview | None] | None = None) -> None:
        """``place(index, length)`` gives where a block's bytes go; None: nowhere. Raises ValueError for one not asked for."""
        self.place = place
        self.said = b""  # the answer to an ASK
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Process:
    """A running process. Made by `start`; of no more use once `ended` is set."""

    def __init__(self, child: asyncio.subprocess.Process, sock: socket.socket, options: Libp2pOptions, gate: Gate) -> None:
        self._child, self._sock, self._options = child, sock, options
        self._requests: dict[int, Request] = {}
        self._last = 0
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen = 0  # frames that came
        self._trouble = ""
        self._filling = 0  # the request whose block is being received
        self._filled = asyncio.Event()
        self._met = Met(gate, self._say)
        self.seek: Callable[[bytes, bool], Awaitable[bytes | None]] | None = None
        self.ended = asyncio.Event()
        self.peer_id, self.listen, self.counts = "", [""], dict[str, object]()

    @property
    def end(self) -> str:
        """How it ended, for people."""
        return f"the libp2p process ended{self._trouble}"

    @classmethod
    async def start(
        cls, options: Libp2pOptions, seed: bytes, listen: Sequence[str], *, bitswap: bool = True, gate: Gate = anybody
    ) -> Process:
        """Starts it, and waits until it has tested itself and listens. Raises PluginError, LocalError for a taken address.

        ``gate`` is asked who may connect. Without ``bitswap`` it asks a DHT and does nothing else, and is ready sooner: what it
        tests is that exchange.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as problem:
            raise local_error(problem, "making a socket for", "the libp2p process") from problem
        ours.setblocking(False)
        python = str(options.python or sys.executable)
        try:
            child = await asyncio.create_subprocess_exec(
                python, "-I", "-c", _RUN, _PACKAGE, str(theirs.fileno()),
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, limit=_WORDS_BYTES_MAX,
            )  # fmt: skip
        except OSError as problem:
            ours.close()
            raise PluginError(
                f"libp2p: {python!a} cannot be run: {problem.strerror}", hint="set [transport.libp2p] python"
            ) from problem
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        process = cls(child, ours, options, gate)
        try:
            async with asyncio.timeout(options.start_timeout):
                await process._hello(seed, listen, bitswap)
        except TimeoutError as problem:
            await process.stop()
            raise PluginError(f"libp2p: its process did not start within {options.start_timeout:.0f} s") from problem
        except BaseException:
            await process.stop()
            raise
        process._spawn(process._run())
        process._spawn(process._watch())
        process._spawn(process._met.watch())
        return process

    async def _hello(self, seed: bytes, listen: Sequence[str], bitswap: bool) -> None:
        start = {
            "version": VERSION,
            "seed": seed.hex(),
            "listen": list(listen),
            "bitswap": bitswap,
            "connections": self._options.connections,
            "peer_wants": self._options.peer_wants,
            "connect_timeout": float(self._options.connect_timeout),
            "idle_timeout": float(self._options.idle_timeout),
        }
        try:
            await self._send(pack(Kind.START, body=json.dumps(start).encode()))
            head = await self._head()
            body = await self._body(head.length)
            if head.kind is Kind.FAIL:
                raise _unfit(head.at, body)
            fields = fields_of(body) if head.kind is Kind.READY else {}
            listening = fields.get("listen")
            if fields.get("version") != VERSION or not isinstance(fields.get("peer"), str) or not isinstance(listening, list):
                raise ValueError(f"its first frame is {head.kind.name}")
        except (OSError, ValueError) as problem:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # it ends, if it has not yet
            last = await self._words()
            raise PluginError(
                f"libp2p: its process ended before it was ready: {last or problem}",
                hint="install wherry[libp2p], or set [transport.libp2p] python",
            ) from problem
        self.peer_id, self.listen = str(fields["peer"]), [str(one) for one in listening]

    async def _words(self) -> str:
        """Gives the last words of a process that ended, escaped."""
        pipe = self._child.stderr
        if pipe is None:
            return ""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                return ascii((await pipe.read(_WORDS_BYTES_MAX)).decode(errors="replace").strip()[-300:])[1:-1]
        return ""

    async def ask(self, kind: Kind, body: bytes, peer: str, *, index: int = 0, request: Request | None = None) -> int:
        """Asks and waits for the answer; gives the number of the request. Raises PeerError. Cancelled, it tells the process."""
        request = request or Request()
        self._last = number = self._last % 0xFFFF_FFFF + 1
        self._requests[number] = request
        try:
            await self._tell(pack(kind, number, index, body))
            await request.future
        except PeerError as problem:
            raise type(problem)(f"{peer}: {problem.message}", peer=peer, hint=problem.hint) from problem
        except BaseException:
            self._requests.pop(number, None)
            self._forget(number)
            while self._filling == number:  # its block is being received into memory that the caller gives back after this
                with suppress(asyncio.CancelledError):
                    await self._filled.wait()
            raise
        finally:
            self._requests.pop(number, None)
        return number

    def close(self, number: int) -> None:
        """Tells that the connection of a DIAL is over."""
        self._say(Kind.CLOSE, number)

    def _forget(self, number: int) -> None:
        if not self.ended.is_set():
            self._say(Kind.CANCEL, number)

    def _say(self, kind: Kind, number: int) -> None:
        self._spawn(self._quietly(pack(kind, number)))

    async def _quietly(self, frame: bytes) -> None:
        with suppress(PeerUnreachable):
            await self._tell(frame)

    async def _tell(self, frame: bytes) -> None:
        if self.ended.is_set():
            raise PeerUnreachable(self.end)
        try:
            await self._send(frame)
        except OSError as problem:
            raise PeerUnreachable("the libp2p process ended") from problem

    async def _send(self, *parts: bytes) -> None:
        async with self._sending:
            done = False
            try:
                for part in parts:
                    await asyncio.get_running_loop().sock_sendall(self._sock, part)
                done = True
            finally:
                if not done:  # half a frame may be on its way: nothing can follow it
                    with suppress(OSError):
                        self._sock.shutdown(socket.SHUT_RDWR)

    async def _head(self) -> Head:
        head = head_of(await self._body(HEAD.size))
        if head.kind not in _OURS:
            raise ValueError(f"a frame {head.kind.name} from the process")
        return head

    async def _body(self, length: int) -> bytearray:
        data = bytearray(length)
        await self._into(memoryview(data))
        return data

    async def _into(self, view: memoryview) -> None:
        loop, at = asyncio.get_running_loop(), 0
        while at < len(view):
            count = await loop.sock_recv_into(self._sock, view[at:])
            if not count:
                raise ConnectionResetError("its socket was closed")
            at += count

    async def _run(self) -> None:
        """Takes frames until the process ends. Whatever ends it ends all requests."""
        try:
            while True:
                head = await self._head()
                await self._take(head)
                self._seen += 1
        except (OSError, ValueError) as problem:
            self._trouble = self._trouble or f": {problem}"
        finally:
            self._end()

    async def _take(self, head: Head) -> None:
        request = self._requests.get(head.request)
        if head.kind is Kind.BLOCK:
            view = request.place(head.at, head.length) if request is not None and request.place is not None else None
            if view is None:
                await self._body(head.length)
                return
            self._filling = head.request
            try:
                await self._into(view)
            finally:
                self._filling = 0
                self._filled.set()
                self._filled = asyncio.Event()
            return
        body = bytes(await self._body(head.length))
        if head.kind is Kind.SEEK:
            self._spawn(self._look_up(head, body))
        elif head.kind is Kind.MEET:
            self._say(self._met.came(head.request, body), head.request)
        elif head.kind is Kind.PART:
            self._met.parted(head.request)
        elif head.kind is Kind.PONG:
            self.counts = fields_of(body)
        elif request is not None and not request.future.done():
            if head.kind in (Kind.DONE, Kind.SAID):
                request.said = body
                request.future.set_result(None)
            elif head.kind is Kind.FAIL:
                fault = Fault(head.at)
                words = ascii(body.decode(errors="replace")[:300])[1:-1]
                request.future.set_exception(_PEER_FAULTS.get(fault, PeerProtocolError)(words, hint=_HINTS.get(fault)))

    async def _look_up(self, head: Head, cid: bytes) -> None:
        found = await self.seek(cid, bool(head.at)) if self.seek is not None else None
        with suppress(OSError):
            if found is None:
                await self._send(pack(Kind.MISSING, head.request))
            elif head.at:
                await self._send(pack(Kind.DONE, head.request))
            else:
                await self._send(HEAD.pack(Kind.BLOCK, head.request, 0, len(found)), found)

    async def _watch(self) -> None:
        """Ends a process that hangs: one that says nothing in `idle_timeout`, asked whether it lives."""
        while True:
            seen = self._seen
            await self._quietly(pack(Kind.PING))
            await asyncio.sleep(self._options.idle_timeout)
            if self._seen == seen:
                self._trouble = f": it said nothing for {self._options.idle_timeout:.0f} s"
                self._end()
                return

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        with suppress(ProcessLookupError):
            self._child.kill()
        for request in self._requests.values():
            if not request.future.done():
                request.future.set_exception(PeerUnreachable(self.end))

    async def stop(self) -> None:
        """Ends it: its socket is closed, and it is killed if that does not do. Waits for it, cancelled or not."""
        ending = asyncio.ensure_future(self._stop())
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError as problem:  # it takes two seconds at the most
                cancelled = problem
        if cancelled is not None:
            raise cancelled
        ending.result()

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._end_softly()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._child.wait()
        with suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()
        self._sock.close()
        if (transport := getattr(self._child, "_transport", None)) is not None:
            transport.close()

    def _end_softly(self) -> None:
        self.ended.set()
        for request in self._requests.values():
            if not request.future.done():
                request.future.set_exception(PeerUnreachable("the libp2p process was stopped"))


def _unfit(index: int, body: bytes | bytearray) -> WherryError:
    """Says why the process will not run. Raises ValueError for a fault that there is not."""
    text = ascii(body.decode(errors="replace")[:300])[1:-1]
    fault = Fault(index)
    if fault is Fault.LISTEN:
        return LocalError(f"libp2p: cannot listen: {text}")
    if fault is Fault.ABSENT:
        return PluginError(
            f"libp2p: py-libp2p is not installed ({text})",
            hint="pip install 'wherry[libp2p]', or set python in its section to an interpreter that has it",
        )
    return PluginError(
        f"libp2p: the self-test failed, so it is not used: {text}", hint="install the version that wherry[libp2p] names"
    )
