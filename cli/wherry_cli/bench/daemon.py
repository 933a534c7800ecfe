"""``daemon``: a thousand transfers of one class at a time through one daemon (specs/0027): how even they are, what it needs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wherry.session import NOWHERE, Session
from wherry_cli.bench.child import started
from wherry_cli.bench.figure import Arm, Bound, Figure, Report, Run
from wherry_cli.bench.memory import PEAK_BOUND, peak_figure
from wherry_cli.bench.scale import Scale
from wherry_cli.bench.workspace import Served

if TYPE_CHECKING:
    from pathlib import Path

    from wherry_cli.bench.child import Ended
    from wherry_cli.bench.workspace import Workspace
    from wherry_cli.control.client import Control

SERVERS: Final = 4
RATE: Final = 60  # MB a second that all share: what this machine does, and more, would not show who waits for whom
SLOW: Final = 20  # until all run: who began first would have more at half time, and that is no privilege
PARTS: Final = 2  # jobs of `Scale.transfer_bytes` of each transfer, so that there is something to share
OVER: Final = frozenset({"complete", "failed", "cancelled"})
_AT_ONCE: Final = 16  # requests to the daemon
_END_S: Final = 1800.0
JAIN_BOUND: Final = Bound("at least", 0.9)


@dataclass(slots=True)
class Crowd:
    """What the daemon tells of its transfers."""

    count: int
    size: int  # bytes of each
    states: dict[str, str] = field(default_factory=dict)
    got: dict[str, int] = field(default_factory=dict)
    most: int = 0  # that ran at a time
    before: dict[str, int] = field(default_factory=dict)  # bytes that each had when all ran
    half: list[int] = field(default_factory=list)  # bytes that each had beyond that, when half of all were there
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # all run

    def take(self, told: dict[str, Any]) -> None:
        """Takes one event."""
        self.states[told["id"]], self.got[told["id"]] = told["state"], told["bytes_done"]
        self.most = max(self.most, sum(state == "running" for state in self.states.values()))
        if not self.before and len(self.states) == self.count and "queued" not in self.states.values():
            self.before = dict(self.got)
            self.ready.set()
        if self.before and not self.half and 2 * sum(self.got.values()) >= self.count * self.size:
            self.half = [got - self.before[name] for name, got in self.got.items()]

    @property
    def over(self) -> bool:
        """Whether all have ended."""
        return len(self.states) == self.count and all(state in OVER for state in self.states.values())

    @property
    def jain(self) -> float:
        """Jain's index of what they had got at half time since all ran; 0 if that never came."""
        return sum(self.half) ** 2 / (len(self.half) * sum(size**2 for size in self.half)) if any(self.half) else 0.0


def daemon(space: Workspace) -> Report:
    """Gives one daemon so many transfers, all at a time, and watches."""
    crowd = Crowd(space.scale.transfers, PARTS * space.scale.transfer_bytes)
    space.say(f"{crowd.count:,} transfers of {crowd.size / 1e6:.1f} MB at {RATE} MB/s")
    seconds, ended = _measured(space, crowd)
    run = Run(seconds, {"cpu_seconds": ended.cpu_seconds, "peak_bytes": float(ended.peak_bytes)})
    done = sum(state == "complete" for state in crowd.states.values())
    return Report(
        "daemon",
        f"{crowd.count:,} transfers of {crowd.size / 1e6:.1f} MB, of one class, through one daemon limited to {RATE} MB/s",
        arms=[Arm("wherry up", [run], count=crowd.count * crowd.size / 1e6)],
        figures=[
            Figure("complete", done / crowd.count, "x", Bound("at least", 1.0)),
            Figure("transfers at a time", crowd.most, "", Bound("at least", crowd.count)),
            Figure("Jain's index of the bytes of each at half time", crowd.jain, "", JAIN_BOUND),
            peak_figure("peak of the daemon", float(ended.peak_bytes), PEAK_BOUND),
            Figure("CPU time of the daemon", ended.cpu_seconds, "s"),
        ],
        notes=[f"four servers over tcp; `[daemon] transfers` is {crowd.count:,}, and 8 by default"],
        at_full_size=crowd.count >= Scale().transfers and crowd.size >= PARTS * Scale().transfer_bytes,
    )


def _measured(space: Workspace, crowd: Crowd) -> tuple[float, Ended]:
    with ExitStack() as stack:
        addresses: list[str] = []
        cids: list[str] = []
        for number in range(SERVERS):
            home = stack.enter_context(space.home())
            cids += asyncio.run(_added(space, home, range(number, crowd.count, SERVERS), crowd.size))
            line = space.wherry_line(home, "serve", "--listen", "tcp://127.0.0.1:0")
            server = stack.enter_context(started(line, space.environ))
            addresses += [Served(server).address] * (len(cids) - len(addresses))
        home = stack.enter_context(space.home())
        settings = {"DAEMON__TRANSFERS": str(crowd.count), "DAEMON__SEED": "false", "LIMITS__DOWN": f"{SLOW}MB/s"}
        environ = {**space.environ, **{f"WHERRY_{name}": value for name, value in settings.items()}}
        line = space.wherry_line(home, "up", "--foreground", "--listen", "tcp://127.0.0.1:0")
        child = stack.enter_context(started(line, environ))
        child.first_line()
        seconds = asyncio.run(_run(home, crowd, list(zip(cids, addresses, strict=True))))
        return seconds, child.wait()


async def _added(space: Workspace, home: Path, numbers: range, size: int) -> list[str]:
    async with Session.open(home=home, config=space.config, environ=space.environ, verb="bench") as session:
        return [str((await session.add(f"synth://{size}?seed={number + 1}")).cid) for number in numbers]


async def _run(home: Path, crowd: Crowd, what: list[tuple[str, str]]) -> float:
    """Asks for all, waits until all have ended, and ends the daemon; gives the seconds from when all ran."""
    from wherry_cli.control.client import connected

    loop = asyncio.get_running_loop()
    async with connected(home) as control, asyncio.timeout(_END_S):
        watching = asyncio.create_task(_watch(control, crowd))
        turn = asyncio.Semaphore(_AT_ONCE)

        async def ask(cid: str, address: str) -> None:
            async with turn:
                await control.add(what=cid, output=NOWHERE, sources=[address])

        await asyncio.gather(*(ask(cid, address) for cid, address in what))
        await crowd.ready.wait()
        began = loop.time()
        await control.limit(scope="node", down=RATE * 1_000_000)
        await watching
        seconds = loop.time() - began
        await control.stop()
        return seconds


async def _watch(control: Control, crowd: Crowd) -> None:
    async for told in control.events():
        if told.get("event") == "transfer":
            crowd.take(told)
            if crowd.over:
                return
