"""Publishes, resolves or follows a name, and kills itself at one step of it (see tests/unit/test_name_kills.py).

    python name_kills.py VERB STEP FOLDER VALUE

The carrier of records is a file of FOLDER; the homes are its ``publisher`` and ``reader``. What a verb gives back is printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from wherry.observe import Fetched
from wherry.session import Session
from wherry.session import versions as versions_module
from wherry.store import names as names_module

STEPS = {
    "publish": ["signed", "written", "committed", "handing over", "handed over"],
    "resolve": ["written", "committed"],
    "follow": ["committed", "fetching", "got", "aside", "swapped"],
    "prune": ["going", "half gone", "gone"],
}


class FileCarrier:
    """Carries the record of one name in a file."""

    def __init__(self, folder, step):
        self.path = Path(folder) / "carried"
        self.step = step

    async def name_records(self, name):
        del name
        if self.path.exists():
            yield "carrier", self.path.read_bytes()

    async def put_record(self, name, record):
        del name
        if self.step == "handing over":
            die()
        self.path.write_bytes(record)
        if self.step == "handed over":
            die()
        return ["carrier"]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(module, name, when=lambda *_words: True):
    """Has the process die when a function has come back, before anything else."""
    whole = getattr(module, name)

    def dying(*words, **options):
        found = whole(*words, **options)
        if when(*words):
            die()
        return found

    setattr(module, name, dying)


@asynccontextmanager
async def opened(folder, home, step=""):
    async with Session.open(home=Path(folder) / home, environ={}) as session:
        session._wiring.locators = lambda: [("carrier", FileCarrier(folder, step))]
        yield session


def arm(verb, step, session):
    """Sets the trap."""
    book = names_module.NameBook
    if step == "signed":
        dying_after(names_module, "create")
    elif step == "written":  # in the middle of the transaction
        dying_after(names_module, "_put")
    elif step == "committed":
        dying_after(book, "publish" if verb == "publish" else "take")
    elif step == "fetching":
        session._wiring.emit = lambda event: die() if isinstance(event, Fetched) else None
    elif step == "got":
        versions_module.swap = lambda *_words, **_options: die()
    elif step == "aside":
        dying_after(os, "symlink")
    elif step == "swapped":  # and not when a file of the version has its name
        dying_after(os, "rename", lambda _one, two: os.path.islink(two))
    elif step == "going":
        dying_after(os, "rename", lambda _one, two, **_options: two.endswith(".wherry-removed"))
    elif step == "half gone":
        versions_module.remove_tree = lambda name, dir_fd: (os.unlink(f"{name}/a.bin", dir_fd=dir_fd), die())
    elif step == "gone":
        dying_after(versions_module, "prune")


async def main(verb, step, folder, value):
    if verb == "publish":
        async with opened(folder, "publisher", step) as session:
            arm(verb, step, session)
            print((await session.publish_name(value)).sequence, flush=True)
        return
    async with opened(folder, "reader") as session, opened(folder, "publisher") as publisher:
        name = (await publisher.names())[0].name
        if verb == "resolve":
            arm(verb, step, session)
            print((await session.resolve_name(name)).value, flush=True)
            return
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving:
            session._addresses = lambda sources, ticket: list(serving.listen)  # content from there
            arm(verb, step, session)
            keep = 1 if verb == "prune" else None
            async for found in session.follow_name(name, link=str(Path(folder) / "now"), keep=keep, once=True):
                print(found.sequence, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
