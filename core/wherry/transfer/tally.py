"""What an `add` did so far, and what it noticed on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wherry.manifest import LINK
from wherry.names import escapes, portability
from wherry.transfer.scan import Found

if TYPE_CHECKING:
    from wherry.transfer.scan import Seen

_WARNINGS_MAX: Final = 20  # said one by one; the others are counted


@dataclass(slots=True)
class Tally:
    """What was done so far; read by whoever shows progress."""

    files: int = 0
    bytes: int = 0
    read_bytes: int = 0  # of them, those that had to be read
    bytes_total: int | None = None
    warnings: list[str] = field(default_factory=list)
    more_warnings: int = 0

    def warn(self, text: str) -> None:
        """Keeps a warning, within bounds."""
        if len(self.warnings) < _WARNINGS_MAX:
            self.warnings.append(text)
        else:
            self.more_warnings += 1

    def look_at(self, item: Seen, root: str) -> None:
        """Says what other machines may refuse, here where it can still be mended."""
        if not isinstance(item, Found) or not item.name:
            return
        problem = portability(item.name)
        if problem is not None:
            self.warn(f"{item.path!r}: the name {problem}; `get` refuses it unless --names posix is given")
        if item.kind == LINK and escapes(item.path[len(root.rstrip("/")) + 1 :], item.target):
            self.warn(f"{item.path!r} points out of the tree; `get` refuses it unless --links skip or keep is given")
