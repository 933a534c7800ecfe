"""What is wrong with a configuration: each problem with its place, and the error that carries them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Problem(NamedTuple):
    """One thing that is wrong."""

    source: str  # the file, or "environment"
    key: str  # dotted, as written in the file; the variable's name for the environment; "" for the whole file
    problem: str
    near: str | None = None  # what was probably meant
    expected: str | None = None  # what values are taken
    hint: str | None = None  # what to do

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.source, self.key, self.problem) if part)
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.near is not None:
            text += f' (did you mean "{self.near}"?)'
        if self.hint is not None:
            text += f" ({self.hint})"
        return text

    def to_json(self) -> dict[str, str | None]:
        """Gives the problem as JSON."""
        return {name: getattr(self, name) for name in ("source", "key", "problem", "near", "expected", "hint")}


class ConfigProblems(ConfigError):
    """The configuration cannot be used; ``problems`` lists everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        lines = [str(problem) for problem in problems]
        text = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems in the configuration:", *lines])
        super().__init__(text, hint=hint)
        self.problems = tuple(problems)


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """Gives the known word that ``word`` is probably a slip of."""
    import difflib  # only needed when something is wrong

    return next(iter(difflib.get_close_matches(word, list(known), 1)), None)
