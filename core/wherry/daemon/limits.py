"""The limits of a running daemon: what is in force, and who is told (specs/0027 §6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wherry.errors import UsageError

if TYPE_CHECKING:
    from wherry.daemon.record import Record
    from wherry.daemon.reports import LimitReport


class LimitsControl(Protocol):
    """What holds a node's traffic to limits (specs/0026). For the thread of the daemon's loop; never blocks."""

    def set(self, scope: str, *, up: int | None = None, down: int | None = None) -> None:
        """Sets the limits of ``scope`` (node, class:NAME, transfer:ID, peer:ADDRESS), in bytes a second, from now on.

        0 takes a limit away, None leaves it. Raises UsageError for a scope that cannot be limited.
        """

    def show(self) -> list[LimitReport]:
        """Lists the limits in force, the widest scope first."""

    def off(self) -> None:
        """Takes all limits away."""


def needed(control: LimitsControl | None) -> LimitsControl:
    """Gives the control. Raises UsageError for a node that has none."""
    if control is None:
        raise UsageError("this node runs without bandwidth control, so nothing of it can be limited")
    return control


def apply_own(control: LimitsControl, record: Record) -> None:
    """Sets the limits that a transfer has of its own, and takes away those that it had. Raises UsageError."""
    control.set(f"transfer:{record.id}", up=record.asked.limit_up or 0, down=record.asked.limit_down or 0)
