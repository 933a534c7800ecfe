"""Transfers in bad weather: each of eight peers that reset, flip bits and stall, three of which come and go (``swarm``)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.session import Session
from wherry.synth import Synth
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.units import MiB
from wherry_cli.bench.child import started
from wherry_cli.bench.figure import Arm, Run
from wherry_cli.bench.workspace import Served

if TYPE_CHECKING:
    from pathlib import Path

    from wherry_cli.bench.workspace import Workspace

PEERS: Final = 8
FLAPPING: Final = 3
SIZE: Final = 32 * MiB
CALM: Final = Chaos(rate=2e6)  # of each connection: so what is ideal is the network's, and not this machine's
BAD: Final = replace(CALM, corrupt_p=0.01 / MiB, reset_p=0.05, reset_after=MiB // 2)  # one block of 1 MiB in a hundred
STALLED: Final = replace(CALM, rate=40_000.0)  # what is on its way by then waits until the weather changes
AT_ONCE: Final = 2
HELD: Final = 256 * 1024  # bytes on their way in each connection: as in the queue of a router, a quarter of a second
SOON: Final = 3.0  # times the ideal
_TRIES: Final = 3  # of one transfer: a get that gives up says so, and is asked again
_TURN_S: Final = 1.0  # between two changes of the weather
_CALM_RUNS: Final = 5
_SYNTH: Final = f"synth://{SIZE}?seed=13"


@dataclass(slots=True)
class Weather:
    """What became of the transfers."""

    ideal_s: float
    took: list[float] = field(default_factory=list)
    soon: int = 0
    done: int = 0
    wrong: int = 0  # files that were not what they should be
    again: int = 0  # gets that gave up and were asked again
    resets: int = 0
    flipped: int = 0  # bytes

    def arm(self) -> Arm:
        """Gives the figures of the transfers."""
        return Arm("in bad weather", [Run(seconds) for seconds in self.took], count=SIZE / 1e6)

    def note(self) -> str:
        """Says what the weather was."""
        return (
            f"bad weather: {self.resets} connections reset, {self.flipped} bytes flipped, {self.again} gets asked again; "
            f"ideal {self.ideal_s:.2f} s, longest {max(self.took, default=0.0):.2f} s"
        )


async def in_bad_weather(space: Workspace, transfers: int) -> Weather:
    """Runs ``transfers`` gets, a few at a time, each in a home of its own."""
    whole = memoryview(bytearray(SIZE))
    Synth(_SYNTH).read_into(whole, 0)
    digest = hashlib.sha256(whole).digest()
    async with AsyncExitStack() as stack:
        proxies, cid = [], ""
        for number in range(PEERS):
            home = stack.enter_context(space.home())
            cid = str(space.wherry(home, "add", _SYNTH).result["cid"])
            line = space.wherry_line(home, "serve", "--listen", "tcp://127.0.0.1:0")
            host, _, port = (
                Served(stack.enter_context(started(line, space.environ))).address.removeprefix("tcp://").rpartition(":")
            )
            proxy = ChaosProxy((host, int(port)), seed=number, down=CALM, held=HELD)
            proxies.append(await stack.enter_async_context(proxy))
        get = _Get(space, cid, [f"tcp://{proxy.address}" for proxy in proxies], digest)
        weather = Weather(await _ideal(get))
        change = asyncio.create_task(_change(proxies))
        await _all(get, weather, transfers)
        change.cancel()
        with suppress(asyncio.CancelledError):
            await change
        weather.resets = sum(proxy.resets for proxy in proxies)
        weather.flipped = sum(proxy.flipped["down"] for proxy in proxies)
    return weather


async def _ideal(get: _Get) -> float:
    """Gives what a transfer takes in calm weather, with as many beside it as there will be."""
    took = []
    for _ in range(_CALM_RUNS):
        took += [seconds for seconds, _ in await asyncio.gather(*(get.once() for _ in range(AT_ONCE)))]
    return median(took)


async def _all(get: _Get, weather: Weather, transfers: int) -> None:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turn:
            began = time.monotonic()
            for left in reversed(range(_TRIES)):
                try:
                    _, right = await get.once()
                except WherryError:
                    weather.again += left > 0
                    continue
                took = time.monotonic() - began
                weather.took.append(took)
                weather.done += 1
                weather.soon += took <= SOON * weather.ideal_s
                weather.wrong += not right
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(transfers):
            group.create_task(one())


async def _change(proxies: list[ChaosProxy]) -> None:
    """Changes the weather again and again."""
    rng = random.Random(1)  # noqa: S311 - weather, and no secret
    while True:
        stalled = rng.randrange(FLAPPING, PEERS)
        for number, proxy in enumerate(proxies):
            proxy.down = STALLED if number == stalled else BAD
            if number < FLAPPING and rng.random() < 0.5:
                proxy.refusing = not proxy.refusing
                if proxy.refusing:
                    proxy.cut()
        await asyncio.sleep(_TURN_S)


class _Get:
    """One get of the file, in a home of its own."""

    def __init__(self, space: Workspace, cid: str, sources: list[str], digest: bytes) -> None:
        self._space, self._cid, self._sources, self._digest = space, cid, sources, digest
        self._number = 0

    async def once(self) -> tuple[float, bool]:
        """Gives the seconds that it took, and whether the file is right. Raises what `get` raises."""
        self._number += 1
        target = self._space.folder / f"weather-{self._number}"
        with self._space.home() as home:
            try:
                return await self._get(home, target)
            finally:
                self._space.remove(target)

    async def _get(self, home: Path, target: Path) -> tuple[float, bool]:
        async with Session.open(home=home, config=self._space.config, environ=self._space.environ, verb="bench") as session:
            began = time.monotonic()
            await session.get(self._cid, sources=self._sources, output=str(target))
            took = time.monotonic() - began
        right = await asyncio.to_thread(lambda: hashlib.sha256(target.read_bytes()).digest() == self._digest)
        return took, right
