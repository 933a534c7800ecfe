"""One transfer as it is kept: what was asked for, and how far it is. Survives the daemon in state.db (specs/0027 §3)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from wherry.daemon.states import STATES, State
from wherry.errors import StoreError
from wherry.limits import PRIORITY_MAX

TrafficClass = Literal["bulk", "normal", "high", "interactive"]
CLASSES: Final[tuple[TrafficClass, ...]] = get_args(TrafficClass)  # the lowest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user wants. Bounds are checked where it is read: see `wherry.daemon.requests`."""

    what: str  # a CID or a ticket
    output: str  # an absolute path, or "null:"
    sources: tuple[str, ...] = ()
    traffic_class: TrafficClass = "normal"
    priority: int = 0  # within the class; the greater goes first
    seed: bool = True
    limit_up: int | None = None  # bytes a second
    limit_down: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a transfer failed the last time: an error in words, with its class."""

    error: str
    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A transfer. Times in seconds since 1970, sizes in bytes."""

    number: int
    asked: Asked
    state: State = "queued"
    added: float = 0.0
    changed: float = 0.0  # when its state became what it is
    failures: int = 0  # in a row, without a byte between
    retry_at: float | None = None  # not before; None: at once
    failure: Failure | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    fetched_bytes: int = 0  # payload received for it, by all runs

    @property
    def id(self) -> str:
        """Its name, for people and in the protocol."""
        return f"t{self.number}"

    def to_text(self) -> str:
        """Writes it for state.db; the number is the row's own."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "number"})

    @classmethod
    def of_text(cls, number: int, text: str) -> Record:
        """Reads what `to_text` wrote; passes over fields that a later version may have written. Raises StoreError."""
        try:
            found = _known(cls, json.loads(text))
            asked = _known(Asked, found["asked"])
            asked["sources"] = tuple(asked["sources"])
            failure = found.get("failure")
            found["failure"] = None if failure is None else Failure(**_known(Failure, failure))
            record = cls(**{**found, "number": number, "asked": Asked(**asked)})
            sound = record.state in STATES and record.asked.traffic_class in CLASSES
            sound = sound and abs(record.asked.priority) <= PRIORITY_MAX
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
            raise StoreError(f"transfer t{number} cannot be read: {type(problem).__name__}") from problem
        if not sound:
            raise StoreError(f"transfer t{number} cannot be read: it has a state or a class that there is not")
        return record


def _known(cls: type[Any], found: dict[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(cls)}
    return {key: value for key, value in found.items() if key in names}
