"""The verbs that make data known and give it away: they read the user's own files, and fetch nothing."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from wherry.config import ConfigProblems
from wherry.config.loader import GIVEN
from wherry.errors import UsageError
from wherry.observe import Progress
from wherry.offload import apart, in_thread
from wherry.results import AddResult
from wherry.session.parts import Parts, quiet
from wherry.session.telling import both, told, told_while
from wherry.transfer.add import Add
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from wherry.abc.chunker import Chunker
    from wherry.observe import Observe
    from wherry.session.granting import Encryption
    from wherry.transfer.serve import Serving


class Adding(Parts):
    """Add and serve."""

    @told
    async def add(
        self,
        path: str,
        *,
        chunker: str | None = None,
        mtime: bool | None = None,
        name: str | None = None,
        meta: Mapping[str, str] | None = None,
        encryption: Encryption | None = None,
        unixfs: bool | None = None,
        observe: Observe | None = None,
    ) -> AddResult:
        """Reads a file or directory once, records where its blocks lie, and gives its CID; nothing is copied.

        ``chunker``, ``mtime`` and ``unixfs`` (give a UnixFS CID as well) default to the configuration; ``name`` and ``meta``
        become metadata of the dataset.
        ``encryption`` seals it, names included (specs/0016); the sealed blocks are made again when they are asked for. Raises
        UsageError for a size that ``chunker`` does not have.
        """
        self._home.must_be_writable()
        began = time.monotonic()
        cut = self._chunker(chunker)
        keep = self.config.add.mtime if mtime is None else mtime
        sealed = None
        if encryption is not None:
            from wherry.session.granting import publication

            sealed, cut = await in_thread(partial(publication, self, encryption, cut))
        twin = self.config.add.unixfs if unixfs is None else unixfs
        run = Add(self._store, self._wiring.pool, cut, mtime=keep, home=str(self.home), publication=sealed, unixfs=twin)
        words = {**({"name": name} if name else {}), **(meta or {})}

        def progress() -> Progress:
            tally = run.tally
            return Progress(
                verb="add", phase="hash", bytes_done=tally.bytes, bytes_total=tally.bytes_total, files_done=tally.files
            )

        async with paced(observe, progress):
            cid = await apart(lambda: run.run(os.path.expanduser(path), words), run.cancel)
        tally = run.tally
        warnings = [*tally.warnings, *([f"and {tally.more_warnings} more warnings"] if tally.more_warnings else [])]
        return AddResult(
            cid=str(cid), files=tally.files, bytes=tally.bytes, new_blocks=run.new_blocks, reused_blocks=run.reused_blocks,
            unique_bytes=run.unique_bytes, stored_bytes=run.stored_bytes,
            seconds=time.monotonic() - began, warnings=warnings,
            unixfs_cid=str(run.unixfs) if run.unixfs is not None else None, unixfs_reason=run.unixfs_reason or None,
        )  # fmt: skip

    def _chunker(self, text: str | None) -> Chunker:
        """Builds the chunker. What is wrong in ``text`` stands in no configuration: raises UsageError for it."""
        try:
            return self._wiring.chunker(text)
        except ConfigProblems as problem:
            wrong = problem.problems[0]
            if text is None or wrong.source != GIVEN:
                raise
            hint = f"expected {wrong.expected}" if wrong.expected is not None else None
            raise UsageError(f"chunker {text!a}: {wrong.key} {wrong.problem}", hint=hint) from problem

    @told_while
    @asynccontextmanager
    async def serve(
        self,
        paths: Sequence[str] = (),
        *,
        listen: Sequence[str] = (),
        allow_public: bool | None = None,
        observe: Observe | None = None,
    ) -> AsyncIterator[Serving]:
        """Adds ``paths``, then serves everything that this home holds, on ``listen`` or the configured addresses.

        Leaving the context stops accepting and ends what is under way within ten seconds. Raises UsageError for a public
        address without protection, LocalError for one that is taken. Locators in use that can announce this node do so, and
        those that were told to say what it holds say that; if one fails, that is a Note. Names that this home publishes are
        renewed (specs/0034 §8).
        """
        for path in paths:
            await self.add(path)
        public = self.config.serve.allow_public if allow_public is None else allow_public
        from wherry.session.renewing import renewing
        from wherry.transfer.announce import announced, roots_of
        from wherry.transfer.node import reachable
        from wherry.transfer.serve import serving

        node, note = self._node, quiet(both(self._emit, observe))
        async with (
            node.running(),
            serving(
                listen or self.config.serve.listen,
                lambda address: self._wiring.transport(address, allow_public=public),
                node.holdings,
            ) as opened,
            reachable(node, opened),
            announced(
                self._wiring.locators(),
                opened.listen,
                note,
                holdings=roots_of(self._store.state, lambda: node.holdings.fetched),
            ),
            renewing(self, note) as renewer,
        ):
            self._renewed = lambda: renewer.reports
            yield opened
