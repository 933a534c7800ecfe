"""What can become of a transfer: its states and the changes between them, as one table (specs/0027 §4). Pure."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from wherry.errors import UsageError
from wherry.observe import TransferState

State: TypeAlias = TransferState
Action = Literal["start", "finish", "seed", "unseed", "pause", "resume", "cancel", "fail", "retry"]

STATES: Final[tuple[State, ...]] = get_args(State)
OVER: Final[frozenset[State]] = frozenset({"complete", "cancelled"})  # nothing is to be done any more; may be forgotten
UNFINISHED: Final[frozenset[State]] = frozenset({"queued", "running", "paused", "failed"})  # its target is its own

# What is not here is refused.
CHANGES: Final[dict[tuple[State, Action], State]] = {
    ("queued", "start"): "running",
    ("queued", "pause"): "paused",
    ("queued", "cancel"): "cancelled",
    ("running", "finish"): "complete",
    ("running", "retry"): "queued",  # it failed in a way that may pass, or the daemon ends
    ("running", "fail"): "failed",
    ("running", "pause"): "paused",
    ("running", "cancel"): "cancelled",
    ("paused", "resume"): "queued",
    ("paused", "cancel"): "cancelled",
    ("failed", "resume"): "queued",
    ("failed", "cancel"): "cancelled",
    ("complete", "seed"): "seeding",
    ("seeding", "unseed"): "complete",
    ("seeding", "cancel"): "complete",  # what is whole cannot be undone; it is no longer offered
}
ASKED: Final[tuple[Action, ...]] = ("pause", "resume", "cancel")  # that a user may ask for; `seed` and `unseed` by settings


def after(state: State, action: Action, who: str = "the transfer") -> State:
    """Gives the state that ``action`` leads to. Raises UsageError, which says what can be done instead."""
    found = CHANGES.get((state, action))
    if found is not None:
        return found
    can = [other for other in ASKED if (state, other) in CHANGES]
    if state in OVER:
        hint = "add it again: what is there already is not fetched twice"
    elif state == "seeding":
        hint = f"`wherry transfers cancel {who}` ends it; what was fetched stays"
    elif can:
        hint = f"it can be told to {' or '.join(can)}"
    else:
        hint = None
    raise UsageError(f"{who} is {state}, so it cannot {action}", hint=hint)
