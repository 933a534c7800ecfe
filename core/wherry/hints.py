"""What an error is told on its way up: what it is about, and what to do next, where its origin could not know that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.errors import WherryError


@contextmanager
def advising(kind: type[WherryError], hint: str, *, about: str = "") -> Iterator[None]:
    """Puts ``about`` before the message of an error of ``kind`` that leaves the block, and gives it a hint if it has none."""
    try:
        yield
    except kind as problem:
        if about:
            problem.message = f"{about}: {problem.message}"
            problem.args = (problem.message,)
        problem.hint = problem.hint or hint
        raise
