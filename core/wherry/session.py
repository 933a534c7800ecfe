"""The public face: one open home, and the verbs as methods (specs/0011). Async; `wherry.sync` is the plain one.

    async with Session.open() as session:
        added = await session.add("dataset")
        async with session.serve() as serving:
            print(serving.listen)
            await serving.forever()

A session belongs to one event loop. Verbs may run side by side. Cancelling one ends it cleanly: what was done is kept.
Every method raises WherryError and its kinds only, never a group of exceptions.

What only some verbs need is imported in them: `add` of a tree of small files takes half a second, and starts 25 ms sooner.
"""

from __future__ import annotations

import os
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from wherry.chunking import parse_chunker
from wherry.cid import CID
from wherry.errors import UsageError
from wherry.limits import TREE_ENTRIES_MAX
from wherry.manifest import DIR, FILE
from wherry.observe import Progress
from wherry.offload import in_thread, stoppable
from wherry.results import (
    AddResult,
    DifferenceReport,
    GetPlan,
    GetResult,
    LsEntry,
    RepairResult,
    SourceReport,
    Stat,
    VerifyResult,
)
from wherry.store.home import Home, default_home
from wherry.store.index import discard_if_damaged
from wherry.transfer.add import Add
from wherry.transfer.pace import paced
from wherry.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from wherry.config import Config
    from wherry.manifest import Entry
    from wherry.observe import Event, Observe
    from wherry.results import Check
    from wherry.store.store import Store
    from wherry.ticket import Ticket
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.scheduler import Source
    from wherry.transfer.select import Links, Names
    from wherry.transfer.serve import Serving
    from wherry.transfer.tree import Nodes

NOWHERE = "null:"
_DIFFERENCES_MAX = 10_000  # listed; more are counted


