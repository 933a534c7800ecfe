"""The verbs that look into a dataset and write nothing outside the home: they fetch what they look at, and no more."""

from __future__ import annotations

import os
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from wherry.cid import DAG_PB
from wherry.manifest import DIR, FILE, LINK
from wherry.observe import Progress
from wherry.offload import in_thread
from wherry.results import DifferenceReport, LsEntry, Stat, VerifyResult
from wherry.session.apart import apart
from wherry.session.parts import Parts, absolute
from wherry.session.telling import told, told_pieces
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.cid import CID
    from wherry.manifest import Entry
    from wherry.observe import Observe

_DIFFERENCES_MAX = 10_000  # listed; more are counted
_ROWS_AHEAD = 64


class Reading(Parts):
    """Cat, ls, stat and verify."""

    @told_pieces
    @apart(1)
    async def cat(
        self,
        what: str | CID,
        *,
        sources: Sequence[str] = (),
        offset: int = 0,
        length: int | None = None,
        observe: Observe | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Gives the bytes of ``CID[/PATH]``, verified, in order, a leaf at a time."""
        from wherry.transfer import read

        async with (
            self._reading(what, sources, observe) as (nodes, fetcher, entry),
            aclosing(read.content(nodes, self._store, fetcher, entry, offset=offset, length=length)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    @told_pieces
    @apart(_ROWS_AHEAD)
    async def ls(
        self, what: str | CID, *, sources: Sequence[str] = (), observe: Observe | None = None
    ) -> AsyncGenerator[LsEntry, None]:
        """Gives the entries of the directory ``CID[/PATH]``, in order, or the one file that it is."""
        from wherry.transfer import read

        async with (
            self._reading(what, sources, observe) as (nodes, _, root),
            aclosing(read.entries(nodes, root)) as found,
        ):
            async for entry in found:
                mtime = entry.attrs.mtime
                yield LsEntry(
                    name=entry.name, kind=read.shape(entry), size=entry.size, cid=str(entry.cid) if not entry.target else None,
                    executable=bool(entry.attrs.executable), mtime=mtime[0] + mtime[1] / 1e9 if mtime else None,
                    target=entry.target or None, entries=_below(entry),
                )  # fmt: skip

    @told
    async def stat(self, what: str | CID, *, sources: Sequence[str] = (), observe: Observe | None = None) -> Stat:
        """Tells what ``CID[/PATH]`` stands for, from its own node."""
        from wherry.publiccid import parse_path
        from wherry.transfer import read

        what = await self._unnamed(what, sources, observe)
        asked = self._parse(what)
        cid, path = asked.cid, asked.path
        meta: dict[str, str] = {}
        async with self._reading(what, sources, observe) as (nodes, _, entry):
            if not path:
                meta = (await nodes.root(cid)).meta
            blocks, chunk = await read.leaves_of(nodes, entry)
            held = await in_thread(lambda: self._has_whole(cid))
            unlocked = nodes.unlocked
            # Of another codec or hash than the engine's, the CID that was asked for is said, and not its twin.
            named = entry.cid if path else cid if asked.ticket is not None else parse_path(what)[0].to_version(1)
            return Stat(
                cid=str(named) if not entry.target else None, target=entry.target or None,
                kind=read.shape(entry), bytes=entry.size,
                files=1 if entry.kind == FILE else None,
                entries=_below(entry) if entry.kind == DIR else 0, blocks=blocks, chunk_bytes=chunk, meta=meta, held=held,
                encrypted=unlocked.header.scheme.name if unlocked is not None else None,
                granted_by=str(unlocked.sender) if unlocked is not None and unlocked.sender is not None else None,
            )  # fmt: skip

    @told
    async def verify(
        self, what: str | CID, path: str, *, sources: Sequence[str] = (), observe: Observe | None = None
    ) -> VerifyResult:
        """Compares the file or directory at ``path`` with ``CID[/PATH]``, reading all of it.

        A link at ``path`` is followed, unless it is a link that ``CID/PATH`` names: then it is compared itself.
        """
        from wherry.transfer.compare import Comparison

        began = time.monotonic()
        place = absolute(path)
        differences: list[DifferenceReport] = []
        more = 0
        async with self._reading(what, sources, observe) as (nodes, _, entry):
            cid = self._parse(what).cid
            known = await in_thread(lambda: self._has_whole(cid))
            run = Comparison(nodes, self._wiring.pool, complete=known)
            there = place if entry.kind == LINK else _followed(place)

            def progress() -> Progress:
                return Progress(
                    verb="verify", phase="verify", bytes_done=run.bytes, bytes_total=entry.size, files_done=run.files
                )

            async with paced(observe, progress), aclosing(run.differences(entry, there)) as found_all:
                async for found in found_all:
                    if len(differences) < _DIFFERENCES_MAX:
                        differences.append(DifferenceReport(path=found.path, problem=found.problem))
                    else:
                        more += 1
        return VerifyResult(
            cid=str(what), path=place, ok=not differences, files=run.files, bytes=run.bytes, seconds=time.monotonic() - began,
            differences=differences, more_differences=more,
        )  # fmt: skip

    def _has_whole(self, cid: CID) -> bool:
        """Tells whether this node added the dataset, or fetched all of it; its files are not looked at."""
        return any(not row.options.get("selection") for row in self._store.state.roots(cid))


def _below(entry: Entry) -> int | None:
    """Counts what is below a directory, where it tells."""
    return entry.entries - 1 if entry.kind == DIR and entry.cid.codec != DAG_PB else None


def _followed(path: str) -> str:
    return os.path.realpath(path)  # a link that is given as the path is followed, as `add` does
