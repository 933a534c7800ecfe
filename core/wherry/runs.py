"""Which bytes of which files answer a batch of wants, and where in the lent buffer they are to lie (specs/0020 §3).

For transports whose sources hold plain files: they ask for stretches of files, and for as few as can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wherry.abc.transport import Laid
from wherry.block import EMPTY_LEAF
from wherry.buffers import ROOM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Want


@dataclass(slots=True)
class Run:
    """Neighbouring wants of one file: bytes ``offset`` to ``stop`` of it, received at ``at`` in the buffer."""

    path: str
    offset: int
    at: int
    stop: int
    wants: list[Laid] = field(default_factory=list)
    came: int = 0  # bytes that lie there, from its beginning on, also when it failed midway

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.offset

    def arrived(self, count: int) -> tuple[list[Laid], list[int]]:
        """Gives the wants that lie in the first ``count`` bytes, and those that do not."""
        end = self.at + count
        return [laid for laid in self.wants if laid.stop <= end], [laid.want for laid in self.wants if laid.stop > end]


@dataclass(slots=True)
class Plan:
    """What a batch comes to."""

    runs: list[Run] = field(default_factory=list)
    blocks: list[Laid] = field(default_factory=list)  # that need no bytes
    missing: list[int] = field(default_factory=list)


def planned(wants: Sequence[Want], capacity: int) -> Plan:
    """Puts neighbours together. A want whose place in a file is not known is missing; what does not fit is left out."""
    plan, at = Plan(), ROOM
    for number in sorted(range(len(wants)), key=lambda number: (wants[number].path, wants[number].offset)):
        want = wants[number]
        if want.size == 0 and want.cid == EMPTY_LEAF:
            plan.blocks.append(Laid(number, at, at))
        elif not want.size:
            plan.missing.append(number)  # a manifest node, or an empty block that is none
        elif at + want.size <= capacity:
            last = plan.runs[-1] if plan.runs else None
            if last is None or (last.path, last.stop) != (want.path, want.offset):
                last = Run(want.path, want.offset, at, want.offset)
                plan.runs.append(last)
            last.wants.append(Laid(number, at, at + want.size))
            last.stop += want.size
            at += want.size
    return plan
