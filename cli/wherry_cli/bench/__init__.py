"""`wherry bench`: measures wherry on this machine, each figure beside a reference in the same run (specs/0014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wherry_cli.invocation import Invocation

__all__ = ("run",)


def run(
    invocation: Invocation,
    *,
    names: Sequence[str],
    size_bytes: int | None,
    directory: Path | None,
    show_list: bool,
    quick: bool = False,
    rounds: int | None = None,
) -> None:
    """Runs the benchmarks ``names``, all if there are none, and prints what was found.

    Raises UsageError for an unknown name, NoSpace before anything is written, and the error of any process that fails.
    """
    from wherry_cli.bench import bench  # a crowd's process needs this package, and nothing of that

    if show_list:
        bench.show_names(invocation)
    else:
        bench.run(invocation, list(names), size_bytes=size_bytes, directory=directory, quick=quick, rounds=rounds)
