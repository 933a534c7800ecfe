"""What the control protocol takes, checked: JSON in, frozen values out (specs/0027 §6). Pure; any byte may come in.

Everything is bounded by the body's size before it is decoded; a key that is not known is refused, with the one that was
probably meant, since a setting that is passed over in silence is worse than an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast

from wherry.address import ADDRESS
from wherry.daemon.record import CLASSES, Asked, TrafficClass
from wherry.errors import UsageError
from wherry.limits import (
    ADDRESS_CHARS_MAX,
    CONTROL_BODY_BYTES_MAX,
    PATH_BYTES_MAX,
    PRIORITY_MAX,
    RATE_LIMIT_BYTES_MAX,
    TICKET_CHARS_MAX,
    TRANSFER_SOURCES_MAX,
)
from wherry.traffic.peers import peer_name
from wherry.transfer.target import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable

NOWHERE: Final = "null:"
_NUMBER: Final = re.compile(r"t?([1-9][0-9]{0,17})", re.ASCII)
_SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)  # a name under [peers]


def overlap(one: str, other: str) -> bool:
    """Whether two targets are one, or one lies within the other."""
    if NOWHERE in (one, other):
        return False
    first, second = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return first.startswith(second) or second.startswith(first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New settings of a transfer; None: as it is. A limit of 0 takes the limit away."""

    traffic_class: TrafficClass | None = None
    priority: int | None = None
    seed: bool | None = None
    limit_up: int | None = None
    limit_down: int | None = None

    def of(self, asked: Asked) -> Asked:
        """Gives ``asked`` with these settings."""
        return replace(
            asked,
            traffic_class=self.traffic_class or asked.traffic_class,
            priority=asked.priority if self.priority is None else self.priority,
            seed=asked.seed if self.seed is None else self.seed,
            limit_up=asked.limit_up if self.limit_up is None else self.limit_up or None,
            limit_down=asked.limit_down if self.limit_down is None else self.limit_down or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A new limit of ``node``, ``class:NAME``, ``transfer:ID``, ``peer`` (each) or ``peer:NAME``; 0 takes it away."""

    scope: str
    up: int | None = None  # bytes a second; None: as it is
    down: int | None = None


def parse_number(text: str) -> int:
    """Reads the name of a transfer: ``t12``, or ``12``. Raises UsageError."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is no name of a transfer", hint="`wherry transfers` lists them: t1, t2, ...")
    return int(match[1])


def decode_add(body: bytes, *, seed: bool = True) -> Asked:
    """Reads the request for a new transfer, one that does not say whether it is seeded as ``seed``. Raises UsageError."""
    found = _object(body, {"what", "output", "sources", "traffic_class", "priority", "seed", "limit_up", "limit_down"})
    what = _text(found, "what", TICKET_CHARS_MAX)
    output = _text(found, "output", PATH_BYTES_MAX)
    if output != NOWHERE and not output.startswith("/"):
        raise UsageError(f"output {output[:80]!r} is no absolute path", hint="the daemon has another current folder than you")
    check_path(output)
    sources = found.get("sources", [])
    if not isinstance(sources, list) or len(sources) > TRANSFER_SOURCES_MAX:
        raise UsageError(f"sources is no list of at most {TRANSFER_SOURCES_MAX} addresses")
    asked = Asked(what=what, output=output, sources=tuple(_source(one) for one in sources), seed=seed)
    return _change(found).of(asked)


def decode_change(body: bytes) -> Change:
    """Reads new settings of a transfer. Raises UsageError."""
    return _change(_object(body, {"traffic_class", "priority", "seed", "limit_up", "limit_down"}))


def decode_limit(body: bytes) -> LimitChange:
    """Reads a new limit. Raises UsageError."""
    found = _object(body, {"scope", "up", "down"})
    scope = parse_scope(_text(found, "scope", ADDRESS_CHARS_MAX + 5))
    return LimitChange(scope=scope, up=_rate(found, "up"), down=_rate(found, "down"))


def decode_nothing(body: bytes) -> None:
    """Reads the body of a request that takes none: an object without keys at the most. Raises UsageError."""
    _object(body, set())


def check_keys(found: Iterable[str], known: set[str]) -> None:
    """Raises UsageError for a key, of a body or of an address's query, that the request does not have."""
    for key in found:
        if key not in known:
            near = get_close_matches(key[:40], known, 1)
            listed = f"known: {', '.join(sorted(known))}" if known else "it takes none"
            hint = f"did you mean {near[0]!r}?" if near else listed
            raise UsageError(f"the request has an unknown key {key[:40]!r}", hint=hint)


def parse_scope(text: str) -> str:
    """Checks what a limit is for, and gives its usual form. Raises UsageError."""
    kind, colon, name = text.partition(":")
    if kind == "node" and not colon:
        return text
    if kind == "class" and name in CLASSES:
        return text
    if kind == "transfer" and name:
        return f"transfer:t{parse_number(name)}"
    if kind == "peer":
        return f"peer:{peer_name(name)}" if colon else text
    words = f"node, class:{'|'.join(CLASSES)}, transfer:ID, peer or peer:ID|HOST"
    raise UsageError(f"{text[:80]!r} is nothing that can be limited", hint=f"write {words}")


def _object(body: bytes, known: set[str]) -> dict[str, Any]:
    if len(body) > CONTROL_BODY_BYTES_MAX:
        raise UsageError(f"a request has at most {CONTROL_BODY_BYTES_MAX} bytes")
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"the request is no JSON: {type(problem).__name__}") from problem
    if not isinstance(found, dict):
        raise UsageError("the request is no JSON object")
    check_keys(found, known)
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _text(found: dict[str, Any], key: str, chars_max: int) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value or len(value) > chars_max or "\0" in value:
        raise UsageError(f"{key} is no text of 1 to {chars_max} characters")
    try:
        value.encode("utf-8", "surrogateescape")  # a path that is no UTF-8 comes so
    except UnicodeEncodeError:
        raise UsageError(f"{key} is no text: it has a lone surrogate") from None
    return value


def _source(value: object) -> str:
    if isinstance(value, str) and len(value) <= ADDRESS_CHARS_MAX and (_SOURCE.fullmatch(value) or ADDRESS.fullmatch(value)):
        return value
    raise UsageError("a source is neither an address nor a name under [peers]", hint="write http://HOST:PORT")


def _change(found: dict[str, Any]) -> Change:
    traffic_class = found.get("traffic_class")
    if traffic_class is not None and traffic_class not in CLASSES:
        raise UsageError(f"traffic_class is none of {', '.join(CLASSES)}")
    priority = found.get("priority")
    if priority is not None and not _is_whole(priority, -PRIORITY_MAX, PRIORITY_MAX):
        raise UsageError(f"priority is no whole number from {-PRIORITY_MAX} to {PRIORITY_MAX}")
    seed = found.get("seed")
    if seed is not None and not isinstance(seed, bool):
        raise UsageError("seed is neither true nor false")
    return Change(
        traffic_class=cast("TrafficClass | None", traffic_class), priority=priority, seed=seed,
        limit_up=_rate(found, "limit_up"), limit_down=_rate(found, "limit_down"),
    )  # fmt: skip


def _rate(found: dict[str, Any], key: str) -> int | None:
    value = found.get(key)
    if value is not None and not _is_whole(value, 0, RATE_LIMIT_BYTES_MAX):
        raise UsageError(f"{key} is no whole number of bytes a second, up to {RATE_LIMIT_BYTES_MAX}")
    return cast("int | None", value)


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
