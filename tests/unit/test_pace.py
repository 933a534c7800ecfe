"""How far a verb is, told now and then; and an observer that raises."""

from __future__ import annotations

import asyncio

import pytest

from wherry.observe import Progress
from wherry.transfer.pace import paced

LONG_S = 3600.0


def at(count):
    return Progress(verb="get", phase="fetch", bytes_done=count)


async def test_it_is_told_while_it_lasts_and_at_its_end():
    told, enough, tasks = [], asyncio.Event(), len(asyncio.all_tasks())

    def observe(progress):
        told.append(progress.bytes_done)
        if len(told) >= 2:
            enough.set()

    async with asyncio.timeout(20):
        async with paced(observe, lambda: at(len(told))):
            assert len(asyncio.all_tasks()) == tasks  # a timer does
            await enough.wait()
        count = len(told)
        assert told == list(range(count))
        await asyncio.sleep(0.25)
    assert len(told) == count
    async with paced(None, lambda: at(0)):
        pass


async def test_what_an_observer_raises_ends_the_body_and_is_raised():
    def observe(_progress):
        raise ZeroDivisionError

    async with asyncio.timeout(20):
        with pytest.raises(ZeroDivisionError):
            async with paced(observe, lambda: at(0)):
                await asyncio.sleep(LONG_S)
        with pytest.raises(ZeroDivisionError):
            async with paced(observe, lambda: at(0)):
                pass
    assert not asyncio.current_task().cancelling()


async def test_a_cancellation_of_others_and_a_failure_of_the_body_go_their_way():
    begun = asyncio.Event()

    async def work(problem):
        async with paced(lambda _progress: None, lambda: at(0)):
            begun.set()
            if problem is not None:
                raise problem
            await asyncio.sleep(LONG_S)

    with pytest.raises(KeyError):
        await work(KeyError("body"))
    begun.clear()
    task = asyncio.create_task(work(None))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
