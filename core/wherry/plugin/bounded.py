"""Calls a stranger's code with a bound on its time, so that a package that hangs is blamed instead of hanging wherry.

Python cannot end a thread. One that is given up goes on as a daemon, which does not keep the process alive; what it gives,
or raises, later is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from wherry.errors import PluginBroken

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def bounded(call: Callable[[], T], seconds: float, what: str) -> T:
    """Runs ``call`` in a thread of its own and gives what it gives, or raises what it raises, whatever that is.

    Raises PluginBroken, saying that ``what`` hangs, if it has not come back after ``seconds``. Waiting can be interrupted.
    """
    from threading import Thread  # who uses wherry's own plugins alone needs none

    given: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as problem:  # noqa: BLE001 - raised again below, by the thread that waits
            raised.append(problem)

    thread = Thread(target=run, name="wherry-plugin", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        hint = "its author must do the work later, or with a time-out; WHERRY_DISABLE_PLUGINS leaves a plugin out"
        raise PluginBroken(f"{what} has not come back after {seconds:g} s", hint=hint)
    return given[0]
