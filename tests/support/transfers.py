"""A daemon's runner without a network: gets that wait until they are told how to end."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

from wherry.daemon.record import Asked
from wherry.daemon.runner import Runner, running


class Getter:
    """Stands for `Session.get`: each run waits until it is told how to end."""

    def __init__(self):
        self.ends = {}  # output: what ends it
        self.runs = []
        self.now = set()
        self.slow_end = None

    async def __call__(self, entry, observe):
        output = entry.record.asked.output
        self.runs.append(output)
        self.now.add(output)
        end = self.ends.setdefault(output, asyncio.get_running_loop().create_future())
        self.observe, self.entry = observe, entry
        try:
            return await asyncio.shield(end)
        except asyncio.CancelledError:
            if self.slow_end is not None:
                await self.slow_end.wait()
            raise
        finally:
            self.now.discard(output)
            self.ends.pop(output, None)

    def end(self, output, problem=None, result=None):
        if problem is None:
            self.ends[output].set_result(result)
        else:
            self.ends[output].set_exception(problem)


class Half(random.Random):
    def random(self):
        return 0.0


@asynccontextmanager
async def started(keeper, *, most=2, retries=3, events=None, **options):
    get = Getter()
    emit = events.append if events is not None else (lambda event: None)
    runner = Runner(get, keeper, most=most, retries=retries, rng=Half(), emit=emit, **options)
    async with running(runner):
        yield runner, get


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def asked(output, **options):
    return Asked(what="c", output=output, **options)


def states(runner):
    return {one.output: one.state for one in runner.listing()}
