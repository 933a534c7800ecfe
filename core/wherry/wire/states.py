"""What may follow what, as tables (specs/0004 §4). The diagrams there are drawn from these very tables; a test compares.

A connection has two directions, each with a state of its own, moved by what is sent in it; a request has one at either side.
What a table does not hold is not allowed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, TypeVar

from wherry.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S", bound=enum.StrEnum)


class Stage(enum.StrEnum):
    """The state of one direction of a connection."""

    NEW = "new"
    GREETED = "greeted"  # Hello has passed
    JOINING = "joining"  # Hello has passed, and this connection joins a session
    OPEN = "open"
    BULK = "bulk"  # open, and for blocks alone
    ENDED = "ended"


class Request(enum.StrEnum):
    """The state of one request, as each side sees it."""

    ASKED = "asked"
    CANCELLED = "cancelled"
    DONE = "done"


JOIN: Final = "hello that joins"

_EVERYWHERE: Final = {Kind.ERROR.name.lower(): Stage.ENDED, Kind.BYE.name.lower(): Stage.ENDED}
_BULK: Final = ("want", "blocks", "cancel", "ping", "pong")
_OPEN: Final = (*_BULK, "follow", "unfollow", "have", "choke", "unchoke", "peers", "resolve", "record")

FLOW: Final[dict[tuple[Stage, str], Stage]] = {
    (Stage.NEW, "hello"): Stage.GREETED,
    (Stage.NEW, JOIN): Stage.JOINING,
    (Stage.GREETED, "proof"): Stage.OPEN,
    (Stage.JOINING, "proof"): Stage.BULK,
    **{(Stage.OPEN, event): Stage.OPEN for event in _OPEN},
    **{(Stage.BULK, event): Stage.BULK for event in _BULK},
    **{(state, event): end for state in Stage if state is not Stage.ENDED for event, end in _EVERYWHERE.items()},
}

REQUEST: Final[dict[tuple[Request, str], Request]] = {
    (Request.ASKED, "blocks"): Request.ASKED,
    (Request.ASKED, "final blocks"): Request.DONE,
    (Request.ASKED, "cancel"): Request.CANCELLED,
    (Request.CANCELLED, "blocks"): Request.CANCELLED,  # they were on their way
    (Request.CANCELLED, "final blocks"): Request.DONE,
    (Request.DONE, "cancel"): Request.DONE,  # it crossed the last blocks
}


def diagram(table: Mapping[tuple[S, str], S], first: S) -> str:
    """Draws a table as a state diagram of Mermaid: an arrow for each two states, with all that leads along it."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (begin, event), end in table.items():
        arrows.setdefault((begin.value, end.value), []).append(event)
    lines = [f"    {one} --> {two}: {', '.join(events)}" for (one, two), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {first.value}", *lines, ""])


def listing(table: Mapping[tuple[S, str], S]) -> str:
    """Writes a table as a table of Markdown: a row a state, and what leads from it where."""
    rows: dict[str, dict[str, list[str]]] = {}
    for (begin, event), end in table.items():
        rows.setdefault(begin.value, {}).setdefault(end.value, []).append(event)
    lines = ["| state | what passes | next |", "|---|---|---|"]
    for state, ends in rows.items():
        lines += [f"| {state} | {', '.join(events)} | {end} |" for end, events in ends.items()]
    return "\n".join([*lines, ""])
