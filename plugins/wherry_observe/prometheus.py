"""The ``prometheus`` observer: counts events, and shows the figures to whoever may see them (specs/0019 §3)."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from wherry.abc.observer import Observer
from wherry.errors import WherryError, local_error
from wherry_observe.endpoint import Endpoint, parse_listen
from wherry_observe.metrics import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.observe import Event
    from wherry_observe.options import PrometheusOptions

_EVERY_S: Final = 15.0  # Prometheus's own usual interval of scraping; node_exporter reads the file at each of its own
_say = logging.getLogger(__name__).warning


class PrometheusObserver(Observer, Collector):
    """Counts. `take` and `close` are for one thread at a time, `collect` for any."""

    def __init__(self, options: PrometheusOptions) -> None:
        """Begins to listen, or makes the text file. Raises ConfigError, LocalError and its kinds."""
        self._tally = Tally()
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)  # its own: a program around us may have another
        self._registry.register(self)
        self._textfile = None if options.textfile is None else os.fspath(options.textfile)
        self._written_at = time.monotonic()
        self._endpoint: Endpoint | None = None
        self._closed = False
        self._stale = False  # the text file cannot be written just now
        if self._textfile is None:
            host, port = parse_listen(options.listen, allow_public=options.allow_public)
            self._endpoint = Endpoint(host, port, self.text)
        else:
            self._write(self._textfile)

    @property
    def address(self) -> str | None:
        """Where the metrics are answered, as a URL; None with a text file."""
        return None if self._endpoint is None else self._endpoint.url

    def take(self, events: list[Event]) -> None:
        """See `Observer.take`."""
        with self._lock:
            for event in events:
                self._tally.take(event)
        if self._textfile is not None and time.monotonic() - self._written_at >= _EVERY_S:
            self._refresh(self._textfile)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Gives the figures in the library's form."""
        with self._lock:
            figures = list(self._tally.figures())
        for metric, values in figures:
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind == "counter":
                family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
            else:
                family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in sorted(values.items()):
                family.add_metric(labels, value)
            yield family

    def text(self) -> bytes:
        """Gives the figures in Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)

    def _refresh(self, path: str) -> None:
        """Writes the text file if it can be, and says when that changes: the figures go on, and the next file has them all."""
        before, self._stale = self._stale, False
        try:
            self._write(path)
        except WherryError as problem:
            self._stale = True
            if not before:
                _say("the metrics are stale: %s; it is tried again", problem.message)
        else:
            if before:
                _say("the metrics are written again")

    def _write(self, path: str) -> None:
        """Replaces the text file as a whole, so that nobody reads half of one."""
        self._written_at = time.monotonic()
        part = f"{path}.{os.getpid()}.part"  # node_exporter reads names that end in .prom alone
        try:
            with open(part, "wb") as file:
                file.write(self.text())
            os.replace(part, path)
        except OSError as problem:
            with suppress(OSError):
                os.unlink(part)
            raise local_error(problem, "write the metrics to", path) from problem

    def close(self) -> None:
        """See `Observer.close`."""
        if self._closed:
            return
        self._closed = True
        if self._endpoint is not None:
            self._endpoint.close()
        if self._textfile is not None:
            self._refresh(self._textfile)
