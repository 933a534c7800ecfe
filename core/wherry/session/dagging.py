"""The verbs for blocks that are no files: values with links (specs/0038)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.dag_results import DagLink, DagNode, DagPut, DagStat
from wherry.errors import DataError, DecodeError, UsageError, of_block
from wherry.hints import advising
from wherry.observe import Progress
from wherry.offload import in_thread, stoppable
from wherry.session.parts import Parts
from wherry.session.telling import told
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.cid import CID
    from wherry.gateway.blocks import Blocks
    from wherry.observe import Observe
    from wherry.publiccid import PublicCID
    from wherry.transfer.dags import Reached


class Dagging(Parts):
    """Dag get, put, ls and stat."""

    @told
    async def dag_get(
        self, what: str | CID, *, codec: str = "dag-json", sources: Sequence[str] = (), observe: Observe | None = None
    ) -> DagNode:
        """Gives the value that ``CID[/PATH]`` leads to, written as ``codec``: dag-json, dag-cbor, or raw.

        The path goes through DAG-CBOR, DAG-JSON and dag-pb. What is not here is fetched, and verified. Raises NotFound,
        DataError, UsageError, and what fetching does.
        """
        from wherry.transfer.dags import written

        async with self._reached(what, sources, observe) as (blocks, reached):
            data = await stoppable(lambda: written(blocks, reached, codec), blocks.cancel)
        cid = reached.cid
        return DagNode(cid=str(cid), codec=cid.codec_name, rest="/".join(reached.rest), data=data)

    @told
    async def dag_put(self, data: bytes, *, codec: str = "dag-json", store: str = "dag-cbor") -> DagPut:
        """Reads a value that is written as ``codec``, and keeps it as a block of ``store``; on disk when it returns.

        Raises DataError for bytes that are no such value, or a value that has no form there, UsageError, StoreError.
        """
        self._home.must_be_writable()
        from wherry import ipld
        from wherry.block import Block
        from wherry.publiccid import PublicCID

        for name in (codec, store):
            if name not in ipld.CODECS:
                raise UsageError(f"no codec {name!r}", hint=", ".join(ipld.CODECS))

        def put() -> DagPut:
            block = ipld.write(ipld.CODECS[store], ipld.read(ipld.CODECS[codec], data))
            cid = PublicCID.of(ipld.CODECS[store], block)
            new = self._store.nodes.put_many([Block(cid.block(), block)])
            return DagPut(cid=str(cid), codec=store, bytes=len(block), new=bool(new))

        return await in_thread(put)

    @told
    async def dag_ls(self, what: str | CID, *, sources: Sequence[str] = (), observe: Observe | None = None) -> list[DagLink]:
        """Gives the links in what ``CID[/PATH]`` leads to, in the order of the block."""
        async with self._reached(what, sources, observe) as (blocks, reached):
            return await stoppable(lambda: _links(blocks, reached), blocks.cancel)

    @told
    async def dag_stat(self, what: str | CID, *, sources: Sequence[str] = (), observe: Observe | None = None) -> DagStat:
        """Counts the blocks below the block in which ``CID[/PATH]`` ends; fetches those that are not here, to look into them.

        Up to 262,144 different blocks are told apart; beyond, one that occurs again much later may be counted again.
        """
        from wherry.transfer.dags import Counting

        async with self._reached(what, sources, observe) as (blocks, reached):
            cid = reached.cid
            run = Counting(blocks, cid)

            def end() -> None:
                run.cancel()
                blocks.cancel()

            def progress() -> Progress:
                return Progress(verb="dag stat", phase="fetch", bytes_done=run.bytes, wire_bytes=blocks.wire_bytes)

            async with paced(observe, progress):
                own, count = await stoppable(lambda: _own(blocks, cid), blocks.cancel)
                await stoppable(run.run, end)
        return DagStat(
            cid=str(cid), codec=cid.codec_name, rest="/".join(reached.rest), bytes=own, links=count, blocks=run.blocks,
            total_bytes=run.bytes,
        )  # fmt: skip

    @asynccontextmanager
    async def _reached(
        self, what: str | CID, sources: Sequence[str], observe: Observe | None
    ) -> AsyncIterator[tuple[Blocks, Reached]]:
        """Follows ``CID[/PATH]``; fetches while the context lasts."""
        from wherry.transfer.dags import reach

        async with self._blocks(what, sources, observe) as (blocks, root, parts):
            with advising(DecodeError, "`wherry dag get` of that block with --output-codec raw gives its bytes"):
                yield blocks, await stoppable(lambda: reach(blocks, root, parts), blocks.cancel)


def _links(blocks: Blocks, reached: Reached) -> list[DagLink]:
    from wherry import dagpb, ipld
    from wherry.cid import DAG_PB
    from wherry.transfer.dags import value_at

    if reached.cid.codec == DAG_PB and not reached.rest:  # by its own links: a name of one may have no logical form
        try:
            node = dagpb.decode(blocks.node(reached.cid))
        except DataError as problem:
            raise of_block(problem, reached.cid) from problem
        return [
            DagLink(
                path=f"Links/{at}/Hash", cid=str(link.cid), size=link.tsize,
                name=link.name.decode("utf-8", "backslashreplace") if link.name is not None else None,
            )
            for at, link in enumerate(node.links)
        ]  # fmt: skip
    if reached.cid.codec not in ipld.LINKED:
        return []
    return [DagLink(path=path, cid=str(cid)) for path, cid in ipld.links(value_at(blocks, reached))]


def _own(blocks: Blocks, cid: PublicCID) -> tuple[int, int]:
    """Gives the size of a block, and the number of its links."""
    from wherry.gateway.nodes import links
    from wherry.ipld import LINKED

    if cid.codec not in LINKED:
        return blocks.one(cid).size, 0
    data = blocks.node(cid)
    return len(data), len(links(cid, data))
