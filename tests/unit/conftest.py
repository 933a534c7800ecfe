"""Fixtures of the unit tests: a session that only notes what the command line asks of it."""

from __future__ import annotations

import random
import threading
from contextlib import asynccontextmanager

import pytest
from getting import MIB, World, write

from wherry_cli.app import run
from wherry_cli.invocation import Invocation


class Serving:
    def __init__(self, listen):
        self.listen = listen
        self.added = []

    async def forever(self):
        return


class FakeSession:
    """Notes each call, and answers with what the test put in."""

    def __init__(self, **answers):
        self.calls = []
        self.answers = answers
        self.events = []
        self.listen = ["http://127.0.0.1:4290"]
        self.opened = {}

    def __getattr__(self, name):
        async def method(*arguments, observe=None, **options):
            self.calls.append((name, arguments, options))
            for event in self.events:
                observe(event)
            return self.answers[name]

        return method

    @asynccontextmanager
    async def serve(self, paths, *, observe=None, **options):
        self.calls.append(("serve", (paths,), options))
        for event in self.events:
            observe(event)
        yield Serving(self.listen)

    async def cat(self, *arguments, observe=None, **options):
        self.calls.append(("cat", arguments, options))
        for event in self.events:
            observe(event)
        for piece in self.answers["cat"]:
            yield piece

    async def ls(self, *arguments, observe=None, **options):
        self.calls.append(("ls", arguments, options))
        for event in self.events:
            observe(event)
        for entry in self.answers["ls"]:
            if isinstance(entry, Exception):
                raise entry
            yield entry


@pytest.fixture
def fake_session():
    """Makes a FakeSession with the given answers."""
    return FakeSession


@pytest.fixture
def go():
    """Runs a line over a session; the options that it was opened with are kept in ``session.opened``."""

    def line(session, *argv):
        @asynccontextmanager
        async def opener(**options):
            session.opened = options
            yield session

        return run(argv, Invocation(opener=opener, environ={}))

    return line


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def large(tmp_path):
    """A tree with a long file and some small ones, in all 24 MiB and a bit."""
    rng = random.Random(3)
    files = {f"small/{number:02}": rng.randbytes(1000 + number) for number in range(20)}
    return write(tmp_path / "large", {"long.bin": rng.randbytes(24 * MIB + 5), **files})


@pytest.fixture
def held():
    """An event for which a plugin of the test waits; set in the end, so that no thread outlives the test."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name in {"wherry-plugin", "hanging"}:
            thread.join(5)
