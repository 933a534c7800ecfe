"""The verb that brings data here and writes it where the user wants it."""

from __future__ import annotations

import time
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

    from wherry.flow import Flow
    from wherry.observe import Observe
    from wherry.traffic import ClassName
    from wherry.transfer.select import Links, Names
    from wherry.transfer.source import Source
    from wherry.transfer.why import Ledger

NOWHERE = "null:"
_NUMBERS: Final = count(1)  # of transfers: one dataset may be fetched twice at a time


class Getting(Parts):
    """Get."""

    @told
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
        transfer: str | None = None,
        klass: ClassName = "normal",
        limit_up: float | None = None,
        limit_down: float | None = None,
        observe: Observe | None = None,
        ledger: Ledger | None = None,
    ) -> GetResult | GetPlan:
        """Fetches, verifies and writes what a CID or ticket names; goes on where an earlier run was interrupted.

        ``output`` is the file or directory to make (``null:`` keeps nothing); it must not exist unless ``force``, or be
        this very content already. ``dry_run`` tells what would be done. ``ledger`` is told where the time goes.

        ``transfer`` is the name under which the node's `Traffic` knows it while it runs, and ``klass`` its class there.
        ``limit_up`` and ``limit_down`` are limits of its own in bytes a second, in place of those that ``[limits]`` has for
        each transfer (specs/0026). Raises UsageError for a name in use.
        """
        from wherry.traffic import Pair
        from wherry.transfer.get import check_bounds
        from wherry.transfer.into import Fill, fill_target, plan_target, root_of_get
        from wherry.transfer.member import Membership
        from wherry.transfer.running import running
        from wherry.transfer.select import Guard, Selection
        from wherry.transfer.tree import Nodes

        began = time.monotonic()
        asked, addresses = self._source(await self._unnamed(what, sources), sources)
        named = asked.ticket.name if asked.ticket is not None else asked.path.rpartition("/")[2]
        target = NOWHERE if output == NOWHERE else absolute(output or named or str(asked.cid))
        options = self.config.get
        selection, observing = Selection(include, exclude), quiet(observe)

        async def once(flow: Flow, *, careful: bool) -> GetResult | GetPlan:
            node, cid = self._node, asked.cid
            fetcher = self._fetcher(cid, addresses, wait_s, observe, ledger, flow=flow)
            member = Membership(cid, fetcher, node.swarm, self._wiring.connect, observing)
            nodes = Nodes(self._store, fetcher, self._wiring.locksmith)
            if asked.inline is not None:
                nodes.know(asked.inline)
            fill = Fill(
                nodes=nodes, fetcher=fetcher, store=self._store, pool=self._wiring.pool, selection=selection,
                guard=Guard(names or options.names, links or options.links), observe=observing,
                direct=options.direct_io, sync=options.sync, force=force, member=member, holdings=node.holdings,
                careful=careful, partial=bool(asked.path), bytes_max=max_bytes or options.max_bytes,
            )  # fmt: skip

            async def work() -> GetResult | GetPlan:
                root = await root_of_get(nodes, cid, None if target == NOWHERE else target, asked.path)
                what_cid = root.entry.cid if asked.path else cid
                check_bounds(root.entry, bytes_max=fill.bytes_max, entries_max=TREE_ENTRIES_MAX, exact=root.exact)
                if dry_run:
                    return await plan_target(fill, what_cid, root, target)
                async with paced(observe, fill.progress):
                    size = await fill_target(fill, what_cid, root, None if target == NOWHERE else target)
                return GetResult(
                    cid=str(what_cid), path=target, bytes=size, fetched_bytes=fetcher.wire_bytes,
                    seconds=time.monotonic() - began, sources=[_report(source) for source in fetcher.sources],
                )  # fmt: skip

            try:
                async with node.running(), running(fetcher):
                    try:
                        return await work()
                    finally:
                        member.leave()
            finally:
                await in_thread(fill.close)

        limit = Pair(limit_up, limit_down)
        with self._wiring.traffic.using(transfer or f"get {asked.cid} {next(_NUMBERS)}", klass, limit) as flow:
            try:
                return await once(flow, careful=False)
            except Misjudged as problem:  # rare: a directory that lies about sizes, or a file of an unusual form
                observing(Note("info", f"{problem.message}: reading it again, block by block"))
                return await once(flow, careful=True)


def _report(source: Source) -> SourceReport:
    return SourceReport(address=source.address, bytes=source.bytes, blocks=source.blocks, errors=source.errors)
