"""Fixtures for every test: a check for leaks around each, a home, and a tree that has one of everything."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings

from wherry.buffers import Buffer, BufferPool

pytest_plugins = ["wherry.testing.plugin"]

collect_ignore = ["examples", "downstream"]  # packages with tests of their own, which are run where they are installed

# What an example takes says how busy the machine is, and nothing of wherry.
settings.register_profile("wherry", deadline=None)
settings.load_profile("wherry")

# Where coverage is not counted, since it makes tests take two to three times as long: 90 % are reached by the others.
UNCOUNTED = {"integration", "architecture", "kit"}

LEAK_GRACE_S = 2.0  # a thread that was told to end, or a socket that is closing, may take a moment


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves folders unread of which the counted run would run nothing; each worker reads, under coverage, what is left."""
    whole = collection_path.parent == Path(__file__).parent and collection_path.name in UNCOUNTED
    return True if whole and config.option.markexpr == "not uncounted" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is run without coverage. Whatever is not marked is run with it: no test is left out."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in UNCOUNTED or item.get_closest_marker("slow"):
            item.add_marker("uncounted")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers again as processors: many tests wait for processes, sockets and clocks."""
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


def open_files() -> dict[int, str]:
    """Descriptors of this process and what they are open on."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(autouse=True)
def no_leaks():
    """Fails a test that leaves a thread or an open descriptor behind. (Tasks: see wherry.testing.plugin.)"""
    threads, files = set(threading.enumerate()), open_files()
    yield
    end = time.monotonic() + LEAK_GRACE_S
    while True:
        new_threads = [thread for thread in threading.enumerate() if thread not in threads]
        new_files = {fd: what for fd, what in open_files().items() if files.get(fd) != what}
        if not new_threads and not new_files:
            return
        if time.monotonic() > end:
            break
        gc.collect()  # what only a reference cycle holds is closed with a ResourceWarning, which is an error here
        time.sleep(0.02)
    pytest.fail(f"left behind: threads {new_threads}, descriptors {new_files}")


@pytest.fixture(autouse=True)
def no_waits_on_the_loops_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails who waits for a buffer in a thread of the loop's own executor, where all transfers may come to a stand."""
    take = BufferPool.take

    def checked(pool: BufferPool) -> Buffer:
        assert not threading.current_thread().name.startswith("asyncio_"), "see BufferPool.take"
        return take(pool)

    monkeypatch.setattr(BufferPool, "take", checked)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps coverage out of the processes that a test starts: for tests of what a fresh process imports, or costs."""
    for name in [name for name in os.environ if name.startswith("COV")]:
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of wherry's that does not exist yet; also what this process and its children take as the default."""
    for name in [name for name in os.environ if name.startswith("WHERRY_") and name != "WHERRY_FIXTURES"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small directory with one of everything that a manifest can say."""
    root = tmp_path / "tree"
    return make_tree(root)


def make_tree(root: Path) -> Path:
    """Fills ``root``: the same bytes each time."""
    rng = random.Random(7)
    files = {
        "readme.txt": b"hello\n",
        "empty": b"",
        ".hidden": b"part of the tree\n",
        ".config/settings.ini": b"[a]\nb = c\n",
        "bin/run.sh": b"#!/bin/sh\nexit 0\n",
        "data/exactly-1MiB.bin": rng.randbytes(1 << 20),
        "data/one-more-than-1MiB.bin": rng.randbytes((1 << 20) + 1),
        "data/large.bin": rng.randbytes(4 * (1 << 20) + 12345),
        "data/zeros.bin": bytes(2 * (1 << 20)),
        "deep/a/b/c/d/e/f/leaf": b"deep\n",
        "names/with space": b"1",
        "names/Ünïcödé-é.txt": b"2",
        "names/日本語": b"3",
        "names/🚢.bin": b"4",
        "names/-dash": b"5",
    }
    for number in range(40):
        files[f"many/{number:03}.json"] = b'{"n": %d}' % number
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "empty-dir/inside").mkdir(parents=True)
    (root / "bin/run.sh").chmod(0o755)
    (root / "latest").symlink_to("data/large.bin")
    (root / "deep/up").symlink_to("../readme.txt")
    return root
