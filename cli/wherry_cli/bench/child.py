"""Whole processes: started as a user would start them, timed from start to end, their memory watched (specs/0014 §2).

Both arms of a comparison go through the same code here, so what watching costs is the same for both.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from wherry.errors import WherryError
from wherry.units import KiB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STOP_S: Final = 15.0
_SAMPLE_S: Final = 0.02
_SAID_BYTES: Final = 64 * KiB
_RUSAGE_UNIT: Final = 1 if sys.platform == "darwin" else KiB


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended well."""

    seconds: float  # from before it was started until it was gone
    cpu_seconds: float  # its own and its children's that it waited for
    peak_bytes: int  # of its resident memory
    output: str

    def json(self) -> dict[str, Any]:
        """Reads the one JSON object on its standard output."""
        found: dict[str, Any] = json.loads(self.output)
        return found


class Child:
    """A process under way. Use it through `started`, from one thread."""

    def __init__(self, line: Sequence[str], environ: Mapping[str, str]) -> None:
        self._line = line
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by stop
        self._own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT
        self._peak = 0
        self._usage: resource.struct_rusage | None = None
        self._began = self._end = time.monotonic()
        try:
            self._process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._complaints, env=dict(environ)
            )
        except OSError as problem:
            self._complaints.close()
            raise WherryError(f"cannot start {line[0]!r}: {problem.strerror or problem}") from problem
        self.pid = self._process.pid
        self._gone = threading.Event()
        self._watch = threading.Thread(target=self._sample, name=f"memory of {self.pid}", daemon=True)
        self._watch.start()

    def first_line(self) -> str:
        """Waits for the first line that it prints. Raises WherryError if it ends instead."""
        line: str = self._stdout().readline().decode(errors="replace")
        if not line:
            self._reap()
            raise self.failure()
        return line

    def wait(self) -> Ended:
        """Waits for its end. Raises WherryError if that is not a good one."""
        output = self._stdout().read().decode(errors="replace")
        self._reap()
        usage, seconds = self._usage, self._end - self._began
        if self._process.returncode != 0 or usage is None:
            raise self.failure()
        peak, highest = self.peak_bytes(), usage.ru_maxrss * _RUSAGE_UNIT
        # The kernel's own figure catches the very end, but begins with the memory of the process that forked.
        if highest > self._own_peak or not peak:
            peak = max(peak, highest)
        return Ended(seconds, usage.ru_utime + usage.ru_stime, peak, output)

    def peak_bytes(self) -> int:
        """The peak of its resident memory so far; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return self._peak
        self._peak = max(self._peak, peak_in(status))
        return self._peak

    def gone(self) -> bool:
        """Tells whether it has ended."""
        self._reap(os.WNOHANG)
        return self._process.returncode is not None

    def said(self) -> str:
        """What it has written to standard error so far, as much as matters."""
        return os.pread(self._complaints.fileno(), _SAID_BYTES, 0).decode(errors="replace")  # seek would move its end too

    def failure(self) -> WherryError:
        """Makes the error from what it said last."""
        self._complaints.seek(0)  # it has ended, and does not share the offset any more
        return failure_of(self._line, self._process.returncode, self._complaints.read())

    def stop(self) -> None:
        """Ends it if it is still there: politely, then not."""
        if not self.gone():
            os.kill(self.pid, signal.SIGTERM)  # not collected yet, so the number is still its own
            end = time.monotonic() + STOP_S
            while not self.gone():
                if time.monotonic() > end:
                    os.kill(self.pid, signal.SIGKILL)
                    self._reap()
                time.sleep(0.01)
        self._gone.set()
        self._watch.join()
        self._stdout().close()
        self._complaints.close()

    def _stdout(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        return self._process.stdout

    def _reap(self, flags: int = 0) -> None:
        """Collects it with what it used, which subprocess would not tell; with WNOHANG, only if it has ended."""
        if self._process.returncode is not None:
            return
        pid, status, usage = os.wait4(self.pid, flags)
        if pid:
            self._end = time.monotonic()
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._usage = usage
            self._gone.set()

    def _sample(self) -> None:
        while not self._gone.wait(_SAMPLE_S):
            self.peak_bytes()


@contextmanager
def started(line: Sequence[str], environ: Mapping[str, str]) -> Iterator[Child]:
    """Runs ``line`` while the block lasts; it is ended when the block is left."""
    child = Child(line, environ)
    try:
        yield child
    finally:
        child.stop()


def finished(line: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """Runs ``line`` to its end. Raises WherryError if that is not a good one."""
    with started(line, environ) as child:
        return child.wait()


def peak_in(status: str) -> int:
    """Finds the peak of resident memory in the text of /proc/PID/status, in bytes; 0 if it is not there."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KiB
    return 0


def failure_of(line: Sequence[str], code: int | None, complaints: str) -> WherryError:
    """Makes the error of a process that failed, from its last words: wherry's are JSON, others' are text."""
    words = " ".join([os.path.basename(line[0]), *line[1:]])
    words = words if len(words) < 200 else words[:200] + "..."
    lines = complaints.strip().splitlines()
    try:
        said = json.loads(lines[-1])
        return WherryError(f"`{words}`: {said['message']}", hint=said["hint"])
    except (IndexError, ValueError, KeyError, TypeError):
        return WherryError(f"`{words}` ended with code {code}: {' '.join(lines[-3:]) or 'it said nothing'}")
