"""What the verbs about peers give back (specs/0011 §4, specs/0029)."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReport(Result):
    """What is remembered of one peer, and its score with all that it is made of, each from 0.0 to 1.0."""

    schema = "wherry/peer/1"

    key: str  # its peer id, if it proved one; else where it was dialled or came from
    proven: bool
    address: str
    first: float  # when it was met; seconds since 1970
    last: float
    score: float
    reliability: float
    goodput: float
    latency: float
    integrity: float
    useful: float  # jobs, as far as they count still
    failed: float
    wrong: float
    rejected: int  # blocks that did not verify, ever
    rate: float  # bytes a second of one job; 0.0: not known
    latency_s: float
    down_bytes: int
    up_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport(Result):
    """A ban, or leave to come in all the same."""

    schema = "wherry/rule/1"

    kind: str  # key, network, address
    what: str
    allow: bool
    left_s: float | None  # None: until it is taken back
    why: str
    by: str  # user, wherry


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedReport(Result):
    """One connection to a peer, as it is now. Rates are of everything that goes to or comes from the same id or host."""

    schema = "wherry/connected/1"

    key: str  # as in `PeerReport`, where it is remembered
    address: str  # where it can be dialled, as it says; "": nowhere
    ip: str
    incoming: bool  # it dialled us
    seconds: float  # since it is connected
    score: float | None  # None: nothing is known of it yet
    up_bytes: int  # blocks that it was given over this connection, and that it gave
    down_bytes: int
    up_rate: float  # bytes a second, lately
    down_rate: float
    limit_up: float | None  # bytes a second that hold for this peer; None: none
    limit_down: float | None
    choking: bool  # this node answers it nothing for now
    choked: bool  # it answers this node nothing for now
    interested: bool  # it lacks something that is here
    waiting: int  # requests of its that wait, and that are being answered
    serving: int
    datasets: int  # of which it says what it has
