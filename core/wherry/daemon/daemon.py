"""The daemon of one home: an open session that serves, its transfers, its limits, and what it can be asked (specs/0027)."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from wherry.daemon.limits import NodeLimits, own_limits
from wherry.daemon.meter import Meter
from wherry.daemon.peers import connected
from wherry.daemon.reports import DaemonStatus
from wherry.daemon.requests import Change
from wherry.daemon.runner import Runner, running
from wherry.daemon.states import UNFINISHED
from wherry.errors import UsageError
from wherry.observe import Fetched, Served
from wherry.traffic.plan import check_rate
from wherry.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from typing import Any

    from wherry.daemon.entry import Entry
    from wherry.daemon.record import Asked
    from wherry.daemon.reports import LimitReport, TransferReport
    from wherry.daemon.requests import LimitChange
    from wherry.observe import Emit, Event, Observe
    from wherry.peer_results import ConnectedReport, PeerReport
    from wherry.session import Session
    from wherry.transfer.serve import Serving


class Counted:
    """Bytes in both directions, of all that a session moves. Its `take` is an `Emit`: for any thread."""

    def __init__(self, before: Emit) -> None:
        """``before`` is told every event as well."""
        self._before = before
        self._lock = threading.Lock()
        self.up = Meter(time.monotonic())
        self.down = Meter(time.monotonic())

    def take(self, event: Event) -> None:
        """Counts what was fetched and served, and hands every event on."""
        if isinstance(event, Fetched | Served):
            with self._lock:
                (self.down if isinstance(event, Fetched) else self.up).add(event.wire_bytes, time.monotonic())
        self._before(event)

    def rates(self) -> tuple[float, float, int, int]:
        """Gives bytes a second down and up, and all bytes down and up."""
        now = time.monotonic()
        with self._lock:
            return self.down.rate(now), self.up.rate(now), self.down.total, self.up.total


class Daemon:
    """What the daemon does and can be asked. For one event loop; make it with `opened`."""

    def __init__(self, session: Session, counted: Counted) -> None:
        self._session = session
        self._counted = counted
        self._limits = NodeLimits(session._wiring.traffic)
        self._since = time.time()
        self._serving: Serving | None = None
        self._stopping = asyncio.Event()
        options = session.config.daemon
        self.runner = Runner(
            self._get, session._store.state, most=options.transfers, retries=options.retries,
            rng=random.Random(), emit=counted.take,  # noqa: S311 - jitter is no secret
        )  # fmt: skip

    @property
    def listen(self) -> list[str]:
        """Where this node can be dialled."""
        return list(self._serving.listen) if self._serving is not None else []

    @property
    def seeds(self) -> bool:
        """Whether a transfer that does not say is seeded when it is complete."""
        return self._session.config.daemon.seed

    def status(self) -> DaemonStatus:
        """Tells what the daemon is and does."""
        down_rate, up_rate, down, up = self._counted.rates()
        return DaemonStatus(
            pid=os.getpid(), since=self._since, version=__version__, home=str(self._session.home), listen=self.listen,
            transfers=self.runner.count(), down_rate=down_rate, up_rate=up_rate, down_bytes=down, up_bytes=up,
            peers=len(self._session._node.swarm.stats().peers), sources=self.runner.sources_alive,
            names=self._session._renewed(),
        )  # fmt: skip

    async def add(self, asked: Asked) -> TransferReport:
        """Takes a new transfer. Raises UsageError, CIDError, TargetBusy, LimitExceeded, StoreError."""
        self._session._source(asked.what, asked.sources)  # says now what a run would fail with at once
        for rate in (asked.limit_up, asked.limit_down):
            check_rate(rate)
        return await self.runner.add(asked)

    async def change(self, name: str, change: Change) -> TransferReport:
        """Gives a transfer other settings. Raises NotFound, UsageError, StoreError."""
        for rate in (change.limit_up, change.limit_down):
            check_rate(rate or None)
        found = await self.runner.change(name, change)
        if found.state == "running":
            with suppress(UsageError):  # it has just begun, and takes its settings itself; or has just ended
                self._limits.steer(found.id, self.runner.record(found.id).asked)
        return found

    def limits(self) -> list[LimitReport]:
        """Lists the limits in force."""
        own = [own_limits(one.id, one.asked) for one in self.runner.records() if one.state in UNFINISHED]
        return self._limits.show() + [one for one in own if one is not None]

    async def limit(self, change: LimitChange) -> list[LimitReport]:
        """Changes a limit; one of a transfer is kept with it. Gives those in force. Raises UsageError, NotFound."""
        kind, _, name = change.scope.partition(":")
        if kind == "transfer":
            await self.change(name, Change(limit_up=change.up, limit_down=change.down))
        else:
            self._limits.set(change.scope, up=change.up, down=change.down)
        return self.limits()

    async def unlimit(self) -> list[LimitReport]:
        """Takes all limits away, those of transfers too. Raises StoreError."""
        self._limits.off()
        for record in self.runner.records():
            if record.state in UNFINISHED and own_limits(record.id, record.asked) is not None:
                await self.change(record.id, Change(limit_up=0, limit_down=0))
        return self.limits()

    async def peers(self) -> tuple[list[PeerReport], list[ConnectedReport]]:
        """Tells of all peers that are known, with the standings that they have in this process, and of those connected now."""
        known = await self._session.peers()
        return known, connected(self._session._node.swarm.stats().peers, known, self._session.traffic.report())

    async def peer(self, name: str) -> PeerReport:
        """Tells of one peer. Raises NotFound."""
        return await self._session.peer(name)

    def stop(self) -> None:
        """Lets `stopped` return. What is under way is ended by who leaves the context."""
        self._stopping.set()

    async def stopped(self) -> None:
        """Waits until somebody called `stop`."""
        await self._stopping.wait()

    def _get(self, entry: Entry, observe: Observe) -> Coroutine[Any, Any, object]:
        asked = entry.record.asked
        return self._session.get(  # not awaited here: a frame of this takes 0.3 KB, in each of a thousand transfers
            asked.what, sources=asked.sources, output=asked.output, transfer=entry.record.id, klass=asked.traffic_class,
            limit_up=asked.limit_up, limit_down=asked.limit_down, observe=observe, ledger=entry.ledger,
        )  # fmt: skip


@asynccontextmanager
async def opened(
    session: Session,
    *,
    listen: Sequence[str] = (),
    allow_public: bool | None = None,
    observe: Observe | None = None,
) -> AsyncIterator[Daemon]:
    """Serves what the home of ``session`` holds and runs its transfers, while the context lasts.

    Left, no transfer runs any more, and what they have is kept. The session is this daemon's alone. Raises what `serve` does.
    """
    counted = Counted(session._wiring.emit)
    session._wiring.emit = counted.take  # before any transport is built: they take it as it is then
    daemon = Daemon(session, counted)
    async with session.serve((), listen=listen, allow_public=allow_public, observe=observe) as serving:
        daemon._serving = serving
        async with running(daemon.runner):
            yield daemon
