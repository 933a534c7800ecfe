"""What the verbs give back: frozen values, each with its documented JSON form (specs/0011)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

UNIXFS_OFF: Final = "it was not asked for"  # a reason of `AddResult.unixfs_reason`


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result with a JSON form: its fields, and the schema that they follow."""

    schema: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Gives plain values under the names of the fields, with ``schema`` first."""
        return {"schema": self.schema, **{item.name: _plain(getattr(self, item.name)) for item in fields(self)}}


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Result | dict):
        pairs = value.items() if isinstance(value, dict) else [(item.name, getattr(value, item.name)) for item in fields(value)]
        return {str(key): _plain(item) for key, item in pairs}
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult(Result):
    """What `add` did. Sizes in bytes."""

    schema = "wherry/add/1"

    cid: str
    files: int
    bytes: int
    new_blocks: int  # blocks that this node did not hold before
    reused_blocks: int
    unique_bytes: int  # of leaves that this node did not hold before
    stored_bytes: int  # written into the home: manifest nodes, and sealed blocks that cannot be made again
    seconds: float
    unixfs_cid: str | None = None  # of the same files in UnixFS, for every IPFS tool; None: there is none
    unixfs_reason: str | None = None  # why there is none
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantResult(Result):
    """What `grant` did."""

    schema = "wherry/grant/1"

    cid: str  # of the new header: give this one to the recipients
    before: str  # the CID that was granted
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapResult(Result):
    """What `keys rotate` did to datasets."""

    schema = "wherry/rewrap/1"

    key: str
    datasets: list[list[str]]  # pairs: the CID before, and the one now


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport(Result):
    """What one source gave."""

    schema = "wherry/source/1"

    address: str
    bytes: int  # of blocks that were right
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
class HintReport(Result):
    """An address that a locator gave."""

    schema = "wherry/hint/1"

    locator: str
    address: str
    reach: str  # what it may lead to: named, lan, public
    fault: str | None  # why it would not be asked; None: it would
    peer: str | None = None  # the peer's id, as the locator was told, or as the address has it
    protocols: list[str] = field(default_factory=list)  # as the locator was told
    complete: bool | None = None  # whether it has everything, as the locator was told; None: nobody says
    answers: bool | None = None  # whether it was reached; None: not tried
    detail: str | None = None  # why it was not


@dataclass(frozen=True, slots=True, kw_only=True)
class FindResult(Result):
    """Who may have something, as far as locators know; the locators in order of preference."""

    schema = "wherry/find/1"

    cid: str
    hints: list[HintReport]


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

    cid: str | None  # None for a symbolic link, which has no block of its own
    kind: str
    bytes: int
    files: int | None  # None for a directory: counting them would mean to walk it all
    entries: int | None  # below it; None for a directory of UnixFS, which does not tell
    blocks: int | None
    chunk_bytes: int | None
    meta: dict[str, str]
    held: bool  # whether this node added the CID, or fetched all of it, as such; files that changed since are not noticed
    encrypted: str | None = None  # how, if it is: the scheme's name (specs/0016 §2)
    granted_by: str | None = None  # the sender of the grant that opened it; None: a key of our own did
    target: str | None = None  # of a symbolic link


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
    files: int  # whose content was compared: not those that are missing, or of another length or kind
    bytes: int  # of these
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
    kept: int  # roots that stay in the list: all but the dropped
    dropped: list[str]  # what is no longer as it was recorded
    files: int  # that were read and found as they were
    bytes: int  # that were read and hashed
    seconds: float
    missing: list[str] = field(default_factory=list)  # of the kept, what could not be read, each with the reason
    set_aside: list[str] = field(default_factory=list)  # damaged databases that were renamed, and begun anew


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualFiles(Result):
    """Files of the same bytes that lie on the disk more than once, as far as they are unchanged since they were read."""

    schema = "wherry/equal-files/1"

    cid: str
    cut: str  # how: see `CutStat`
    bytes: int  # of one of them
    copies: int
    paths: list[str]  # of the first of them


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBytes(Result):
    """Two files that are not equal and share leaves. They may share more: of each leaf, few places are kept."""

    schema = "wherry/shared-bytes/1"

    path: str  # where the leaves were read first
    other: str
    cut: str  # how the other one was cut: see `CutStat`
    bytes: int
    leaves: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CutStat(Result):
    """What was cut in one way."""

    schema = "wherry/cut-stat/1"

    cut: str  # the chunker's name, and behind a space what the leaves are sealed with; "": written by `get`
    files: int
    bytes: int  # of the files
    leaves: int  # different ones that no file cut in another way has
    unique_bytes: int  # of those


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStat(Result):
    """What the cache in use holds."""

    schema = "wherry/cache-stat/1"

    name: str  # of the instance, in the configuration
    plugin: str
    blocks: int
    bytes: int  # as kept, coded or not
    bytes_max: int
    hits: int  # of this session, as are the next two
    misses: int
    evictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheWarmed(Result):
    """What `cache_warm` did. Sizes are bytes of content."""

    schema = "wherry/cache-warm/1"

    cid: str
    bytes: int  # in the cache now
    blocks: int
    held_bytes: int  # of these, what was in the cache when its turn came
    fetched_bytes: int  # payload received from peers by this process
    complete: bool  # False: ended by ``max_bytes``
    seconds: float
    sources: list[SourceReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCleared(Result):
    """What `cache_clear` forgot."""

    schema = "wherry/cache-clear/1"

    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStat(Result):
    """What this home knows, and what it keeps itself. Sizes in bytes."""

    schema = "wherry/store-stat/1"

    files: int
    bytes: int  # of the files, each as often as it was cut in another way
    leaves: int
    unique_bytes: int  # of the different leaves
    saved: float  # the share of `bytes` that need not be kept or sent a second time
    nodes: int  # of manifests
    nodes_bytes: int
    cache_blocks: int
    cache_bytes: int
    stored_bytes: int  # that the home takes: its databases, and the cache wherever it lies
    cuts: list[CutStat] = field(default_factory=list)
    cache_problem: str | None = None  # why the cache cannot be looked into, and counts as empty


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport(Result):
    """What a key file says without its passphrase."""

    schema = "wherry/key/1"

    name: str
    kind: str  # domain, identity, recipient; unknown: the file cannot be read
    made: int | None  # seconds since 1970
    locked: bool  # by a passphrase
    recipient: str | None = None  # of an identity or a recipient: the text to give away
    fingerprint: str | None = None
    generations: list[str] = field(default_factory=list)  # of a domain: ids of its wrapping keys, the newest first
    problem: str | None = None  # why the file cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class NameReport(Result):
    """A name and where it leads."""

    schema = "wherry/name/1"

    name: str
    value: str  # a path: /ipfs/CID[/...] or /ipns/NAME
    sequence: int
    until: str  # the end of the record's validity, RFC 3339
    ttl: float  # seconds
    key: str  # the key here that publishes it; "" for a name of somebody else
    renews: str | None = None  # when a node of this home that runs renews the record, RFC 3339; None: it does not
    told: list[str] = field(default_factory=list)  # who took a record that was published, or gave it
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameEventReport(Result):
    """Something that happened to a name."""

    schema = "wherry/name-event/1"

    at: float  # seconds since 1970
    kind: str  # published, new, renewed, rollback, equivocation or frozen
    sequence: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowResult(Result):
    """What one look at a followed name did."""

    schema = "wherry/name-follow/1"

    name: str
    value: str
    sequence: int
    path: str | None  # where this version lies, whole and verified; None without a link
    link: str | None  # leads to ``path``
    changed: bool
    warnings: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)  # older versions that went
