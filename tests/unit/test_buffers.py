"""The buffer pool: a fixed budget, lent to threads and tasks alike, and nothing lost on cancellation."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wherry.buffers import PAGE, ROOM, Buffer, BufferPool
from wherry.limits import BATCH_BYTES_MAX, BUDGET_BYTES, BUFFER_BYTES
from wherry.offload import in_thread


def address_of(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def drain(pool: BufferPool) -> list[Buffer]:
    return [pool.take() for _ in range(pool.count)]


def test_a_buffer_is_page_aligned_and_has_room_for_a_header():
    pool = BufferPool()
    buffer = pool.take()
    assert len(buffer.view) == ROOM + BATCH_BYTES_MAX
    assert ROOM >= PAGE
    assert ROOM % PAGE == 0
    assert address_of(buffer.view) % PAGE == 0
    buffer.view[-1] = 7
    buffer.release()
    assert pool.take() is buffer  # memory is used again, not made again


@pytest.mark.parametrize(("budget", "count"), [(BUDGET_BYTES, 8), (0, 2), (3 * BUFFER_BYTES + 1, 3)])
def test_the_budget_is_a_number_of_buffers(budget, count):
    assert BufferPool(budget).count == count


def test_a_thread_waits_until_a_buffer_comes_back():
    pool = BufferPool(0)
    held = drain(pool)
    taken: list[Buffer] = []
    thread = threading.Thread(target=lambda: taken.append(pool.take()))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    held[1].release()
    thread.join(5)
    assert taken == [held[1]]


async def test_a_task_waits_until_a_thread_gives_a_buffer_back():
    pool = BufferPool(0)
    held = drain(pool)
    waiting = asyncio.create_task(pool.lend())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await asyncio.to_thread(held[0].release)
    assert await asyncio.wait_for(waiting, 5) is held[0]


async def test_tasks_are_served_in_turn_and_nobody_overtakes():
    pool = BufferPool(0)
    held = drain(pool)
    order = []

    async def want(name):
        buffer = await pool.lend()
        order.append(name)
        return buffer

    waiting = [asyncio.create_task(want(number)) for number in range(6)]
    await asyncio.sleep(0)
    for buffer in held:
        buffer.release()
    late = asyncio.create_task(want("late"))
    for task in [*waiting, late]:
        (await asyncio.wait_for(task, 5)).release()
    assert order == [0, 1, 2, 3, 4, 5, "late"]


async def test_a_cancelled_wait_loses_no_buffer():
    pool = BufferPool(0)
    held = drain(pool)
    for moment in ("waiting", "handed over", "on its way"):
        task = asyncio.create_task(pool.lend())
        await asyncio.sleep(0)
        if moment == "handed over":
            held.pop().release()
            await asyncio.sleep(0)  # the future has its result; the task has not run yet
        elif moment == "on its way":
            held.pop().release()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)  # what was on its way comes back
        held += [pool.take() for _ in range(pool.count - len(held))]
        assert len(held) == len({id(buffer) for buffer in held}) == pool.count


def test_a_loop_that_is_closed_with_a_waiter_loses_no_buffer():
    pool = BufferPool(0)
    held = drain(pool)
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.lend())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    held[0].release()
    assert pool.take() is held[0]
    task._log_destroy_pending = False  # the test drops a task on purpose


async def test_never_more_than_the_budget_under_a_crowd():
    pool = BufferPool(3 * BUFFER_BYTES)
    lock, out, most = threading.Lock(), 0, 0

    def use(buffer):
        nonlocal out, most
        with lock:
            out += 1
            most = max(most, out)
        buffer.view[0] = 1
        with lock:
            out -= 1
        buffer.release()

    async def task():
        for _ in range(20):
            use(await pool.lend())
            await asyncio.sleep(0)

    def thread():
        for _ in range(100):
            use(pool.take())

    with ThreadPoolExecutor(4) as threads:  # none of the loop's, in which nobody may wait
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(task())
            for _ in range(4):
                group.create_task(in_thread(thread, threads))
    assert 1 <= most <= 3
    assert pool._made <= 3


async def test_a_spare_buffer_is_taken_from_nobody():
    pool = BufferPool(2 * BUFFER_BYTES)
    first, second = pool.spare(), pool.spare()
    assert pool.spare() is None
    waiting = asyncio.create_task(pool.lend())
    await asyncio.sleep(0)
    first.release()
    assert pool.spare() is None  # it is on its way to who waits
    third = await waiting
    second.release()
    assert pool.spare() is second
    for buffer in (second, third):
        buffer.release()
