"""Signals and the event loop: the first one is never slept through."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from wherry_cli.main import main
from wherry_cli.signals import Interrupted, drive


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_loop_that_nothing_else_would_wake(signum):
    """Another thread gets it, and so the loop sleeps on, as it does where one comes right before it falls asleep."""
    ended, late = [], []

    def hit():
        time.sleep(0.1)  # by now the loop sleeps; if it does not yet, the test says less
        signal.pthread_kill(threading.get_ident(), signum)

    async def work():
        threading.Thread(target=hit).start()
        asyncio.get_running_loop().call_later(10, late.append, "woken by something else")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cleanly")
            raise

    with pytest.raises(Interrupted) as found:
        drive(work)
    assert (found.value.signum, ended) == (signum, ["cleanly"])
    assert not late


@pytest.mark.parametrize("given", [[], ["--json"]])
def test_a_second_signal_ends_the_run_at_once_and_says_what_is_kept(given):
    program = """
import asyncio, os, signal, sys
from wherry_cli.invocation import Invocation

async def work():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

run = Invocation()
run.json = bool(sys.argv[1:])
run.drive(work, kept="what was fetched is kept")
"""
    command = ["env", "--default-signal=INT", sys.executable, "-c", program, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 130
    if given:
        said = json.loads(done.stderr)
        assert (said["error"], said["message"], said["exit_code"]) == ("Interrupted", "stopped; what was fetched is kept", 130)
    else:
        assert done.stderr == "wherry: stopped; what was fetched is kept\n"


def test_handlers_and_the_descriptor_that_wakes_are_put_back():
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]

    async def work():
        await asyncio.sleep(0)

    drive(work)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


class Interrupting:
    """Is interrupted while a class that it is in is being made."""

    def __set_name__(self, owner, name):
        raise KeyboardInterrupt


def interrupted():
    class Made:
        part = Interrupting()

    return Made


def test_ctrl_c_in_the_midst_of_an_import_ends_quietly(monkeypatch, capsys, go, fake_session):
    async def ls(_what, **_options):
        interrupted()
        yield

    session = fake_session()
    session.ls = ls
    assert go(session, "ls", "x") == 130
    assert capsys.readouterr().err == "wherry: stopped\n"
    app = types.ModuleType("wherry_cli.app")
    app.__getattr__ = lambda _: interrupted()
    monkeypatch.setitem(sys.modules, "wherry_cli.app", app)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
