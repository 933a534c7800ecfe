"""Brings a get and its target together: what is there already, the part, the name at the end; and the plan without it all."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wherry.block import checked
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LinkStep, Root
from wherry.errors import TargetChanged, TargetExists, UsageError, WherryError
from wherry.fileio import open_regular
from wherry.limits import LEAF_BYTES_MAX
from wherry.manifest import FILE, LINK
from wherry.observe import Note, Progress
from wherry.offload import in_thread
from wherry.results import GetPlan, SourcePlan
from wherry.store.held import there
from wherry.store.index import Signature
from wherry.stretches import Stretches
from wherry.transfer.compare import Comparison
from wherry.transfer.get import Get
from wherry.transfer.part import PartSource
from wherry.transfer.record import Recorder
from wherry.transfer.replace import check_replace, inside_hint
from wherry.transfer.replaced import left_beside, remove
from wherry.transfer.select import Extent, chosen
from wherry.transfer.target import Target, free_bytes, hidden_names, tidy
from wherry.transfer.tree import walk_of
from wherry.unixfs.wrap import Wrapping

if TYPE_CHECKING:
    from wherry.block import Block
    from wherry.buffers import BufferPool
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.store.store import Store
    from wherry.transfer.fetch import Connect, Fetcher
    from wherry.transfer.member import Membership
    from wherry.transfer.node import Holdings
    from wherry.transfer.select import Guard, Selection
    from wherry.transfer.sink import Sealer
    from wherry.transfer.tree import Nodes

_LOOK_UP = 512  # leaves looked up in one query


@dataclass(slots=True, kw_only=True)
class Fill:
    """What a get needs besides what it gets, and what it holds while it runs."""

    nodes: Nodes
    fetcher: Fetcher
    store: Store
    pool: BufferPool
    selection: Selection
    guard: Guard
    observe: Observe
    direct: bool
    sync: bool
    force: bool
    member: Membership
    holdings: Holdings
    careful: bool = False  # see `Get`
    partial: bool = False  # what is got is a part of the dataset that the swarm speaks of
    bytes_max: int | None = None
    run: Get | None = field(default=None, init=False)
    target: Target | None = field(default=None, init=False)
    recorder: Recorder | None = field(default=None, init=False)
    finishing: bool = field(default=False, init=False)  # whether what was replaced is being removed, which may take minutes

    @property
    def done_bytes(self) -> int:
        """Bytes that are verified and in their place."""
        return self.run.done_bytes if self.run is not None else 0

    def aim(self, path: str, root: Root, identity: dict[str, str]) -> Target:
        """Opens the target. Here, for `close` must find it also where who waits for this is cancelled. Raises as `Target`."""
        self.target = Target(path, root.entry, identity)
        return self.target

    def progress(self) -> Progress:
        """How far it is."""
        run = self.run
        alive = sum(source.alive for source in self.fetcher.sources)
        return Progress(
            verb="get", phase="finish" if self.finishing else "fetch", bytes_done=self.done_bytes,
            bytes_total=run.count.bytes_total if run else None,
            files_done=run.done_files if run else 0, wire_bytes=self.fetcher.wire_bytes, sources_alive=alive,
        )  # fmt: skip

    def close(self) -> None:
        """Frees everything; a part in which nothing is done goes, any other stays for the next run."""
        if self.run is not None:
            self.run.close()
        try:
            self.nodes.flush()
            if self.recorder is not None:
                self.recorder.flush()
        finally:
            if self.target is not None:
                try:
                    if not (self.target.existed or self.target.finished or self.done_bytes):
                        self.target.discard()
                finally:
                    self.target.close()


async def root_of_get(nodes: Nodes, cid: CID, path: str | None, inside: str = "") -> Root:
    """Reads the root, or what lies ``inside`` of the tree. A root that is a leaf is looked for in the target first, for only
    its bytes tell its size. Raises UsageError for what cannot be a target.
    """
    if inside:
        root = await nodes.root(cid)
        entry = await nodes.find(root.entry, inside)
        if entry.key:
            raise UsageError("a part of an encrypted dataset has no name of its own", hint="choose parts with --include")
        if entry.kind == LINK:
            raise UsageError(f"{inside!r} is a symbolic link to {entry.target!r}, not a file", hint="get what it leads to")
        exact = entry.cid.codec != DAG_PB or entry.kind == FILE
        return Root(entry._replace(name=""), {}, exact)
    if cid.codec == RAW and path is not None:
        block = await in_thread(lambda: _leaf_at(cid, path) or _leaf_at(cid, hidden_names(path)[0]))
        if block is not None:
            nodes.know(block)
    root = await nodes.root(cid)
    if root.entry.kind == LINK:
        raise UsageError(f"this is a symbolic link to {root.entry.target!r}, not a file", hint="get the tree that it is in")
    return root


def _leaf_at(cid: CID, path: str) -> Block | None:
    try:
        fd, found = open_regular(path)
        try:
            return checked(cid, os.pread(fd, found.st_size, 0), origin=path) if found.st_size <= LEAF_BYTES_MAX else None
        finally:
            os.close(fd)
    except (OSError, WherryError):
        return None


async def fill_target(fill: Fill, cid: CID, root: Root, path: str | None) -> int:
    """Makes ``path`` the content of ``root`` (None: fetches and verifies only); gives its bytes.

    Raises TargetExists, TargetChanged, TargetBusy and what fetching and writing do.
    """
    fill.run = run = Get(
        fill.nodes, fill.fetcher, fill.store, fill.pool, selection=fill.selection, guard=fill.guard, observe=fill.observe,
        careful=fill.careful, placed=root.exact and not fill.partial, bytes_max=None if root.exact else fill.bytes_max,
    )  # fmt: skip
    placed = root.exact and not fill.partial
    if placed:
        fill.member.sized(root.entry.size)
    if path is None:
        await run.to_nowhere(root)
        return run.done_bytes
    there = await in_thread(lambda: os.path.lexists(path))
    identity = {"cid": str(cid), "selection": fill.selection.identity}
    if not fill.selection.everything:
        identity["places"] = "dataset"  # where files lie is counted in the whole, and not in what is selected
    if fill.careful:  # where files lie in the transfer may be another place
        identity["sizes"] = "careful"
    before = await in_thread(lambda: _signature(path))
    if there and (found := await _complete(fill, cid, root, path)) is not None:
        options = _options(fill, root, found.extent)

        def named() -> None:  # by a run that was killed before it could acknowledge it
            if root.entry.kind == FILE and before is not None:
                _renamed(fill.store, path, root.entry.cid, before)
            fill.store.state.put_root(cid, path, "get", options)

        await in_thread(lambda: tidy(path, identity, named))
        await _clear(fill, path)
        return found.bytes
    if there:
        await in_thread(lambda: check_replace(path, root.entry.kind))
    replaced = path if there and not await in_thread(lambda: os.path.islink(path)) else None
    target = await in_thread(lambda: fill.aim(path, root, identity))
    await _clear(fill, path)
    fill.recorder = recorder = Recorder(fill.store)
    sealing: Sealer | None = fill.nodes.unlocked.sealing if fill.nodes.unlocked is not None else None
    if root.entry.cid.codec == DAG_PB:
        sealing = Wrapping()
    part = PartSource(cid, target, fill.store.index, sealing, fill.nodes.at_hand, flow=fill.fetcher.flow)
    with fill.holdings.sharing(part):
        # A part of it lies elsewhere in the stretch of bytes that peers speak of.
        everything = fill.selection.everything and not fill.partial
        if placed:
            fill.member.share(part, target.journal.done if target.journal.intact else Stretches())
        await run.to_target(
            root, target, recorder, direct=fill.direct, sync=fill.sync, replaced=replaced,
            gained=fill.member.gained if placed else None,
        )  # fmt: skip
        fill.finishing = there
        for problem in await in_thread(lambda: _finish(fill, target, recorder, cid, root)):
            fill.observe(Note("warning", problem))
        fill.finishing = False
        if everything:
            if not root.exact:
                fill.member.sized(run.count.extent.selected_bytes)
            fill.member.completed()
    return run.count.extent.selected_bytes


async def _clear(fill: Fill, path: str) -> None:
    """Removes what earlier gets replaced at ``path`` and did not remove. It may take minutes, so it is said."""
    left = await in_thread(lambda: left_beside(hidden_names(path)[0]))
    if not left:
        return
    fill.observe(Note("info", f"removing what an earlier get replaced: {', '.join(map(repr, left))}"))
    fill.finishing = True
    for problem in await in_thread(lambda: remove(left)):
        fill.observe(Note("warning", problem))
    fill.finishing = False


def _finish(fill: Fill, target: Target, recorder: Recorder, cid: CID, root: Root) -> list[str]:
    """Records, names, acknowledges: in this order, so that whatever is lost in between is found again by looking.

    Gives what could not be removed of what was replaced, in words.
    """
    fill.nodes.flush()
    recorder.flush()
    return target.finish(force=fill.force, synced=fill.sync, named=lambda: _acknowledge(fill, target, recorder, cid, root))


def _acknowledge(fill: Fill, target: Target, recorder: Recorder, cid: CID, root: Root) -> None:
    if root.entry.kind == FILE:
        row = fill.store.index.files([target.path]).get(target.path)
        if row is not None:  # renaming a file changes its ctime
            fill.store.index.moved(row.id, Signature.of(os.lstat(target.path)))
    extent = fill.run.count.extent if fill.run is not None else Extent()
    recorder.root(cid, target.path, "get", _options(fill, root, extent))


def _renamed(store: Store, path: str, cid: CID, compared: Signature) -> None:
    """Tells the index of the ctime that a file got with its name; it had the signature ``compared`` when it was looked at."""
    row = store.index.files([path]).get(path)
    if row is not None and row.cid == cid and compared == _signature(path):
        store.index.moved(row.id, compared)


def _signature(path: str) -> Signature | None:
    try:
        return Signature.of(os.lstat(path))
    except OSError:
        return None


def _options(fill: Fill, root: Root, extent: Extent) -> dict[str, str]:
    """Gives what is remembered of a root, of which what is at ``extent`` was taken."""
    options = {"selection": fill.selection.identity}
    if not root.exact:
        options["bytes"] = str(extent.selected_bytes)
    elif not fill.selection.everything and not fill.partial:
        options["spans"] = extent.spans()
    return options


async def _complete(fill: Fill, cid: CID, root: Root, path: str) -> Comparison | None:
    """Gives what was looked at if ``path`` is the wanted content already; None if not and it is to be replaced.

    Raises TargetExists or TargetChanged if not and it must stay.
    """
    rows = await in_thread(lambda: [row for row in fill.store.state.roots(cid) if row.path == path])
    ours = next((row for row in rows if row.options.get("selection", "") == fill.selection.identity), None)
    looking = Comparison(
        fill.nodes, fill.pool, trust=fill.store.index, selection=fill.selection, links=fill.guard.links
    )  # fmt: skip
    async with aclosing(looking.differences(root.entry, path)) as differences:
        first = await anext(differences, None)
    if first is None:
        return looking
    problem = f"{path!r} exists and is not this content ({first.path or 'it'} {first.problem})"
    if fill.force:
        return None
    if ours is not None:
        raise TargetChanged(
            f"{problem}: it was complete, and was changed since", hint="choose another -o, or give --force to replace it"
        )
    if root.entry.kind == FILE and await in_thread(lambda: os.path.isdir(path)):
        raise TargetExists(problem, hint=inside_hint(path))
    raise TargetExists(problem, hint="choose another -o, or give --force to replace it")


async def plan_target(fill: Fill, cid: CID, root: Root, path: str) -> GetPlan:
    """Tells what a get would do, writing nothing but manifest nodes into the home."""
    files = size = have = 0
    batch: list[Leaf] = []

    async def look_up() -> int:
        leaves = list(batch)
        batch.clear()

        def here() -> int:
            found = fill.store.find([leaf.cid for leaf in leaves])
            return sum([leaf.size for leaf, held in zip(leaves, found, strict=True) if there(held)])

        return await in_thread(here)

    walk = walk_of(root.entry, predict=True)
    async for step in chosen(fill.nodes.steps(walk), walk, fill.selection):
        if isinstance(step, EnterDir | EnterFile | LinkStep):
            fill.guard.enter(step)
        if isinstance(step, LinkStep):
            fill.guard.takes_link(step)
        elif isinstance(step, LeaveDir):
            fill.guard.leave_dir()
        elif isinstance(step, EnterFile):
            files, size = files + 1, size + step.entry.size
        elif isinstance(step, Leaf):
            batch.append(step)
            if len(batch) == _LOOK_UP:
                have += await look_up()
    have += await look_up()
    nowhere = path == "null:"
    free = 0 if nowhere else free_bytes(os.path.dirname(path))
    sources = [await _reach(address, fill.fetcher.connect) for address in await fill.fetcher.sought()]
    return GetPlan(
        cid=str(cid), path=path, files=files, bytes=size, have_bytes=have, want_bytes=size - have, free_bytes=free,
        fits=nowhere or size <= free, sources=sources,
    )  # fmt: skip


async def _reach(address: str, connect: Connect) -> SourcePlan:
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(connect(address))
    except WherryError as problem:
        return SourcePlan(address=address, reachable=False, detail=problem.message)
    return SourcePlan(address=address, reachable=True, detail="answers")
