"""The records of names over one connection: what is asked, and what is answered (specs/0004 §3.8). For one event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from wherry.abc.naming import HoldsRecords
from wherry.errors import PeerBusy, PeerError, PeerTimeout, PeerUnreachable, WherryError
from wherry.limits import NAME_ASKS_MAX, NAME_RECORD_BYTES_MAX
from wherry.offload import in_thread, settled
from wherry.wire.messages import Record, Resolve

if TYPE_CHECKING:
    from wherry.abc.transport import BlockSource
    from wherry_tcp.line import Line


class Naming:
    """What one peer and this node tell each other of names. Closed by its session."""

    def __init__(self, line: Line, source: BlockSource | None) -> None:
        """``source`` is what is answered from; one without records has none."""
        self._line = line
        self._source: object = source
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def ask(self, name: bytes, timeout_s: float) -> bytes | None:
        """Asks the peer for a record; None: it has none. Raises PeerError."""
        line = self._line
        if line.closed or line.failed:
            raise PeerUnreachable(f"the connection to {line.peer} has ended", peer=line.peer)
        if not line.wire.takes_names:
            hint = "it is an older wherry: ask another one"
            raise PeerError(f"{line.peer} carries no records of names", peer=line.peer, hint=hint)
        if name in line.wire.names or len(line.wire.names) >= NAME_ASKS_MAX:
            raise PeerBusy(f"{line.peer} is being asked for as many names as it takes", peer=line.peer)
        said = self._waiting[name] = asyncio.get_running_loop().create_future()
        line.send(Resolve(name))
        try:
            async with asyncio.timeout(timeout_s):
                return await said or None
        except TimeoutError as problem:
            raise PeerTimeout(f"{line.peer} does not answer", peer=line.peer) from problem
        finally:
            del self._waiting[name]

    def took(self, message: Resolve | Record) -> None:
        """Takes what the peer said."""
        if isinstance(message, Record):
            said = self._waiting.get(message.name)  # None: nobody waits any more
            if said is not None and not said.done():
                said.set_result(message.record)
            return
        task = asyncio.create_task(self._answer(message.name))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, name: bytes) -> None:
        record: bytes | None = None
        if isinstance(self._source, HoldsRecords):
            with suppress(WherryError):  # the store cannot be read: it has none to give
                record = await in_thread(partial(self._source.record, name))
        record = record or b""
        self._line.send(Record(name, record if len(record) <= NAME_RECORD_BYTES_MAX else b""))

    async def close(self, problem: PeerError | None) -> None:
        """Ends what is under way: the connection is gone."""
        why = problem or PeerUnreachable(f"{self._line.peer} ended the connection", peer=self._line.peer)
        for said in self._waiting.values():
            if not said.done():
                said.set_exception(why)
        for task in self._answering:
            task.cancel()
        await settled([*self._answering])
