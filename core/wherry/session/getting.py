"""The verb that brings data here and writes it where the user wants it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from wherry.errors import Misjudged
from wherry.limits import TREE_ENTRIES_MAX
from wherry.observe import Note
from wherry.offload import in_thread
from wherry.results import GetPlan, GetResult, SourceReport
from wherry.session.parts import Parts, absolute, quiet
from wherry.session.telling import told
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.observe import Observe
    from wherry.session.parts import What
    from wherry.traffic import ClassName
    from wherry.transfer.into import Fill
    from wherry.transfer.select import Links, Names, Selection
    from wherry.transfer.source import Source
    from wherry.transfer.why import Ledger

NOWHERE = "null:"
_NUMBERS: Final = count(1)  # of transfers: one dataset may be fetched twice at a time


class Getting(Parts):
    """Get."""

    @told
    async def get(
        self,
        what: str | CID,
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
        transfer: str | None = None,
        klass: ClassName = "normal",
        limit_up: float | None = None,
        limit_down: float | None = None,
        observe: Observe | None = None,
        ledger: Ledger | None = None,
    ) -> GetResult | GetPlan:
        """Fetches, verifies and writes what a CID or ticket names; goes on where an earlier run was interrupted.

        ``output`` is the file or directory to make (``null:`` keeps nothing; None: in the current folder, of the ticket's name,
        the last one of the path, or else the CID); it must not exist unless ``force``, or be this very content already.
        ``dry_run`` tells what would be done. ``ledger`` is told where the time goes.

        ``transfer`` is the name under which the node's `Traffic` knows it while it runs, and ``klass`` its class there.
        ``limit_up`` and ``limit_down`` are limits of its own in bytes a second, in place of those that ``[limits]`` has for
        each transfer (specs/0026). Raises UsageError for a name in use.
        """
        if not dry_run:
            self._home.must_be_writable()
        from wherry.traffic import Pair
        from wherry.transfer.select import Selection
        from wherry.transfer.target import check_path

        began = time.monotonic()
        asked, addresses = self._source(await self._unnamed(what, sources, observe), sources)
        named = asked.ticket.name if asked.ticket is not None else asked.path.rpartition("/")[2]
        target = NOWHERE if output == NOWHERE else absolute(output or named or str(asked.cid))
        if target != NOWHERE:
            check_path(target)  # before it is compared, and `--force` advised
        run = _Run(
            session=self, asked=asked, addresses=addresses, target=target, selection=Selection(include, exclude), force=force,
            dry_run=dry_run, wait_s=wait_s, links=links, names=names, max_bytes=max_bytes, observe=observe, ledger=ledger,
            began=began,
        )  # fmt: skip
        limit = Pair(limit_up, limit_down)
        with self._wiring.traffic.using(transfer or f"get {asked.cid} {next(_NUMBERS)}", klass, limit) as flow:
            try:
                return await run.once(flow, careful=False)
            except Misjudged as problem:  # rare: a directory that lies about sizes, or a file of an unusual form
                quiet(observe)(Note("info", f"{problem.message}: reading it again, block by block"))
                return await run.once(flow, careful=True)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One get. Functions inside `Getting.get` would hold all of this in cells: 1.5 KB more in each of a thousand transfers."""

    session: Getting
    asked: What
    addresses: list[str]
    target: str
    selection: Selection
    force: bool
    dry_run: bool
    wait_s: float | None
    links: Links | None
    names: Names | None
    max_bytes: int | None
    observe: Observe | None
    ledger: Ledger | None
    began: float

    async def once(self, flow: Flow, *, careful: bool) -> GetResult | GetPlan:
        """Fetches by ``flow``. Raises Misjudged, unless ``careful``."""
        from wherry.transfer.into import Fill
        from wherry.transfer.member import Membership
        from wherry.transfer.running import running
        from wherry.transfer.select import Guard
        from wherry.transfer.tree import Nodes

        session, asked, observing = self.session, self.asked, quiet(self.observe)
        options, wiring, node = session.config.get, session._wiring, session._node
        fetcher = session._fetcher(asked.cid, self.addresses, self.wait_s, self.observe, self.ledger, flow=flow)
        member = Membership(asked.cid, fetcher, node.swarm, wiring.connect, observing)
        nodes = Nodes(session._store, fetcher, wiring.locksmith)
        if asked.inline is not None:
            nodes.know(asked.inline)
        fill = Fill(
            nodes=nodes, fetcher=fetcher, store=session._store, pool=wiring.pool, selection=self.selection,
            guard=Guard(self.names or options.names, self.links or options.links), observe=observing,
            direct=options.direct_io, sync=options.sync, force=self.force, member=member, holdings=node.holdings,
            careful=careful, partial=bool(asked.path), bytes_max=self.max_bytes or options.max_bytes,
        )  # fmt: skip
        try:
            async with node.running(), running(fetcher):
                try:
                    return await self._filled(fill)
                finally:
                    member.leave()
        finally:
            await in_thread(fill.close)

    async def _filled(self, fill: Fill) -> GetResult | GetPlan:
        from wherry.transfer.get import check_bounds
        from wherry.transfer.into import fill_target, plan_target, root_of_get

        cid, path, target = self.asked.cid, self.asked.path, self.target
        root = await root_of_get(fill.nodes, cid, None if target == NOWHERE else target, path)
        what_cid = root.entry.cid if path else cid
        check_bounds(root.entry, bytes_max=fill.bytes_max, entries_max=TREE_ENTRIES_MAX, exact=root.exact)
        if self.dry_run:
            return await plan_target(fill, what_cid, root, target)
        async with paced(self.observe, fill.progress):
            size = await fill_target(fill, what_cid, root, None if target == NOWHERE else target)
        return GetResult(
            cid=str(what_cid), path=target, bytes=size, fetched_bytes=fill.fetcher.wire_bytes,
            seconds=time.monotonic() - self.began, sources=[_report(source) for source in fill.fetcher.sources],
        )  # fmt: skip


def _report(source: Source) -> SourceReport:
    return SourceReport(address=source.address, bytes=source.bytes, blocks=source.blocks, errors=source.errors)
