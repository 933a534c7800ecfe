"""The bell that wakes those who wait in a get (specs/0013)."""

from __future__ import annotations

import asyncio

import pytest

from wherry.transfer.bell import Bell

LONG_S = 3600.0


async def test_a_bell_wakes_all_who_wait_and_nobody_who_comes_later():
    bell = Bell()
    waiting = [asyncio.create_task(bell.heard(LONG_S)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    bell.ring()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    late = asyncio.create_task(bell.heard(LONG_S))
    await asyncio.sleep(0)
    assert not late.done()
    bell.ring()
    await asyncio.wait_for(late, 5)


async def test_whoever_waits_for_a_bell_is_let_go_in_time():
    bell = Bell()
    await asyncio.wait_for(bell.heard(0.001), 5)
    bell.ring()
    await asyncio.wait_for(bell.heard(0.0), 5)


async def test_whoever_is_cancelled_leaves_nothing_behind():
    bell = Bell()
    for _ in range(100):
        waiting = asyncio.create_task(bell.heard(LONG_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not bell._waiting
    bell.ring()


async def test_a_cancellation_that_comes_with_the_bell_is_not_lost():
    bell = Bell()
    waiting = asyncio.create_task(bell.heard(LONG_S))
    await asyncio.sleep(0)
    bell.ring()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_each_is_let_go_when_its_own_time_is_over():
    bell = Bell()
    loop = asyncio.get_running_loop()
    over: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        began = loop.time()
        await bell.heard(seconds)
        assert loop.time() - began >= seconds - 0.001
        over.append(name)

    waits = {"last": 0.15, "first": 0.01, "second": 0.08, "third": 0.08}
    await asyncio.wait_for(asyncio.gather(*(wait(name, seconds) for name, seconds in waits.items())), 5)
    assert over == ["first", "second", "third", "last"]


async def test_all_who_wait_share_one_timer_that_outlasts_the_bell():
    bell = Bell()
    loop = asyncio.get_running_loop()
    for _ in range(50):
        waiting = [asyncio.create_task(bell.heard(LONG_S)) for _ in range(3)]
        await asyncio.sleep(0)
        bell.ring()
        await asyncio.gather(*waiting)
    assert len(loop._scheduled) == 1
    await asyncio.wait_for(bell.heard(0.01), 5)  # sooner than the timer that was left: it is not waited for
    assert not bell._waiting
