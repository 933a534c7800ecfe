"""The observers that come with wherry keep the contract of observers."""

from __future__ import annotations

import os
import tempfile

import pytest

from wherry.testing.observer import ObserverContract


class TestLogToAFile(ObserverContract):
    @pytest.fixture(autouse=True, params=["warning", "debug"])
    def place(self, tmp_path, request):
        self.file, self.level = tmp_path / "logs" / "wherry.log", request.param

    def make_observer(self):
        from wherry_observe.log import LogObserver
        from wherry_observe.options import LogOptions

        return LogObserver(LogOptions(file=self.file, level=self.level))

    def shown(self):
        return self.file.read_text()


class TestLogToAStream(ObserverContract):
    @pytest.fixture(autouse=True)
    def place(self, monkeypatch):
        with tempfile.TemporaryFile() as self.file:
            monkeypatch.setattr("wherry_observe.log._STDERR", self.file.fileno())
            yield

    def make_observer(self):
        from wherry_observe.log import LogObserver
        from wherry_observe.options import LogOptions

        return LogObserver(LogOptions(level="debug"))

    def shown(self):
        return os.pread(self.file.fileno(), 1 << 24, 0).decode()


class TestPrometheus(ObserverContract):
    @pytest.fixture(autouse=True, params=["listen", "textfile"])
    def place(self, tmp_path, request):
        pytest.importorskip("prometheus_client", reason="needs wherry[prometheus]")
        self.file = tmp_path / "wherry.prom" if request.param == "textfile" else None

    def make_observer(self):
        from wherry_observe.options import PrometheusOptions
        from wherry_observe.prometheus import PrometheusObserver

        self.observer = PrometheusObserver(PrometheusOptions(listen="127.0.0.1:0", textfile=self.file))
        return self.observer

    def shown(self):
        return self.observer.text().decode()

    def series(self):
        return sum(not line.startswith("#") for line in self.shown().splitlines())
