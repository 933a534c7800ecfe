"""Threads that are waited for, whatever is cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from wherry.offload import crewed, in_thread


async def test_it_gives_and_raises_what_the_call_does():
    def bad():
        raise KeyError("x")

    assert await in_thread(lambda: threading.current_thread() is threading.main_thread()) is False
    with pytest.raises(KeyError):
        await in_thread(bad)


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_it_comes_back_when_the_thread_does(times):
    let_go, over = threading.Event(), []

    def work():
        let_go.wait(5)
        over.append(True)

    task = asyncio.create_task(in_thread(work))
    for _ in range(times):
        await asyncio.sleep(0.02)
        task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over == [True]


async def test_what_a_cancelled_call_raises_is_dropped():
    def bad():
        time.sleep(0.1)
        raise KeyError("x")

    task = asyncio.create_task(in_thread(bad))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_cancelled_call_raises_is_not_printed_either():
    """asyncio tells of a future whose error nobody took, when it is collected: on the screen of who pressed Ctrl-C."""
    let_go, told = threading.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    def work():
        let_go.wait(5)
        raise InterruptedError

    task = asyncio.create_task(in_thread(work))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.sleep(0.02)
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    assert told == []


@pytest.mark.parametrize("times", [1, 3])
async def test_what_a_cancelled_call_gave_is_undone_in_a_thread(times):
    let_go, undone, main = threading.Event(), [], threading.current_thread()

    def undo(what):
        time.sleep(0.05)
        undone.append((what, threading.current_thread() is main))

    task = asyncio.create_task(in_thread(lambda: let_go.wait(5) and "open", undo=undo))
    for _ in range(times):
        await asyncio.sleep(0.02)
        task.cancel()
    let_go.set()
    await asyncio.sleep(0.02)
    task.cancel()  # also while it is undone
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == [("open", False)]


async def test_what_is_cancelled_when_the_thread_is_done_is_undone_too():
    """The answer waits in the loop: the thread has it no more, and who asked never gets it."""
    undone, done = [], threading.Event()
    task = asyncio.create_task(in_thread(lambda: done.set() or "open", undo=undone.append))
    await asyncio.sleep(0)
    assert done.wait(5)
    time.sleep(0.05)  # and the loop has not heard of it
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["open"]


async def test_nothing_is_undone_of_what_came_or_failed():
    undone = []
    assert await in_thread(lambda: 1, undo=undone.append) == 1
    task = asyncio.create_task(in_thread(lambda: time.sleep(0.1) or {}["x"], undo=undone.append))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == []


async def test_an_executor_of_ones_own():
    with ThreadPoolExecutor(1, "mine") as executor:
        assert (await in_thread(lambda: threading.current_thread().name, executor)).startswith("mine")


async def test_a_crew_works_side_by_side_and_one_failure_is_raised():
    together = threading.Barrier(3, timeout=5)

    def work():
        together.wait()

    with ThreadPoolExecutor(3) as threads:
        await crewed(threads, work, 3, lambda: None)
        with pytest.raises(KeyError):
            await crewed(threads, lambda: {}["x"], 2, lambda: None)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_crew_that_is_cancelled_is_cut_and_waited_for(times):
    begun, end, over, told = threading.Semaphore(0), threading.Event(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    def work():
        begun.release()
        end.wait(5)
        over.append(1)
        raise InterruptedError

    with ThreadPoolExecutor(2) as threads:
        task = asyncio.create_task(crewed(threads, work, 4, lambda: None))  # two of them never begin
        await in_thread(lambda: (begun.acquire(), begun.acquire()))
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.02)
        assert not task.done()
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert over == [1, 1]
    del task
    gc.collect()
    assert told == []
