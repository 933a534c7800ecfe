"""The public face: one open home, and the verbs as methods (specs/0011). Async; `wherry.sync` is the plain one.

    async with Session.open() as session:
        added = await session.add("dataset")
        async with session.serve() as serving:
            print(serving.listen)
            await serving.forever()

A session belongs to one event loop. Verbs may run side by side. Cancelling one ends it cleanly: what was done is kept.
Every method raises WherryError and its kinds only, never a group of exceptions.

What only some verbs need is imported in them: `add` of a tree of small files takes half a second, and starts 25 ms sooner.
The families of verbs are classes of the modules beside this one, and share `wherry.session.parts`.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.offload import in_thread
from wherry.session.caching import Caching
from wherry.session.dagging import Dagging
from wherry.session.finding import Finding
from wherry.session.getting import NOWHERE, Getting
from wherry.session.granting import Encryption, Granting
from wherry.session.keeping import Keeping
from wherry.session.naming import Naming
from wherry.session.packing import Packing
from wherry.session.peering import Peering
from wherry.session.reading import Reading
from wherry.session.storing import Storing
from wherry.session.torrenting import Torrenting
from wherry.session.upkeep import Upkeep
from wherry.store.home import Home, default_home
from wherry.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


class Session(
    Torrenting, Granting, Finding, Getting, Reading, Upkeep, Storing, Caching, Keeping, Naming, Packing, Dagging, Peering
):
    """An open home. Make one with `Session.open`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        home: str | Path | None = None,
        config: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        verb: str = "python",
        overrides: Mapping[str, str] | None = None,
        profile: str | None = None,
    ) -> AsyncIterator[Session]:
        """Opens ``home`` (by default WHERRY_HOME, or the user's data folder).

        ``config`` is a file to read instead of ``home/wherry.toml``; ``overrides`` are dotted keys that go before both;
        ``verb`` tells other processes what this one does; ``profile``
        chooses the profile of the configuration, before WHERRY_PROFILE. Raises ConfigError, HomeBusy, StoreError.

        A home on which nothing can be written can be read and served; what needs more raises Unwritable (specs/0005 §2).
        """
        surroundings = dict(os.environ if environ is None else environ)
        for key, value in (overrides or {}).items():
            variable = f"WHERRY_{key.replace('.', '__').replace('-', '_').upper()}"
            surroundings[variable] = value
            if variable.endswith("_FILE"):  # a secret that the environment gives directly would go before it
                surroundings.pop(variable.removesuffix("_FILE"), None)
        if profile is not None:
            surroundings["WHERRY_PROFILE"] = profile
        path = _folder(home or default_home(surroundings))
        alone = verb == "repair"
        with Home(path, verb, alone=alone) as opened:
            wiring = Wiring(path, Path(config) if config is not None else None, surroundings)
            set_aside: list[str] = []
            if alone:
                from wherry.repair import set_damaged_aside  # or it could not open what it is to mend

                set_aside = await in_thread(lambda: set_damaged_aside(path))
            observing = None
            if wiring.chosen("observer"):
                observing = await in_thread(wiring.observe, undo=lambda found: found.close() if found is not None else None)
            try:
                store = wiring.store(writable=opened.writable)
                session = cls(opened, wiring, store, set_aside if alone else None)
                try:
                    yield session
                finally:
                    session._closed = True
                    await _end(opened, wiring.close)
                    await _end(opened, store.close)
            finally:
                if observing is not None:
                    await _end(opened, observing.close)


async def _end(home: Home, close: Callable[[], None]) -> None:
    """Closes something, unless a fork inherited it: there it is the parent's, and no thread is left that could."""
    if not home.inherited:
        await in_thread(close)


def _folder(home: str | Path) -> Path:
    return Path(home).expanduser().absolute()


__all__ = ("NOWHERE", "Encryption", "Session")
