"""What a plugin's ``build`` is told about the place it runs in (specs/0006 §2). Fields may be added, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Env:
    """The surroundings of a node. Plugins read these instead of the process's own globals, so that tests can give others."""

    home: Path  # wherry's home: a plugin keeps its state in a folder of its own name in here
    environ: Mapping[str, str] = field(repr=False)  # may hold secrets
    allow_public: bool = False  # whether a transport may listen on public addresses without TLS and without a token
