"""``latency``: how long one leaf takes through the real channel while big transfers run, beside the same server at rest."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from itertools import cycle
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Arrival, Lender
from wherry.buffers import Buffer, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import WherryError
from wherry.units import GiB
from wherry_cli.bench.figure import Arm, Bound, Figure, Report, Run, percentile
from wherry_cli.bench.leaves import leaves
from wherry_cli.bench.load import TRANSFERS, loaded
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.transport import Channel, Want
    from wherry_cli.bench.workspace import Workspace

P99_BOUND: Final = Bound("below", 100.0)  # ms
LEAVES: Final = 256
REST: Final = "server at rest"
LOADED: Final = f"{TRANSFERS} transfers beside"
_PATIENCE_S: Final = 0.05  # a request; the loaded arm gives up after so long for each of them, and some more
_SLACK_S: Final = 10.0
_LASTING_BYTES: Final = GiB  # four transfers of less are over before much can be timed beside them
_GENERATED: Final = "synth://2GiB?seed=4"


def latency(space: Workspace) -> Report:
    """Asks for leaves one by one: at rest, then under load, each round."""
    source, scale = space.large(), space.scale
    wants = leaves(source, LEAVES)
    count = max(1, scale.requests // scale.rounds)
    times: dict[str, list[float]] = {REST: [], LOADED: []}
    with space.home() as server_home:
        cid = space.wherry(server_home, "add", str(source)).result["cid"]
        if scale.large_bytes < _LASTING_BYTES:
            cid = space.wherry(server_home, "add", _GENERATED).result["cid"]
        with space.serving(server_home) as served:

            def rest() -> Run:
                return _run(times[REST], asyncio.run(_probe(space, served.address, wants, count, lambda: True)))

            def under_load() -> Run:
                with loaded(space, served.address, cid) as load:
                    found = asyncio.run(_probe(space, served.address, wants, count, load.under_way))
                return _run(times[LOADED], found)

            found = space.compare({REST: rest, LOADED: under_load})
    report = make_report(found, times, wanted=count * scale.rounds, at_full_size=scale.large_bytes >= Scale().large_bytes)
    if scale.large_bytes < _LASTING_BYTES:
        report.notes.append(f"the transfers are of {_GENERATED}: the file is too small to keep them going")
    return report


def make_report(found: dict[str, Arm], times: dict[str, list[float]], *, wanted: int, at_full_size: bool) -> Report:
    """Makes the report from the times of all requests, in seconds."""
    loaded_times, rest_times = times[LOADED], times[REST]
    notes = [f"{len(loaded_times):,} requests were timed while all {TRANSFERS} transfers moved"]
    if len(loaded_times) < wanted:
        notes.append(f"{wanted:,} were wanted: the transfers did not last, or the requests took too long")
    return Report(
        "latency",
        f"one leaf of 1 MiB a request, verified, while {TRANSFERS} transfers run from the same server",
        arms=[found[LOADED], found[REST]],
        figures=[
            Figure("99th percentile under load", percentile(loaded_times, 99) * 1e3, "ms", P99_BOUND),
            Figure("50th percentile under load", percentile(loaded_times, 50) * 1e3, "ms"),
            Figure("highest under load", max(loaded_times, default=float("nan")) * 1e3, "ms"),
            Figure("99th percentile at rest", percentile(rest_times, 99) * 1e3, "ms"),
            Figure("50th percentile at rest", percentile(rest_times, 50) * 1e3, "ms"),
        ],
        notes=notes,
        at_full_size=at_full_size,
    )


def _run(all_times: list[float], found: list[float]) -> Run:
    all_times += found
    more = {"requests": float(len(found)), "p50_ms": percentile(found, 50) * 1e3, "p99_ms": percentile(found, 99) * 1e3}
    return Run(sum(found), more)


class _Checker(Lender):
    """Lends buffers and verifies what is laid in them, as core does; writes nothing."""

    def __init__(self) -> None:
        self._pool = BufferPool()
        self.want: Want | None = None

    async def lend(self) -> Buffer:
        """See `Lender.lend`."""
        return await self._pool.lend()

    def settle(self, arrival: Arrival) -> None:
        """See `Lender.settle`."""
        arrival.settled = True
        if arrival.buffer is not None and self.want is not None:
            for _, start, stop in arrival.blocks:
                if CID.of(RAW, arrival.buffer.view[start:stop]) != self.want.cid:
                    arrival.failure = WherryError(f"the leaf {self.want.cid} came with other bytes")


async def _probe(space: Workspace, address: str, wants: Sequence[Want], count: int, counts: Callable[[], bool]) -> list[float]:
    """Asks for ``count`` leaves one after the other; gives the times of those during all of which ``counts`` was true."""
    from wherry.wiring import Wiring

    found: list[float] = []
    checker = _Checker()
    end = time.monotonic() + _SLACK_S + count * _PATIENCE_S
    async with Wiring(space.folder, space.config, space.environ).transport(address).connect(address) as channel:
        for want in cycle(wants):
            if len(found) == count or time.monotonic() > end:
                break
            if not counts():
                await asyncio.sleep(0.01)
                continue
            began = time.perf_counter()
            await _ask(channel, checker, want)
            took = time.perf_counter() - began
            if counts():
                found.append(took)
    return found


async def _ask(channel: Channel, checker: _Checker, want: Want) -> None:
    checker.want = want
    came = 0
    async with aclosing(channel.fetch([want], checker)) as arrivals:
        async for arrival in arrivals:
            if not arrival.settled:
                checker.settle(arrival)
            came += len(arrival.blocks)
            if arrival.buffer is not None:
                arrival.buffer.release()
            if arrival.failure is not None:
                raise arrival.failure
    if came != 1:
        raise WherryError(f"{came} answers came for one leaf")
