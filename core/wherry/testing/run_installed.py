"""Runs the suites of an installed plugin with pytest, in a process of their own, and writes a line of JSON for each event.

    python -m wherry.testing.run_installed KIND NAME REPORT [--configured]

A process of its own, since a plugin that is checked may hang, exit or crash. REPORT is a file; its lines are
``{"check": NAME, "began": true}``, then ``{"check": NAME, "outcome": "passed", "reason": "", "seconds": 0.1}``. Nothing of
the user's own pytest configuration and plugins takes part.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final, TextIO

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

# What pytest collects: a module whose classes are made from the plugin's provider.
MODULE: Final = """\
from wherry.testing.installed import suites

globals().update(suites({kind!r}, {name!r}, configured={configured!r}))
"""


class Reporter:
    """Writes what happens to each check, at once: after a crash, the check that ran is known."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._done: set[str] = set()

    def _write(self, **line: object) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """Says that a check begins."""
        del location
        self._write(check=_short(nodeid), began=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Says how a check ended: its call, or what came before or behind it if that failed or skipped."""
        name = _short(report.nodeid)
        if name in self._done or (report.when != "call" and report.passed):
            return
        self._done.add(name)
        self._write(check=name, outcome=report.outcome, reason=_reason(report), seconds=round(report.duration, 3))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Says that the suites cannot be made."""
        if report.failed:
            self._write(check="collecting", outcome="failed", reason=_reason(report), seconds=0.0)


def _short(nodeid: str) -> str:
    return nodeid.partition("::")[2].replace("::", ".")


def _reason(report: Any) -> str:
    """Gives why it failed, or was skipped, in one line."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    words = crash.message if crash is not None else str(report.longrepr)
    lines = [line.removeprefix("E").strip() for line in words.splitlines() if line.strip()]
    return (lines[0] if crash is not None else lines[-1]) if lines else ""


def main(argv: Sequence[str]) -> int:
    """Runs everything; gives pytest's exit code."""
    kind, name, report, *flags = argv
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with tempfile.TemporaryDirectory(prefix="wherry-check-") as folder, open(report, "a", encoding="utf-8") as file:
        with open(os.path.join(folder, "test_installed.py"), "w", encoding="utf-8") as module:
            module.write(MODULE.format(kind=kind, name=name, configured="--configured" in flags))
        with open(os.path.join(folder, "pytest.ini"), "w", encoding="utf-8") as settings:
            settings.write("[pytest]\n")
        words = ["-q", "-p", "no:cacheprovider", "-p", "wherry.testing.plugin", "--import-mode=importlib"]
        place = ["--rootdir", folder, "-c", settings.name, module.name]
        return int(pytest.main([*words, *place], plugins=[Reporter(file)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
