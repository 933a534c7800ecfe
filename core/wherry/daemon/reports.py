"""What the daemon tells of itself: frozen values with a JSON form, the same in the protocol and with --json (specs/0027 §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wherry.redaction import masked
from wherry.results import NameReport, Result

if TYPE_CHECKING:
    from wherry.daemon.record import Record
    from wherry.transfer.why import Why


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport(Result):
    """Why a transfer failed the last time; the same words as an error of the command line."""

    schema = "wherry/failure/1"

    error: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport(Result):
    """One transfer of the daemon. Sizes in bytes, times in seconds since 1970."""

    schema = "wherry/transfer/1"

    id: str
    state: str
    what: str
    output: str
    traffic_class: str
    priority: int
    seed: bool
    limit_up: int | None  # bytes a second; None: no limit of its own
    limit_down: int | None
    sources: list[str] = field(default_factory=list)  # as they were named; those that were found are not among them
    added: float
    changed: float  # when the state became what it is
    bytes_done: int
    bytes_total: int | None
    fetched_bytes: int
    rate: float  # bytes a second lately
    seconds_left: float | None
    sources_alive: int
    failures: int  # in a row
    retry_at: float | None
    failure: FailureReport | None
    waits_for: str | None  # what its time goes to now, for people; None: it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferWhy(Result):
    """Where the time of a transfer went since the daemon began, or since it was added."""

    schema = "wherry/transfer-why/1"

    id: str
    state: str
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReport(Result):
    """A limit in force, in bytes a second; None: none."""

    schema = "wherry/limit/1"

    scope: str  # node, class:NAME, transfer (each), transfer:ID, peer (each), peer:NAME; timetable: the node's, by it, now
    up: int | None
    down: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus(Result):
    """What the daemon is and does."""

    schema = "wherry/status/1"

    pid: int
    since: float  # seconds since 1970
    version: str
    home: str
    listen: list[str]
    transfers: dict[str, int]  # by state
    down_rate: float  # bytes a second lately
    up_rate: float
    down_bytes: int  # since it began
    up_bytes: int
    peers: int  # of the swarm that are connected now, whoever dialled whom
    sources: int  # that transfers are connected to now; some of them are peers
    names: list[NameReport] = field(default_factory=list)  # that this node renews; what keeps it from that is a warning


def report(record: Record, *, rate: float = 0.0, sources_alive: int = 0, waits_for: str | None = None) -> TransferReport:
    """Puts a record and what is known of it just now together."""
    asked, failure = record.asked, record.failure
    left = None if record.bytes_total is None else max(0, record.bytes_total - record.bytes_done)
    running = record.state == "running"
    return TransferReport(
        id=record.id, state=record.state, what=asked.what, output=asked.output, traffic_class=asked.traffic_class,
        priority=asked.priority, seed=asked.seed, limit_up=asked.limit_up, limit_down=asked.limit_down,
        sources=[masked(source) for source in asked.sources],
        added=record.added, changed=record.changed, bytes_done=record.bytes_done,
        bytes_total=record.bytes_total, fetched_bytes=record.fetched_bytes, rate=rate if running else 0.0,
        seconds_left=left / rate if running and left is not None and rate > 0 else None,
        sources_alive=sources_alive if running else 0, failures=record.failures, retry_at=record.retry_at,
        failure=None if failure is None else FailureReport(
            error=failure.error, message=failure.message, hint=failure.hint, exit_code=failure.exit_code
        ),
        waits_for=waits_for,
    )  # fmt: skip
