"""A name that is followed on a virtual clock, by a session of the test's own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.nodekey import NodeKey
from wherry.session import Session

KEY = NodeKey(b"n" * 32)
NAME = str(Name.of(KEY.public))
NOW = 1_800_000_000.0
DAY = 86_400.0
FIRST = "/ipfs/bafkqabtimvwgy3yk"  # "hello\n", all in its name
SECOND = "/ipfs/bafkqaaa"  # empty, likewise


def made(number, value=FIRST, until=NOW + DAY):
    return create(KEY, value, number, int(until * 1e9))


class Followed:
    """A name that is followed on a virtual clock: each pause does the next thing of a script."""

    def __init__(self, session, link):
        self.session, self.link = session, link
        self.record = made(1)
        self.failure = None
        self.now = NOW
        self.pauses, self.notes, self.steps = [], [], []
        self.script = []
        session._clock = lambda: self.now
        session._sleep = self.pause
        session._wiring.locators = lambda: [("carrier", self)]

    async def name_records(self, name):
        if self.failure is not None:
            raise self.failure
        yield "carrier", self.record

    async def put_record(self, name, record):
        raise AssertionError("a follower hands nothing over")

    async def pause(self, seconds):
        self.pauses.append(seconds)
        if not self.script:
            raise asyncio.CancelledError
        self.script.pop(0)()

    async def run(self, *script):
        self.script = list(script)
        try:
            async for step in self.session.follow_name(NAME, link=str(self.link), observe=self.notes.append):
                self.steps.append(step)
        except asyncio.CancelledError:
            assert not self.script

    def says(self, record=None, failure=None, now=None):
        def change():
            self.record, self.failure, self.now = record or self.record, failure, now or self.now

        return change

    @property
    def said(self):
        return [note.text for note in self.notes if hasattr(note, "text")]

    @property
    def content(self):
        return self.link.read_bytes()


@asynccontextmanager
async def followed(tmp_path):
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        yield Followed(session, tmp_path / "now")
