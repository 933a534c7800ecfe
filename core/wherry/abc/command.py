"""The contract of a command: a verb that a plugin adds to the command line (specs/0006 §12).

Written for implementers. ``wherry acme.sync ARGS`` runs the command named ``acme.sync``, with everything behind its name as
plain words: parse them with whatever you like. The engine is reached through `wherry.Session`, as from any program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What stood before the command's name: give it on to ``Session.open(home=..., config=..., profile=...)``."""

    home: Path  # of wherry; it need not exist yet
    config: Path | None = None  # a configuration file named by the user
    profile: str | None = None
    json: bool = False  # the user wants one JSON object, with a "schema" key, on standard output
    quiet: bool = False
    verbose: bool = False


class Command(ABC):
    """One verb. Runs on the main thread, with no event loop running."""

    @abstractmethod
    def run(self, arguments: Sequence[str], invocation: Invocation) -> int:
        """Does it; gives the exit code, 0 for success (README, "Exit codes").

        Results go to standard output, all else to standard error. ``--help`` among the arguments is the command's to
        answer. Raises WherryError, which is shown and turned into its exit code; KeyboardInterrupt is let through.
        """
