"""What `import`, `export` and the get of a torrent give back (specs/0032, specs/0036)."""

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
    malformed: bool = False  # it never can be complete: a block below is not as it must be
    unsupported: bool = False  # nor can this one: a block below is named by a hash that wherry does not keep blocks by


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
    skipped: list[str] = field(default_factory=list)  # blocks of a hash that none are kept by: the CID of each, and why
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
    large: int = 0  # blocks of more than 2 MiB, which wherry reads and hardly anybody else


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TorrentFetched(Result):
    """What the get of a torrent did. Sizes in bytes."""

    schema = "wherry/torrent-get/1"

    cid: str  # of what it brought, as `add` names it
    unixfs_cid: str | None
    unixfs_reason: str | None  # why there is none
    path: str
    files: int
    bytes: int
    fetched_bytes: int  # payload received by this process; 0: it was here
    btih: str | None  # infohash of version 1, in hexadecimal; None: it has none
    btmh: str | None  # of version 2
    seconds: float
    warnings: list[str] = field(default_factory=list)
