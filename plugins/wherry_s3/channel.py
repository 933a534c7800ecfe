"""The way to one bucket. Ranges are streamed into the lent buffer, a small piece at a time (specs/0020 §7).

obstore could fetch several ranges by one call, but keeps what it receives until all is there: a service that sends without
end would fill this machine's memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

import obstore

from wherry.abc.transport import Arrival, Channel
from wherry.errors import PeerError, PeerProtocolError, PeerTimeout
from wherry.limits import RATE_BYTES_MIN
from wherry.runs import planned
from wherry.units import MiB
from wherry_s3.faults import ABSENT, FAULTS, fault, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from obstore.store import S3Store

    from wherry.abc.transport import Lender, Want
    from wherry.runs import Plan, Run
    from wherry_s3.options import S3Options

_BATCHES: Final = 4  # under way at a time: each holds a buffer of the process's budget


class S3Channel(Channel):
    """A way to the objects below one prefix. Holds no connection of its own: obstore does."""

    manifests: ClassVar[bool] = False

    def __init__(self, store: S3Store, prefix: str, peer: str, options: S3Options) -> None:
        self._store, self._prefix, self._peer = store, prefix, peer
        self._idle_s = options.idle_timeout
        # A piece within `idle_timeout` is the least rate.
        self._piece = max(1, min(MiB, int(RATE_BYTES_MIN * options.idle_timeout)))
        self._slots = asyncio.Semaphore(options.connections)
        self.parallel = min(options.connections, _BATCHES)  # type: ignore[misc]  # an instance's own number, as configured

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`. What has no place in an object is missing."""
        if all(want.size is None for want in wants):
            yield Arrival(missing=range(len(wants)))
            return
        buffer = await lender.lend()
        try:
            plan = planned(wants, len(buffer.view))
            failure = await self._all(plan, buffer.view)
            if failure is not None and not plan.blocks:
                raise failure
        except BaseException:
            buffer.release()
            raise
        yield Arrival(buffer, plan.blocks, plan.missing)
        if failure is not None:
            raise failure

    async def _all(self, plan: Plan, view: memoryview) -> PeerError | None:
        """Receives all runs, a few at a time; adds to the plan's blocks and missing. Gives the first failure."""
        failures: list[PeerError] = []

        async def one(run: Run) -> None:
            async with self._slots:
                if failures:
                    return
                try:
                    count = await self._receive(run, view)
                except PeerError as problem:
                    failures.append(problem)
                    plan.blocks += run.arrived(run.came)[0]
                    return
            blocks, missing = run.arrived(count)
            plan.blocks += blocks
            plan.missing += missing

        async with asyncio.TaskGroup() as group:
            for run in plan.runs:
                group.create_task(one(run))
        return failures[0] if failures else None

    async def _receive(self, run: Run, view: memoryview) -> int:
        """Receives what the object has of a run; gives how many bytes, from its beginning on. Raises PeerError."""
        key = self._key(run.path)
        if key is None:
            return 0
        try:
            return await self._stream(key, run, view)
        except ABSENT:
            return 0
        except TimeoutError as problem:
            raise PeerTimeout(f"{self._peer}: the service was silent or too slow", peer=self._peer) from problem
        except ValueError:  # a path that no object can have
            return 0
        except FAULTS as problem:
            if status_of(problem) == 416:
                return 0
            raise fault(problem, self._peer, key) from problem

    async def _stream(self, key: str, run: Run, view: memoryview) -> int:
        async with asyncio.timeout(self._idle_s):
            result = await obstore.get_async(self._store, key, options={"range": (run.offset, run.stop)})
        start, stop = result.range
        if start != run.offset or not start < stop <= run.stop or (stop < run.stop and stop != result.meta["size"]):
            raise PeerProtocolError(f"{self._peer} sends other bytes than were asked for", peer=self._peer)
        at, end = run.at, run.at + stop - start
        stream = aiter(result.stream(self._piece))
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    piece = await anext(stream)
            except StopAsyncIteration:
                break
            if at + len(piece) > end:
                raise PeerProtocolError(f"{self._peer} sends more than was asked for", peer=self._peer)
            view[at : at + len(piece)] = piece
            at += len(piece)
            run.came = at - run.at
        if at != end:
            raise PeerProtocolError(f"{self._peer} cut its answer short", peer=self._peer)
        return stop - start

    def _key(self, path: str) -> str | None:
        """Gives the key of a file of the dataset; "" is a dataset that is one file. None: it can't be there."""
        if not path:
            return None if not self._prefix or self._prefix.endswith("/") else self._prefix
        return f"{self._prefix.removesuffix('/')}/{path}".removeprefix("/")
