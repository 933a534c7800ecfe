"""What the engine tells of itself: frozen events, and the callables that take them (specs/0011 §2, specs/0019 §1).

Two kinds of listener hear them. Whoever calls a verb with ``observe=`` is told `Progress` and `Note`, on the loop's thread:
it must be cheap and must not block; what it raises ends the verb. The configured observers are told every event, on
threads of their own, and can end nothing.

But for the text of a `Note`, no event carries a CID, a path, an address or a peer's words: metrics are made of these fields,
and what strangers choose has no bound. New events and new fields may come; a listener passes over what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Phase = Literal["scan", "hash", "fetch", "verify", "finish"]
Refusal = Literal["forbidden", "denied", "busy", "malformed", "failed"]
TransferState = Literal["queued", "running", "paused", "seeding", "complete", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a verb is; at most about ten a second, and one last."""

    verb: str
    phase: Phase
    bytes_done: int = 0
    bytes_total: int | None = None  # None: not known yet
    files_done: int = 0  # that are whole
    files_total: int | None = None
    wire_bytes: int = 0  # payload received from, or sent to, other machines by this process
    sources_alive: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to know while the verb runs, such as a source that was lost."""

    level: Literal["info", "warning"]
    text: str  # may repeat what strangers said: escape it


@dataclass(frozen=True, slots=True)
class Began:
    """A verb of a session began; `Ended` follows, whatever comes of it."""

    verb: str  # "get", "serve": the name of the session's method


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A verb of a session ended."""

    verb: str
    seconds: float
    bytes: int = 0  # of content that it added, wrote, compared or gave; 0 where that means nothing
    error: str | None = None  # the class of what it raised, such as "NoSource", "CancelledError"; None: it was done

    @property
    def ok(self) -> bool:
        """Whether the verb did what it was asked."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Connected:
    """A source was reached."""

    scheme: str  # of its address: "http", "file"; a transport in use speaks it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A source gave a part of a batch, which is verified and kept. Several for one batch where it comes in parts."""

    scheme: str
    blocks: int
    bytes: int  # of all blocks that came, those that did not verify included
    wire_bytes: int  # the same as they travelled: less where they were coded
    seconds: float  # since the batch was asked for, or since the last part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A source gave blocks that are not what was asked for."""

    scheme: str
    error: str  # the class of what is wrong with the first: "IntegrityError", "LimitExceeded", ...
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFailed:
    """A source could not be reached, was lost, or failed a batch."""

    scheme: str
    error: str  # the class: "PeerUnreachable", "PeerTimeout", ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The node answered a batch."""

    scheme: str
    blocks: int  # that the answer held
    bytes: int
    wire_bytes: int  # the same as they travelled
    seconds: float  # from the request to the last byte given to the kernel
    ok: bool = True  # False: the reader went away, or was too slow


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused: "forbidden" for a web page's, "denied" without the token, "failed" by our own fault."""

    scheme: str
    reason: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsed:
    """Blocks were looked for in the cache, a batch of them."""

    hits: int
    misses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferChanged:
    """A transfer of the daemon became something else: it started, was paused, ended."""

    state: TransferState
    traffic_class: str  # "bulk", "normal", "high", "interactive"
    error: str | None = None  # the class of what it failed with, also if it is tried again


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events that this observer did not get, for it was slower than they came."""

    events: int


Shown: TypeAlias = Progress | Note  # what is meant for people
Told: TypeAlias = (
    Began | Ended | Connected | Fetched | Rejected | PeerFailed | Served | Refused | CacheUsed | TransferChanged | Dropped
)
Event: TypeAlias = Shown | Told
Observe: TypeAlias = Callable[[Shown], None]
Emit: TypeAlias = Callable[[Event], None]


def quiet(event: Event) -> None:
    """Observes nothing."""
    del event
