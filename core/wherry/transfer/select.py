"""Which paths of a dataset a get takes, and whether they may be written here."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from typing import TYPE_CHECKING, Literal

from wherry.dag.walk import EnterDir, EnterFile, LeaveDir, LinkStep
from wherry.errors import UnsafeName
from wherry.limits import SELECTION_SPANS_MAX
from wherry.names import Collisions, check_portable, escapes
from wherry.stretches import Stretches
from wherry.swarm.haves import coarsened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.dag.walk import Step
    from wherry.transfer.tree import AnyWalk

Names = Literal["portable", "posix"]
Links = Literal["refuse", "skip", "keep"]


class Selection:
    """Patterns as the shell has them, matched against the whole path, and, without "/", against each name in it."""

    __slots__ = ("_exclude", "_include")

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self._include and not self._exclude

    @property
    def identity(self) -> str:
        """Tells selections apart, in the journal."""
        if self.everything:
            return ""
        return hashlib.sha256(json.dumps([self._include, self._exclude]).encode()).hexdigest()[:16]

    def excludes(self, path: str) -> bool:
        """Whether the file, link or directory at ``path`` (and all below it) is left out by an exclude pattern."""
        return any(_matches(path, pattern) for pattern in self._exclude)

    def takes(self, path: str) -> bool:
        """Whether the file or link at ``path`` is taken."""
        return not self.excludes(path) and (not self._include or any(_matches(path, pattern) for pattern in self._include))


def _matches(path: str, pattern: str) -> bool:
    if "/" not in pattern:
        return any(fnmatch.fnmatchcase(name, pattern) for name in path.split("/"))
    pattern = pattern.strip("/")
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + "/*")


async def chosen(
    steps: AsyncIterator[Step], walk: AnyWalk, selection: Selection, passed: Callable[[int], None] = lambda _count: None
) -> AsyncIterator[Step]:
    """Gives those of the ``steps`` of ``walk`` that are selected. Of a selection, directories with nothing in them are not.

    ``passed`` is told how many bytes of the dataset lie in what is left out, as it is come by.
    """
    pending: list[EnterDir] = []
    async for step in steps:
        if isinstance(step, EnterDir):
            if step.path and selection.excludes(step.path):
                walk.skip()
                passed(step.entry.size)
                continue
            pending.append(step)
            if not selection.everything:
                continue
        elif isinstance(step, EnterFile | LinkStep):
            if step.path and not selection.takes(step.path):
                if isinstance(step, EnterFile):
                    walk.skip()
                    passed(step.entry.size)
                continue
        elif isinstance(step, LeaveDir) and pending:
            pending.pop()
            continue
        while pending:
            yield pending.pop(0)
        if not isinstance(step, EnterDir):
            yield step


class Extent:
    """Where what is selected lies in the dataset's stretch of bytes; counted as a walk comes by."""

    __slots__ = ("_passed_bytes", "_taken", "selected_bytes")

    def __init__(self) -> None:
        self.selected_bytes = 0
        self._passed_bytes = 0  # of the files beside them
        self._taken = Stretches()

    def take(self, size: int) -> int:
        """Comes to a file of ``size`` bytes that is selected; gives where it begins."""
        base = self._passed_bytes + self.selected_bytes
        self.selected_bytes += size
        self._taken.add(base, base + size)
        if len(self._taken) > 2 * SELECTION_SPANS_MAX:
            self._taken = coarsened(self._taken, SELECTION_SPANS_MAX)
        return base

    def leave_out(self, size: int) -> None:
        """Comes to ``size`` bytes that are not selected."""
        self._passed_bytes += size

    def spans(self) -> str:
        """Gives the stretches as the row of a root has them: of more than SELECTION_SPANS_MAX the longest (specs/0025 §2)."""
        return ",".join([f"{start}-{end}" for start, end in coarsened(self._taken, SELECTION_SPANS_MAX)])


class Guard:
    """Applies the rules for names and links to what a walk enters (specs/0003 §6)."""

    __slots__ = ("_collisions", "_portable", "links", "skipped_links")

    def __init__(self, names: Names, links: Links) -> None:
        self._portable = names == "portable"
        self.links = links
        self._collisions: list[Collisions] = []
        self.skipped_links = 0

    def enter(self, step: EnterDir | EnterFile | LinkStep) -> None:
        """Checks one name. Raises UnsafeName."""
        if not self._portable:
            return
        if step.path:
            check_portable(step.entry.name, step.path)
            self._collisions[-1].add(step.entry.name)
        if isinstance(step, EnterDir):
            self._collisions.append(Collisions(step.path))

    def leave_dir(self) -> None:
        """Checks the names of a directory that is left. Raises UnsafeName."""
        if self._portable:
            self._collisions.pop().finish()

    def takes_link(self, step: LinkStep) -> bool:
        """Whether to make a link; one that leads out of the target is refused, skipped or kept. Raises UnsafeName."""
        if self.links == "keep" or not escapes(step.path, step.entry.target):
            return True
        if self.links == "skip":
            self.skipped_links += 1
            return False
        raise UnsafeName(
            f"the link {step.path!r} points to {step.entry.target!r}, out of the target",
            hint="leave such links out with --links skip, or make them as they are with --links keep",
        )
