"""Compares files on this machine with a manifest: `verify`, and `get` on a target that is there already."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from contextlib import ExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.block import verify
from wherry.buffers import ROOM
from wherry.cid import DAG_PB
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep
from wherry.errors import IntegrityError, WherryError
from wherry.fileio import open_regular, read_exactly
from wherry.limits import BUFFER_BYTES, LEAF_BYTES_MAX
from wherry.manifest import DIR
from wherry.names import escapes
from wherry.offload import in_thread, settled
from wherry.store.index import Signature
from wherry.transfer.remake import Remaker
from wherry.transfer.scan import listing
from wherry.transfer.select import Extent, Selection, chosen
from wherry.transfer.tree import walk_of
from wherry.unixfs.wrap import is_wrapped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wherry.buffers import Buffer, BufferPool
    from wherry.manifest import Entry
    from wherry.store.index import Index
    from wherry.transfer.select import Links
    from wherry.transfer.tree import Nodes

_WINDOW: Final = 6  # hashing tasks under way
_FILES: Final = 64  # small files a task
_EXTRA_MAX: Final = 20  # names of a directory that its manifest does not list, said one by one; the others are counted


class Difference(NamedTuple):
    """Where a tree differs from its manifest."""

    path: str  # in the dataset; "" is the root
    problem: str


class _Stretch(NamedTuple):
    """Leaves of one file that one task hashes."""

    path: str
    place: str
    leaves: list[Leaf]


class Comparison:
    """One comparison. ``files`` and ``bytes`` count what was looked at; ``extent`` is where that lies, if nothing differs."""

    def __init__(
        self,
        nodes: Nodes,
        pool: BufferPool,
        *,
        trust: Index | None = None,
        selection: Selection | None = None,
        links: Links = "keep",
        complete: bool = False,
    ) -> None:
        """``trust``: files whose times and size are as this index recorded them are taken unread.

        ``complete``: all of the tree's nodes are here, so a block that is not is a leaf, and its file has changed.
        ``selection`` and ``links`` are what a get made the tree with: of a selection, only what it takes is compared; with
        ``links`` "skip", links that lead out of the tree must not be there.
        """
        self._nodes = nodes
        self._pool = pool
        self._trust = trust
        self._selection = selection or Selection()
        self._links = links
        self._complete = complete
        self.files = 0
        self.bytes = 0
        self.extent = Extent()
        self._found_bytes = 0  # of the file that was looked at last

    async def differences(self, root: Entry, path: str) -> AsyncGenerator[Difference, None]:
        """Gives each difference between the tree of ``root`` and what lies at ``path``. Raises what fetching nodes does."""
        running: deque[asyncio.Task[list[Difference]]] = deque()
        stretches: list[_Stretch] = []
        held = 0
        try:
            async with aclosing(self._walk(root, path)) as walk:
                async for found in walk:
                    if isinstance(found, Difference):
                        yield found
                        continue
                    stretches.append(found)
                    held += sum(leaf.size for leaf in found.leaves)
                    if held >= BUFFER_BYTES or len(stretches) >= _FILES:
                        running.append(asyncio.create_task(self._hashed(stretches)))
                        stretches, held = [], 0
                    while len(running) >= _WINDOW:
                        for difference in await running.popleft():
                            yield difference
            if stretches:
                running.append(asyncio.create_task(self._hashed(stretches)))
            while running:
                for difference in await running.popleft():
                    yield difference
        finally:
            await settled(running)

    async def _walk(self, root: Entry, path: str) -> AsyncGenerator[Difference | _Stretch, None]:
        walk = walk_of(root)
        present: list[int] = []  # entries of each open directory that are there
        inside: list[Entry] = []  # the open directories
        leaves: list[Leaf] = []
        where = ""
        lost: list[str] = []
        remaker = Remaker(path, self._nodes.index, lost.append if self._complete else None)
        async for step in chosen(self._nodes.steps(walk, remaker), walk, self._selection, self.extent.leave_out):
            while lost:
                if present:
                    present[-1] += 1
                yield Difference(lost.pop(), "differs (it is not the file that its directory lists)")
            if isinstance(step, Leaf):
                if step.guessed:  # of a raw block that is a whole file, only the bytes tell how long it is
                    step = step._replace(size=self._found_bytes)
                if leaves and step.offset + step.size - leaves[0].offset > BUFFER_BYTES:
                    yield _Stretch(where, _place(path, where), leaves)
                    leaves = []
                leaves.append(step)
                continue
            if isinstance(step, LeaveFile):
                if leaves:
                    yield _Stretch(where, _place(path, where), leaves)
                    leaves = []
                continue
            if isinstance(step, LeaveDir):
                listed, count = inside.pop(), present.pop()
                if self._selection.everything:
                    async for difference in self._extra(listed, step.path, _place(path, step.path), count):
                        yield difference
                elif (more := await in_thread(partial(_more_than, count, _place(path, step.path)))) > 0:
                    yield Difference(step.path, f"holds {more} more than was selected")
                continue
            if not isinstance(step, EnterDir | EnterFile | LinkStep):
                continue
            if isinstance(step, LinkStep) and self._links == "skip" and escapes(step.path, step.entry.target):
                continue
            problem = self._look(step, _place(path, step.path))
            if present and not (problem or "").startswith("is missing"):
                present[-1] += 1
            if problem is not None:
                yield Difference(step.path, problem)
                if isinstance(step, EnterDir) and not self._selection.everything:
                    present.append(0)  # the walk is in it already
                    inside.append(step.entry)
                elif not isinstance(step, LinkStep):
                    walk.skip()
            elif isinstance(step, EnterDir):
                present.append(0)
                inside.append(step.entry)
            elif isinstance(step, EnterFile):
                self.files += 1
                self.bytes += self._found_bytes
                self.extent.take(self._found_bytes)
                where = step.path
                if self._trusted(_place(path, step.path), step.entry):
                    walk.skip()

    def _look(self, step: EnterDir | EnterFile | LinkStep, place: str) -> str | None:
        entry = step.entry
        try:
            found = os.lstat(place)
        except OSError as problem:
            return f"is missing ({problem.strerror})"
        if isinstance(step, LinkStep):
            if not stat.S_ISLNK(found.st_mode):
                return "should be a symbolic link"
            target = os.readlink(place)
            return None if target == entry.target else f"points to {target!r}, not {entry.target!r}"
        if entry.kind == DIR:
            return None if stat.S_ISDIR(found.st_mode) else "should be a directory"
        if not stat.S_ISREG(found.st_mode):
            return "should be a regular file"
        self._found_bytes = found.st_size
        if isinstance(step, EnterFile) and step.guessed:
            if found.st_size > LEAF_BYTES_MAX:
                return f"has {found.st_size} bytes, more than one block"
        elif found.st_size != entry.size:
            return f"has {found.st_size} bytes, not {entry.size}"
        executable = entry.attrs.executable
        if step.path and executable is not None and bool(found.st_mode & 0o100) != executable:
            return "should be executable" if executable else "should not be executable"
        return None

    async def _extra(self, entry: Entry, path: str, place: str, present: int) -> AsyncGenerator[Difference, None]:
        """Names what a directory holds beyond its manifest: both lists are in one order, so memory holds neither."""
        try:
            count = await in_thread(partial(_count, place))
            extra = count - present
            if extra <= 0:
                return
            with ExitStack() as opened:
                names = await in_thread(partial(listing, place, opened))
                listed = self._names(entry)
                # Names of UnixFS come in an order of their own: eight bytes of each are kept.
                unsorted = {hash(name) async for name in listed} if entry.cid.codec == DAG_PB else None
                expected = await anext(listed, None)
                named = 0
                for item in names:
                    name = item[:-2]
                    while expected is not None and expected < name:
                        expected = await anext(listed, None)
                    if name != expected and (unsorted is None or hash(name) not in unsorted):
                        named += 1
                        yield Difference(_place(path, name) if path else name, "is not in the manifest")
                        if named == _EXTRA_MAX:
                            break
        except OSError as problem:
            yield Difference(path, f"cannot be listed ({problem.strerror})")
        except WherryError as problem:
            yield Difference(path, f"cannot be listed ({problem.message})")
        else:
            if extra > named:
                yield Difference(path, f"holds {extra - named} more that are not in the manifest")

    async def _names(self, directory: Entry) -> AsyncGenerator[str, None]:
        walk = walk_of(directory, names=True)
        async for step in self._nodes.steps(walk):
            if isinstance(step, EnterDir | EnterFile | LinkStep) and step.path:
                yield step.entry.name
                if not isinstance(step, LinkStep):
                    walk.skip()

    def _trusted(self, place: str, entry: Entry) -> bool:
        if self._trust is None:
            return False
        row = self._trust.files([place]).get(place)
        return row is not None and row.cid == entry.cid and row.signature == Signature.of(os.lstat(place))

    async def _hashed(self, stretches: list[_Stretch]) -> list[Difference]:
        """Waits for a buffer here, not in the thread: whoever holds the buffers needs those threads to give them back."""
        buffer = await self._pool.lend()
        try:
            return await in_thread(partial(self._hash, stretches, buffer))
        finally:
            buffer.release()

    def _hash(self, stretches: list[_Stretch], buffer: Buffer) -> list[Difference]:
        """Hashes stretches in a worker thread; one difference a file is enough."""
        found: dict[str, Difference] = {}
        for path, place, leaves in stretches:
            if path not in found:
                try:
                    fd, _ = open_regular(place)
                    try:
                        for leaf in leaves:
                            view = buffer.view[ROOM : ROOM + leaf.size]
                            read_exactly(fd, view, leaf.offset, place)
                            self._verify(leaf, view, place)
                    finally:
                        os.close(fd)
                except WherryError as problem:
                    found[path] = Difference(path, f"differs ({problem.message})")
        return list(found.values())

    def _verify(self, leaf: Leaf, view: memoryview, place: str) -> None:
        unlocked = self._nodes.unlocked
        if not leaf.key:
            verify(leaf.cid, view, origin=place)
        elif unlocked is None:
            if not is_wrapped(view, leaf.key, leaf.cid):
                raise IntegrityError(f"block {leaf.cid}: the bytes from {place} do not match their CID")
        else:  # plain bytes are the right ones if they seal to the block
            sealed = unlocked.sealing.seal_leaf(view, leaf.key, leaf.offset, final=leaf.final)
            verify(leaf.cid, sealed, origin=place)


def _more_than(count: int, place: str) -> int:
    try:
        return _count(place) - count
    except OSError:
        return 0  # said already where it was entered


def _place(root: str, path: str) -> str:
    return f"{root}/{path}" if path else root


def _count(place: str) -> int:
    with os.scandir(place) as entries:
        return sum(1 for _ in entries)
