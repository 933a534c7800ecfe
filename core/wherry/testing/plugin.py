"""For pytest: runs ``async def`` tests on a fresh event loop each, in debug mode.

Opt in with ``pytest_plugins = ["wherry.testing.plugin"]`` in the top conftest.py. It takes the place of pytest-asyncio, so
that the author of a plugin needs pytest alone. A test fails if it leaves a task running.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Coroutine

pytest.register_assert_rewrite("wherry.testing.contracts")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine function to its end; leaves other tests to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    with asyncio.Runner(debug=True) as runner:
        runner.run(_alone(pyfuncitem.obj(**arguments)))
    return True


async def _alone(test: Coroutine[Any, Any, None]) -> None:
    await test
    await asyncio.sleep(0)  # one turn for tasks that were cancelled, or are done but for their last step
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
    if left:
        raise AssertionError(f"the test left {len(left)} task(s) running: {left}")
