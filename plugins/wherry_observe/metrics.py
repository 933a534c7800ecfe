"""The metrics: one table of what is exported, and the counting behind it (specs/0019 §3).

Labels are made of few words: names of verbs, schemes, classes of errors. Each kind of word has a bound, and what comes beyond
it, or does not look like such a word, counts as "other"; so there are never more than SERIES_MAX series, whatever happens.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from wherry.observe import (
    Began,
    CacheUsed,
    Connected,
    Dropped,
    Ended,
    Fetched,
    Note,
    PeerFailed,
    Progress,
    Refused,
    Rejected,
    Served,
)
from wherry.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.observe import Event

SERIES_MAX: Final = 200
OTHER: Final = "other"
_WORDS_MAX: Final = {"verb": 16, "error": 20, "scheme": 6, "reason": 6, "level": 3, "outcome": 3, "version": 2}  # with OTHER
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}", re.ASCII)  # versions begin with a digit


class Metric(NamedTuple):
    """One metric, as it is exported and as specs/0019 lists it."""

    name: str  # as scraped; counters end in _total
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    help: str


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("wherry_build_info", "gauge", ("version",), "1; the label tells which wherry this is."),
        Metric("wherry_verbs_running", "gauge", ("verb",), "Verbs that are under way."),
        Metric("wherry_verbs_total", "counter", ("verb", "outcome"), 'Verbs that ended; outcome is "ok" or "error".'),
        Metric("wherry_verb_seconds_total", "counter", ("verb",), "Seconds that verbs took which have ended."),
        Metric("wherry_verb_bytes_total", "counter", ("verb",), "Bytes of content that verbs handled which have ended."),
        Metric("wherry_last_verb_end_timestamp_seconds", "gauge", (), "When a verb ended last, in seconds since 1970."),
        Metric("wherry_errors_total", "counter", ("error",), "Verbs that failed, by the class of error."),
        Metric("wherry_fetched_blocks_total", "counter", ("scheme",), "Blocks that sources gave and that verified."),
        Metric("wherry_fetched_bytes_total", "counter", ("scheme",), "Bytes of blocks that sources gave."),
        Metric("wherry_fetched_wire_bytes_total", "counter", ("scheme",), "Bytes of the same as they travelled."),
        Metric("wherry_fetch_seconds_total", "counter", ("scheme",), "Seconds that batches took, all sources added up."),
        Metric("wherry_rejected_blocks_total", "counter", ("scheme",), "Blocks that were not what was asked for."),
        Metric("wherry_peer_connections_total", "counter", ("scheme",), "Sources that were reached."),
        Metric("wherry_peer_failures_total", "counter", ("scheme",), "Times that a source was lost or failed a batch."),
        Metric("wherry_sources_alive", "gauge", (), "Sources of the get under way that are connected."),
        Metric("wherry_served_blocks_total", "counter", ("scheme",), "Blocks that this node gave."),
        Metric("wherry_served_bytes_total", "counter", ("scheme",), "Bytes of blocks that this node gave."),
        Metric("wherry_served_wire_bytes_total", "counter", ("scheme",), "Bytes of the same as they travelled."),
        Metric("wherry_serve_seconds_total", "counter", ("scheme",), "Seconds that answers took, all requests added up."),
        Metric("wherry_answers_total", "counter", ("scheme", "outcome"), 'Answers; "error" is one that its reader left.'),
        Metric("wherry_refused_requests_total", "counter", ("reason",), "Requests that this node refused."),
        Metric("wherry_cache_hits_total", "counter", (), "Blocks that were looked for in the cache and found."),
        Metric("wherry_cache_misses_total", "counter", (), "Blocks that were looked for in the cache and not found."),
        Metric("wherry_notes_total", "counter", ("level",), "Things said to people while verbs ran."),
        Metric("wherry_observer_dropped_events_total", "counter", (), "Events missing here, for they came too fast."),
    )
}


class Tally:
    """The figures. For one thread at a time."""

    def __init__(self) -> None:
        self._words: dict[str, set[str]] = {label: {OTHER} for label in _WORDS_MAX}
        self._figures: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in METRICS}
        for metric in METRICS.values():
            if not metric.labels:
                self._add(metric.name, 0.0)  # a rate can be taken from the first scrape on
        self._set("wherry_build_info", 1.0, __version__.partition("+")[0])

    def take(self, event: Event) -> None:
        """Counts one event; passes over one that it does not know."""
        match event:
            case Began():
                self._add("wherry_verbs_running", 1, event.verb)
            case Ended():
                self._ended(event)
            case Fetched():
                self._add("wherry_fetched_blocks_total", event.blocks, event.scheme)
                self._add("wherry_fetched_bytes_total", event.bytes, event.scheme)
                self._add("wherry_fetched_wire_bytes_total", event.wire_bytes, event.scheme)
                self._add("wherry_fetch_seconds_total", event.seconds, event.scheme)
            case Served():
                self._served(event)
            case Rejected():
                self._add("wherry_rejected_blocks_total", event.blocks, event.scheme)
            case Connected():
                self._add("wherry_peer_connections_total", 1, event.scheme)
            case PeerFailed():
                self._add("wherry_peer_failures_total", 1, event.scheme)
            case Refused():
                self._add("wherry_refused_requests_total", 1, event.reason)
            case CacheUsed():
                self._add("wherry_cache_hits_total", event.hits)
                self._add("wherry_cache_misses_total", event.misses)
            case Progress() if event.verb == "get":
                self._set("wherry_sources_alive", event.sources_alive)
            case Note():
                self._add("wherry_notes_total", 1, event.level)
            case Dropped():
                self._add("wherry_observer_dropped_events_total", event.events)
            case _:  # of a newer wherry
                pass

    def _ended(self, event: Ended) -> None:
        self._add("wherry_verbs_running", -1, event.verb)
        self._add("wherry_verbs_total", 1, event.verb, "ok" if event.ok else "error")
        self._add("wherry_verb_seconds_total", event.seconds, event.verb)
        self._add("wherry_verb_bytes_total", event.bytes, event.verb)
        self._set("wherry_last_verb_end_timestamp_seconds", time.time())
        if event.error is not None:
            self._add("wherry_errors_total", 1, event.error)
        if event.verb == "get":
            self._set("wherry_sources_alive", 0)

    def _served(self, event: Served) -> None:
        self._add("wherry_served_blocks_total", event.blocks, event.scheme)
        self._add("wherry_served_bytes_total", event.bytes, event.scheme)
        self._add("wherry_served_wire_bytes_total", event.wire_bytes, event.scheme)
        self._add("wherry_serve_seconds_total", event.seconds, event.scheme)
        self._add("wherry_answers_total", 1, event.scheme, "ok" if event.ok else "error")

    def figures(self) -> Iterator[tuple[Metric, dict[tuple[str, ...], float]]]:
        """Gives every metric that has figures, with a copy of them by their labels' values."""
        for name, metric in METRICS.items():
            yield metric, dict(self._figures[name])

    def _add(self, name: str, amount: float, *words: str) -> None:
        if amount < 0 and METRICS[name].kind == "counter":  # a counter that falls is taken for a restart
            return
        key, figures = self._key(name, words), self._figures[name]
        figures[key] = figures.get(key, 0.0) + amount

    def _set(self, name: str, value: float, *words: str) -> None:
        self._figures[name][self._key(name, words)] = value

    def _key(self, name: str, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._bounded(label, word) for label, word in zip(METRICS[name].labels, words, strict=True))

    def _bounded(self, label: str, word: str) -> str:
        known = self._words[label]
        if word in known:
            return word
        if len(known) >= _WORDS_MAX[label] or not _WORD.fullmatch(word):
            return OTHER
        known.add(word)
        return word
