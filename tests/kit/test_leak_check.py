"""The leak checks of tests/conftest.py and wherry.testing.plugin catch what they are there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEAKY = """
import asyncio, os, socket, threading
kept = []

def test_thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, args=(20,), daemon=True).start()

def test_descriptor():
    kept.append(os.open("/dev/null", os.O_RDONLY))

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(20)))

async def test_failing():
    await asyncio.sleep(0)
    raise LookupError("a coroutine test runs and can fail")

def test_clean_after_all_that():
    with open("/dev/null"):
        threading.Thread(target=int).start()

async def test_clean_coroutine(tmp_path):
    assert await asyncio.to_thread(tmp_path.exists)
"""


def test_leaks_are_found(tmp_path: Path):
    conftest = (Path(__file__).parent.parent / "conftest.py").read_text().replace("LEAK_GRACE_S = 2.0", "LEAK_GRACE_S = 1.0")
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=50, check=False)
    for expected in (
        "Failed: left behind: threads [<Thread",
        "Failed: left behind: threads [], descriptors {",
        "AssertionError: the test left 1 task(s) running",
        "LookupError: a coroutine test runs and can fail",
        "test_leaky.py::test_task",
        "test_leaky.py::test_failing",
        "test_leaky.py::test_thread",
        "test_leaky.py::test_descriptor",
        "2 failed, 4 passed, 2 errors",
    ):
        assert expected in done.stdout, done.stdout
