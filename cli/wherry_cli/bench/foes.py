"""A get among foes, for ``swarm``: nine liars beside one honest peer that is slow, and peers that die one after the other.

All of them are processes of their own, over real sockets. What is bounded is what they cost (specs/0014 §2).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wherry.observe import Progress
from wherry.results import GetResult
from wherry.session import Session
from wherry.synth import Synth
from wherry.units import MiB
from wherry_cli.bench.child import started
from wherry_cli.bench.figure import Arm, Bound, Figure, Run
from wherry_cli.bench.liars import LIES
from wherry_cli.bench.workspace import Served

if TYPE_CHECKING:
    from wherry.observe import Shown
    from wherry_cli.bench.child import Child
    from wherry_cli.bench.workspace import Workspace

LIARS: Final = 9
HONEST: Final = 4  # MB a second
LIED_BYTES: Final = 32 * MiB
RATES: Final = (8, 4, 4, 2, 2, 2, 1, 2)  # MB a second of those who die, but for the last one, which stays
KILLED_BYTES: Final = 64 * MiB
STALL: Final = Bound("at most", 10.0)
NONE: Final = Bound("at most", 0.0)
# One job of 1 MiB each, and a second one of who gave the manifest (specs/0013 §3); what may come twice (specs/0025 §3).
WASTE: Final = Bound("at most", (LIARS + 1 + 4) * MiB / 1e6)
TWICE: Final = Bound("at most", 4 * MiB / 1e6)  # the same of liars who send nothing


@dataclass(slots=True)
class Longest:
    """Hears of a get, and finds the longest time without a new verified byte."""

    seconds: float = 0.0
    done: int = 0
    at: float = field(default_factory=time.monotonic)
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: Shown) -> None:
        """Takes one event."""
        if isinstance(event, Progress) and event.bytes_done > self.done:
            now = time.monotonic()
            self.seconds, self.at = max(self.seconds, now - self.at), now
            self.done = event.bytes_done
            self.grew.set()

    async def beyond(self, count: int) -> None:
        """Waits until more than ``count`` bytes are there."""
        while self.done <= count:
            self.grew.clear()
            await self.grew.wait()


def lied_to(space: Workspace, share: float) -> tuple[list[Arm], list[Figure]]:
    """Gets from nine liars and one that is honest; ``share`` of the full size."""
    arms, figures = [], []
    size = max(8 * MiB, round(LIED_BYTES * min(1.0, share)))
    for how in LIES if share >= 0.1 else ("wrong",):  # in small one will do: most of it is starting processes
        space.say(f"{LIARS} liars: {how}")
        run, kept_out, framed, wrong = asyncio.run(_lied_to(space, how, size))
        proof = how == "wrong"
        arms.append(Arm(f"{LIARS} liars ({how})", [run], count=size / 1e6))
        vain = run.more["vain_bytes"] / 1e6
        figures += [
            Figure(f"{LIARS} liars ({how}): received in vain", vain, "MB", WASTE if proof else TWICE),
            Figure(f"{LIARS} liars ({how}): longest stall", run.more["stall_seconds"], "s", STALL),
            Figure(f"{LIARS} liars ({how}): wrong files", wrong, "", NONE),
        ]
        if proof:
            figures.append(Figure(f"{LIARS} liars ({how}): banned", kept_out, "", Bound("at least", LIARS)))
            figures.append(Figure(f"{LIARS} liars ({how}): honest peers banned", framed, "", NONE))
    return arms, figures


async def _lied_to(space: Workspace, how: str, size: int) -> tuple[Run, int, int, int]:
    """Gives the run, how many liars and how many others are banned behind it, and whether the file is wrong."""
    what, folder, target = f"synth://{size}?seed=14", space.folder / "liars", space.folder / "lied"
    words = [sys.executable, "-m", "wherry_cli.bench.liars", str(folder), how, str(LIARS), what]
    try:
        with started(words, space.environ) as lying, space.home() as honest, space.home() as home:
            cid = str(space.wherry(honest, "add", what).result["cid"])
            line = space.wherry_line(honest, "serve", "--listen", "tcps://127.0.0.1:0", "--limit-up", f"{HONEST}MB/s")
            liars = Served(lying).addresses
            with started(line, space.environ) as serving:
                async with Session.open(home=home, config=space.config, environ=space.environ, verb="bench") as session:
                    sources = [*liars, Served(serving).address]
                    longest, began = Longest(), time.monotonic()
                    found = await session.get(cid, sources=sources, output=str(target), observe=longest)
                    took = time.monotonic() - began
                    banned = {rule.what for rule in await session.rules() if rule.by == "wherry"}
        kept_out = sum(any(f"//{key}@" in address for key in banned) for address in liars)
        vain = found.fetched_bytes - found.bytes if isinstance(found, GetResult) else 0
        more = {"vain_bytes": float(vain), "stall_seconds": longest.seconds}
        return Run(took, more), kept_out, len(banned) - kept_out, int(not _right(target, what))
    finally:
        space.remove(target)
        if folder.exists():
            space.remove(folder)


def killed(space: Workspace, share: float) -> tuple[Arm, list[Figure], str]:
    """Gets from eight peers and another get, all of which but one are killed, or fall silent, at moments by chance."""
    size = max(16 * MiB, round(KILLED_BYTES * min(1.0, share)))
    arm, wrong, deaths = Arm("peers that die", count=size / 1e6), 0, 0
    for number in range(space.scale.rounds):
        run, right = asyncio.run(_killed(space, size, number))
        arm.runs.append(run)
        wrong += not right
        deaths += int(run.more["deaths"])
    stall = max(run.more["stall_seconds"] for run in arm.runs)
    figures = [
        Figure("peers that die: longest stall", stall, "s", STALL),
        Figure("peers that die: wrong files", wrong, "", NONE),
    ]
    return arm, figures, f"peers that die: {deaths} in {len(arm.runs)} gets, two of three by SIGKILL, the others by SIGSTOP"


async def _killed(space: Workspace, size: int, number: int) -> tuple[Run, bool]:
    what, target, other = f"synth://{size}?seed=15", space.folder / "got", space.folder / "other"
    rng = random.Random(number)  # noqa: S311 - moments, and no secret
    try:
        async with AsyncExitStack() as stack:
            peers: list[Child] = []
            addresses, cid = [], ""
            for rate in RATES:
                home = stack.enter_context(space.home())
                cid = str(space.wherry(home, "add", what).result["cid"])
                line = space.wherry_line(home, "serve", "--listen", "tcp://127.0.0.1:0", "--limit-up", f"{rate}MB/s")
                peers.append(stack.enter_context(started(line, space.environ)))
                addresses.append(Served(peers[-1]).address)
            froms = [word for address in addresses for word in ("--from", address)]
            words = ("get", cid, *froms, "--listen", "tcp://127.0.0.1:0", "-o", str(other))
            getting = stack.enter_context(started(space.wherry_line(stack.enter_context(space.home()), *words), space.environ))
            home = stack.enter_context(space.home())
            session = await stack.enter_async_context(
                Session.open(home=home, config=space.config, environ=space.environ, verb="bench")
            )
            stack.callback(_wake, peers)
            longest, began = Longest(), time.monotonic()
            deaths = _Deaths([peers[0], getting, *rng.sample(peers[1:-1], len(peers) - 2)], longest, size, rng)
            dying = asyncio.create_task(deaths.run())
            await session.get(cid, sources=addresses, output=str(target), observe=longest)
            took = time.monotonic() - began
            dying.cancel()
            await asyncio.wait([dying])
        return Run(took, {"stall_seconds": longest.seconds, "deaths": float(deaths.count)}), _right(target, what)
    finally:
        for path in (target, other, *space.folder.glob(".other*")):
            space.remove(path)


class _Deaths:
    """Ends peers one after the other, when so much has come: the fastest one first, then who fetches the same itself."""

    def __init__(self, order: list[Child], longest: Longest, size: int, rng: random.Random) -> None:
        self.count = 0
        self._longest = longest
        self._plan = list(zip(sorted(rng.uniform(0.05, 0.8) * size for _ in order), order, strict=True))

    async def run(self) -> None:
        """Ends each in its turn."""
        for number, (count, peer) in enumerate(self._plan):
            await self._longest.beyond(round(count))
            if not peer.gone():
                os.kill(peer.pid, signal.SIGSTOP if number % 3 == 2 else signal.SIGKILL)
                self.count += 1


def _wake(peers: list[Child]) -> None:
    """Lets those go on that were stopped, so that they can end."""
    for peer in peers:
        if not peer.gone():
            os.kill(peer.pid, signal.SIGCONT)


def _right(target: object, what: str) -> bool:
    synth = Synth(what)
    with open(str(target), "rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    whole = memoryview(bytearray(synth.size))
    synth.read_into(whole, 0)
    return found == hashlib.sha256(whole).digest()
