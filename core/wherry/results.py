"""What the verbs give back: frozen values, each with its documented JSON form (specs/0011)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result with a JSON form: its fields, and the schema that they follow."""

    schema: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Gives plain values under the names of the fields, with ``schema`` first."""
        return {"schema": self.schema, **{item.name: _plain(getattr(self, item.name)) for item in fields(self)}}


def _plain(value: object) -> object:
    if isinstance(value, Result):
        return {name: part for name, part in value.to_json().items() if name != "schema"}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bool | int | float | str) or value is None:
        return value if type(value) in (bool, int, float, str) or value is None else str(value)
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult(Result):
    """What `add` did. Sizes in bytes."""

    schema = "wherry/add/1"

    cid: str
    files: int
    bytes: int
    new_blocks: int  # blocks that this node did not hold before
    reused_blocks: int
    seconds: float
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport(Result):
    """What one source gave."""

    schema = "wherry/source/1"

    address: str
    bytes: int
    blocks: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GetResult(Result):
    """What `get` did."""

    schema = "wherry/get/1"

    cid: str
    path: str
    bytes: int
    fetched_bytes: int  # payload received from peers by this process
    seconds: float
    sources: list[SourceReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan(Result):
    """Whether a source can be reached."""

    schema = "wherry/source-plan/1"

    address: str
    reachable: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetPlan(Result):
    """What `get` would do."""

    schema = "wherry/plan/1"

    cid: str
    path: str
    files: int
    bytes: int
    have_bytes: int  # on this machine already, as far as can be told without reading
    want_bytes: int
    free_bytes: int
    fits: bool
    sources: list[SourcePlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class LsEntry(Result):
    """One entry of a directory."""

    schema = "wherry/entry/1"

    name: str
    kind: str  # file, dir, symlink
    size: int
    cid: str | None
    executable: bool
    mtime: float | None  # seconds since 1970
    target: str | None
    entries: int | None  # of a directory: all below it


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Result):
    """What a CID stands for."""

    schema = "wherry/stat/1"

    cid: str
    kind: str
    bytes: int
    files: int | None  # None for a directory: counting them would mean to walk it all
    entries: int
    blocks: int | None
    chunk_bytes: int | None
    meta: dict[str, str]
    held: bool  # whether this node added or fetched it whole


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceReport(Result):
    """Where a path differs."""

    schema = "wherry/difference/1"

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult(Result):
    """What `verify` found."""

    schema = "wherry/verify/1"

    cid: str
    path: str
    ok: bool
    files: int
    bytes: int
    seconds: float
    differences: list[DifferenceReport]
    more_differences: int = 0  # beyond those listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Result):
    """One thing that `doctor` looked at."""

    schema = "wherry/check/1"

    name: str
    status: str  # ok, warn, fail
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult(Result):
    """What `repair` did."""

    schema = "wherry/repair/1"

    roots: int
    kept: int
    dropped: list[str]  # what is no longer as it was recorded
    files: int
    bytes: int
    seconds: float
    set_aside: list[str] = field(default_factory=list)  # damaged databases that were renamed, and begun anew
