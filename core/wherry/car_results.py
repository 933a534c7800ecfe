"""What `import` and `export` give back (specs/0032)."""

from __future__ import annotations

from dataclasses import dataclass, field

from wherry.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class RootImported(Result):
    """A root that a CAR names."""

    schema = "wherry/root-imported/1"

    cid: str
    complete: bool  # everything below it is here, so it is acknowledged
    missing: str | None = None  # what is missing, or why that is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult(Result):
    """What `import` did. Sizes in bytes."""

    schema = "wherry/import/1"

    roots: list[RootImported]
    blocks: int
    new_blocks: int  # that this node did not hold before
    bytes: int  # of the CAR
    stored_bytes: int  # written into the home
    seconds: float
    skipped: list[str] = field(default_factory=list)  # blocks whose hash cannot be checked here, and why
    more_skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult(Result):
    """What `export` wrote. Sizes in bytes."""

    schema = "wherry/export/1"

    cid: str
    path: str
    blocks: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TorrentResult(Result):
    """What `export --torrent` wrote. Sizes in bytes."""

    schema = "wherry/torrent/1"

    cid: str
    path: str
    files: int
    bytes: int  # of the files
    skipped: int  # symbolic links, which a torrent of ours does not have
    seconds: float