class Session:
    """An open home. Make one with `Session.open`."""

    def __init__(self, home: Home, wiring: Wiring, store: Store, set_aside: list[str] | None = None) -> None:
        """``set_aside``: damaged databases that were put away; None: this session does not have the home alone."""
        self._set_aside = set_aside
        self._home = home
        self._wiring = wiring
        self._store = store

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        home: Path | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
        verb: str = "python",
        overrides: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Session]:
        """Opens ``home`` (by default WHERRY_HOME, or the user's data folder).

        ``config`` is a file to read instead of ``home/wherry.toml``; ``overrides`` are dotted keys that go before both;
        ``verb`` tells other processes what this one does. Raises ConfigError, HomeBusy, StoreError.
        """
        surroundings = dict(os.environ if environ is None else environ)
        for key, value in (overrides or {}).items():
            surroundings[f"WHERRY_{key.replace('.', '__').replace('-', '_').upper()}"] = value
        path = (home or default_home(surroundings)).expanduser().absolute()
        alone = verb == "repair"
        with Home(path, verb, alone=alone) as opened:
            if alone:
                await in_thread(lambda: discard_if_damaged(path))  # or repair could not open what it is to mend
            wiring = Wiring(path, config, surroundings)
            set_aside: list[str] = []
            if alone:
                from wherry import health

                set_aside = await in_thread(lambda: health.set_damaged_aside(path))
            store = wiring.store()
            try:
                yield cls(opened, wiring, store, set_aside if alone else None)
            finally:
                await in_thread(store.close)

    @property
    def home(self) -> Path:
        """The folder of this session's home."""
        return self._home.path

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._wiring.config

    # Adding and serving

    async def add(
        self,
        path: str,
        *,
        chunker: str | None = None,
        mtime: bool | None = None,
        name: str | None = None,
        meta: Mapping[str, str] | None = None,
        observe: Observe | None = None,
    ) -> AddResult:
        """Reads a file or directory once, records where its blocks lie, and gives its CID; nothing is copied.

        ``chunker`` and ``mtime`` default to the configuration; ``name`` and ``meta`` become metadata of the dataset.
        """
        began = time.monotonic()
        cut = parse_chunker(chunker or self.config.add.chunker)
        keep = self.config.add.mtime if mtime is None else mtime
        run = Add(self._store, self._wiring.pool, cut, mtime=keep, home=str(self.home))
        words = {**({"name": name} if name else {}), **(meta or {})}

        def progress() -> Progress:
            tally = run.tally
            return Progress(
                verb="add", phase="hash", bytes_done=tally.bytes, bytes_total=tally.bytes_total, files_done=tally.files
            )

        async with paced(observe, progress):
            cid = await stoppable(lambda: run.run(os.path.expanduser(path), words), run.cancel)
        tally = run.tally
        warnings = [*tally.warnings, *([f"and {tally.more_warnings} more warnings"] if tally.more_warnings else [])]
        return AddResult(
            cid=str(cid), files=tally.files, bytes=tally.bytes, new_blocks=run.new_blocks, reused_blocks=run.reused_blocks,
            seconds=time.monotonic() - began, warnings=warnings,
        )  # fmt: skip

    @asynccontextmanager
    async def serve(
        self, paths: Sequence[str] = (), *, listen: Sequence[str] = (), allow_public: bool | None = None
    ) -> AsyncIterator[Serving]:
        """Adds ``paths``, then serves everything that this home holds, on ``listen`` or the configured addresses.

        Leaving the context stops accepting and ends what is under way within ten seconds. Raises UsageError for a public
        address without protection, LocalError for one that is taken.
        """
        for path in paths:
            await self.add(path)
        public = self.config.serve.allow_public if allow_public is None else allow_public
        from wherry.transfer.serve import serving

        async with serving(
            listen or self.config.serve.listen,
            lambda address: self._wiring.transport(address, allow_public=public),
            self._store,
        ) as opened:
            yield opened

    # Getting

    async def get(
        self,
        what: str,
        *,
        sources: Sequence[str] = (),
        output: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        force: bool = False,
        dry_run: bool = False,
        wait_s: float | None = None,
        links: Links | None = None,
        names: Names | None = None,
        max_bytes: int | None = None,
        observe: Observe | None = None,
    ) -> GetResult | GetPlan:
        """Fetches, verifies and writes what a CID or ticket names; goes on where an earlier run was interrupted.

        ``output`` is the file or directory to make (``null:`` keeps nothing); it must not exist unless ``force``, or be
        this very content already. ``dry_run`` tells what would be done.
        """
        from wherry.transfer.get import check_bounds
        from wherry.transfer.into import Fill, fill_target, plan_target, root_of_get
        from wherry.transfer.running import running
        from wherry.transfer.select import Guard, Selection
        from wherry.transfer.tree import Nodes

        began = time.monotonic()
        options = self.config.get
        cid, addresses, name = self._source(what, sources)
        target = NOWHERE if output == NOWHERE else _absolute(output or name or str(cid))
        fetcher = self._fetcher(addresses, wait_s, observe)
        nodes = Nodes(self._store, fetcher)
        selection = Selection(include, exclude)
        fill = Fill(
            nodes=nodes, fetcher=fetcher, store=self._store, pool=self._wiring.pool, selection=selection,
            guard=Guard(names or options.names, links or options.links), observe=_quiet(observe),
            direct=options.direct_io, sync=options.sync, force=force,
        )  # fmt: skip

        async def work() -> GetResult | GetPlan:
            root = await root_of_get(nodes, cid, None if target == NOWHERE else target)
            check_bounds(root.entry, bytes_max=max_bytes or options.max_bytes, entries_max=TREE_ENTRIES_MAX)
            if dry_run:
                return await plan_target(fill, cid, root, target, transport_of=self._wiring.transport, addresses=addresses)
            async with paced(observe, fill.progress):
                size = await fill_target(fill, cid, root, None if target == NOWHERE else target)
            return GetResult(
                cid=str(cid), path=target, bytes=size, fetched_bytes=fetcher.wire_bytes, seconds=time.monotonic() - began,
                sources=[_report(source) for source in fetcher.sources],
            )  # fmt: skip

        try:
            async with running(fetcher):
                return await work()
        finally:
            await in_thread(fill.close)

    async def cat(
        self, what: str, *, sources: Sequence[str] = (), offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Gives the bytes of ``CID[/PATH]``, verified, in order, a leaf at a time."""
        from wherry.transfer import read

        async with (
            self._reading(what, sources) as (nodes, fetcher, entry),
            aclosing(read.content(nodes, self._store, fetcher, entry, offset=offset, length=length)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def ls(self, what: str, *, sources: Sequence[str] = ()) -> AsyncGenerator[LsEntry, None]:
        """Gives the entries of the directory ``CID[/PATH]``, in order, or the one file that it is."""
        from wherry.transfer import read

        async with self._reading(what, sources) as (nodes, _, root), aclosing(read.entries(nodes, root)) as found:
            async for entry in found:
                mtime = entry.attrs.mtime
                yield LsEntry(
                    name=entry.name, kind=read.shape(entry), size=entry.size, cid=str(entry.cid) if not entry.target else None,
                    executable=entry.attrs.executable, mtime=mtime[0] + mtime[1] / 1e9 if mtime else None,
                    target=entry.target or None, entries=entry.entries - 1 if entry.kind == DIR else None,
                )  # fmt: skip

    async def stat(self, what: str, *, sources: Sequence[str] = ()) -> Stat:
        """Tells what ``CID[/PATH]`` stands for, from its own node."""
        from wherry.transfer import read

        cid, _, path = self._parse(what)
        meta: dict[str, str] = {}
        async with self._reading(what, sources) as (nodes, _, entry):
            if not path:
                meta = (await nodes.root(cid)).meta
            blocks, chunk = await read.leaves_of(nodes, entry)
            held = await in_thread(lambda: bool(self._store.state.roots(cid)))
            return Stat(
                cid=str(entry.cid if path else cid), kind=read.shape(entry), bytes=entry.size,
                files=1 if entry.kind == FILE else None,
                entries=entry.entries - 1 if entry.kind == DIR else 0, blocks=blocks, chunk_bytes=chunk, meta=meta, held=held,
            )  # fmt: skip

    async def verify(
        self, what: str, path: str, *, sources: Sequence[str] = (), observe: Observe | None = None
    ) -> VerifyResult:
        """Compares the file or directory at ``path`` with ``CID[/PATH]``, reading all of it."""
        from wherry.transfer.compare import Comparison

        began = time.monotonic()
        place = _absolute(path)
        differences: list[DifferenceReport] = []
        more = 0
        async with self._reading(what, sources) as (nodes, _, entry):
            run = Comparison(nodes, self._wiring.pool)

            def progress() -> Progress:
                return Progress(
                    verb="verify", phase="verify", bytes_done=run.bytes, bytes_total=entry.size, files_done=run.files
                )

            async with paced(observe, progress), aclosing(run.differences(entry, _followed(place))) as found_all:
                async for found in found_all:
                    if len(differences) < _DIFFERENCES_MAX:
                        differences.append(DifferenceReport(path=found.path, problem=found.problem))
                    else:
                        more += 1
        return VerifyResult(
            cid=what, path=place, ok=not differences, files=run.files, bytes=run.bytes, seconds=time.monotonic() - began,
            differences=differences, more_differences=more,
        )  # fmt: skip

    # Upkeep

    async def doctor(self) -> list[Check]:
        """Looks for what is wrong with this machine, home and configuration."""
        from wherry import health

        return await in_thread(lambda: health.examine(self._home, self._wiring, self._store))

    async def repair(self, *, observe: Observe | None = None) -> RepairResult:
        """Makes the index again by reading everything that was added or fetched. Nothing of the user's is changed.

        Needs the home alone: raises UsageError unless the session was opened for the verb "repair".
        """
        if self._set_aside is None:
            raise UsageError("repair needs the home alone", hint='open the session with verb="repair"')
        from wherry import health

        return await health.repair(self._store, self._wiring.pool, observe, self._set_aside)

    # Parts that the verbs share

    def _parse(self, what: str) -> tuple[CID, Ticket | None, str]:
        """Reads ``CID[/PATH]`` or a ticket."""
        from wherry.ticket import PREFIX, Ticket

        if what.startswith(PREFIX):
            ticket = Ticket.parse(what)
            return ticket.cid, ticket, ""
        text, _, path = what.partition("/")
        return CID.parse(text), None, path.strip("/")

    def _source(self, what: str, sources: Sequence[str]) -> tuple[CID, list[str], str | None]:
        cid, ticket, path = self._parse(what)
        if path:
            raise UsageError(
                "get takes a CID without a path", hint="choose parts of a dataset with --include, or use `wherry cat`"
            )
        return cid, self._addresses(sources, ticket), ticket.name if ticket else None

    def _addresses(self, sources: Sequence[str], ticket: Ticket | None) -> list[str]:
        """Gives the addresses to ask: those named, those of the ticket, or else all configured peers."""
        peers = self.config.peers
        named = [peers.get(source, source) for source in sources] + list(ticket.addresses if ticket else ())
        addresses = list(dict.fromkeys(named or peers.values()))
        for address in addresses:
            self._wiring.transport(address)  # says now, not in the middle, that nothing speaks it
        return addresses

    def _fetcher(self, addresses: Sequence[str], wait_s: float | None, observe: Observe | None) -> Fetcher:
        from wherry.transfer.fetch import Fetcher

        wait = self.config.get.wait if wait_s is None else wait_s
        connect = self._wiring.connect
        return Fetcher(addresses, connect, self._wiring.pool, wait_s=wait, observe=_quiet(observe))

    @asynccontextmanager
    async def _reading(self, what: str, sources: Sequence[str]) -> AsyncIterator[tuple[Nodes, Fetcher, Entry]]:
        """Resolves ``CID[/PATH]``; fetches what is not here from the sources."""
        from wherry.transfer.running import running
        from wherry.transfer.tree import Nodes

        cid, ticket, path = self._parse(what)
        fetcher = self._fetcher(self._addresses(sources, ticket), None, None)
        nodes = Nodes(self._store, fetcher)
        try:
            async with running(fetcher):
                entry = (await nodes.root(cid)).entry
                yield nodes, fetcher, await nodes.find(entry, path) if path else entry
        finally:
            await in_thread(nodes.flush)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _followed(path: str) -> str:
    return os.path.realpath(path)  # a link that is given as the path is followed, as `add` does


def _quiet(observe: Observe | None) -> Observe:
    def nobody(event: Event) -> None:
        del event

    return observe or nobody


def _report(source: Source) -> SourceReport:
    return SourceReport(address=source.address, bytes=source.bytes, blocks=source.blocks, errors=source.errors)
