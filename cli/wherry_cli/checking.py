"""Runs the suites of installed plugins, each in a process of its own, and reads what came of each check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Outcome = Literal["passed", "failed", "skipped"]
_OUTPUT_CHARS_MAX: Final = 2000  # of what the process printed, where it ended without a report


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one check."""

    check: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Gives it as JSON."""
        return {"check": self.check, "outcome": self.outcome, "reason": self.reason, "seconds": self.seconds}


def check(kind: str, name: str, environ: Mapping[str, str], *, configured: bool, timeout_s: float) -> list[Checked]:
    """Runs the suite of one provider. One that hangs is ended after ``timeout_s``; then the check that ran has failed."""
    with tempfile.TemporaryDirectory(prefix="wherry-check-") as folder:
        report = os.path.join(folder, "report")
        open(report, "w", encoding="utf-8").close()
        command = [sys.executable, "-m", "wherry.testing.run_installed", kind, name, report]
        command += ["--configured"] if configured else []
        ended = ""
        try:
            done = subprocess.run(
                command, env=dict(environ), cwd=folder, capture_output=True, text=True, errors="replace",
                timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            output = (done.stderr or done.stdout)[-_OUTPUT_CHARS_MAX:].strip()
            if done.returncode not in (0, 1):
                ended = f"the process ended with code {done.returncode}: {output}"
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {timeout_s:g} s"
        with open(report, encoding="utf-8") as file:
            return _read(file.read(), ended)


def _read(report: str, ended: str) -> list[Checked]:
    """Reads a report; ``ended`` says why it is not whole, "" if it is."""
    began = ""
    found: list[Checked] = []
    for line in report.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # cut in the middle, with the process
            continue
        if event.get("began"):
            began = event["check"]
        else:
            found.append(Checked(event["check"], event["outcome"], event["reason"], event["seconds"]))
    known = {one.check for one in found}
    if began and began not in known:
        found.append(Checked(began, "failed", ended or "the process ended in the middle of it"))
    elif ended and not any(one.outcome == "failed" for one in found):
        found.append(Checked("the suite", "failed", ended))
    elif not found:
        found.append(Checked("the suite", "failed", "nothing was checked"))
    return found
