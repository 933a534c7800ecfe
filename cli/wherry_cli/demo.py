"""The demonstration: two processes, two homes, HTTP on loopback, and a comparison that trusts neither of them.

The command line itself is what runs, in the way a user would run it; nothing here calls the engine.
"""

from __future__ import annotations

import json
import os
import random
import resource
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from wherry import errors
from wherry.errors import VerifyFailed, WherryError
from wherry.names import escapes
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LISTEN: Final = "http://127.0.0.1:0"
SHOWN_MAX: Final = 20  # differences that are named
SMALL_BYTES: Final = 16 * KiB
SMALL_COUNT_MAX: Final = 2000
STOP_S: Final = 15.0
SAMPLE_S: Final = 0.02
_PIECE: Final = MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What was seen. Seconds and rates are the engine's own; memory is the peak of each whole process."""

    cid: str
    files: int
    bytes: int
    links_left_out: int
    add_seconds: float
    get_seconds: float
    fetched_bytes: int
    share_peak_bytes: int | None
    get_peak_bytes: int | None

    def to_json(self) -> dict[str, object]:
        """The JSON form (schema ``wherry/demo/1``)."""
        return {
            "schema": "wherry/demo/1",
            "identical": True,  # a demo that finds a difference gives an error, and no result
            "cid": self.cid,
            "files": self.files,
            "bytes": self.bytes,
            "links_left_out": self.links_left_out,
            "fetched_bytes": self.fetched_bytes,
            "add_seconds": self.add_seconds,
            "add_bytes_per_second": rate(self.bytes, self.add_seconds),
            "get_seconds": self.get_seconds,
            "get_bytes_per_second": rate(self.bytes, self.get_seconds),
            "share_peak_rss_bytes": self.share_peak_bytes,
            "get_peak_rss_bytes": self.get_peak_bytes,
        }


def rate(count: int, seconds: float) -> float:
    """Bytes a second; 0 for nothing."""
    return round(count / seconds, 1) if seconds > 0 else 0.0


def make_tree(root: Path, size_bytes: int, seed: int = 1) -> None:
    """Makes a small dataset of about ``size_bytes``: one large file, a few middling ones, many small, and odd ones."""
    chance = random.Random(seed)  # noqa: S311 - the same bytes every time is what is wanted here
    (root / "model").mkdir(parents=True)
    _fill(root / "model/weights.bin", size_bytes // 2, chance)
    (root / "images").mkdir()
    for number in range(8):
        _fill(root / f"images/shard-{number:02}.tar", size_bytes // 32, chance)
    count = min(SMALL_COUNT_MAX, max(1, size_bytes // 4 // SMALL_BYTES))
    for number in range(count):
        folder = root / f"train/{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        _fill(folder / f"{number:05}.npy", chance.randrange(2 * SMALL_BYTES), chance)
    (root / "empty").mkdir()
    (root / "train/empty.txt").touch()
    (root / ".hidden").write_text("hidden files are part of the tree\n")
    (root / "Größe 水.txt").write_text("names are Unicode\n", encoding="utf-8")
    (root / "run.sh").write_text("#!/bin/sh\necho executable\n")
    (root / "run.sh").chmod(0o755)


def _fill(path: Path, size_bytes: int, chance: random.Random) -> None:
    with path.open("wb") as file:
        for start in range(0, size_bytes, _PIECE):
            file.write(chance.randbytes(min(_PIECE, size_bytes - start)))


def run_demo(source: Path, work: Path, *, config: Path | None, environ: Mapping[str, str]) -> DemoResult:
    """Shares ``source`` from one process and gets it in another, both with homes in ``work``; then compares.

    Raises VerifyFailed if anything differs, or the error that either process ended with.
    """
    if config is None:  # a demonstration is not to depend on what this user has configured
        config = work / "wherry.toml"
        config.touch()
    clean = {key: value for key, value in environ.items() if not key.startswith("WHERRY_")}
    left_out = links_leading_out(source)
    links = "skip" if left_out else "refuse"
    with _process(["share", "--listen", LISTEN, str(source)], work / "home-a", config, clean) as share:
        shared = share.result()
        target = work / "copy"
        asked = ["get", shared["cid"], "--from", shared["listen"][0], "-o", str(target), "--links", links, "--names", "posix"]
        with _process(asked, work / "home-b", config, clean) as get:
            got = get.result()
            get.wait()
        share_peak = share.peak()
    differences = list(compare(source, target, left_out))
    if differences:
        shown = "\n".join(f"  {each}" for each in differences[:SHOWN_MAX])
        raise VerifyFailed(f"the copy differs in {len(differences)} places:\n{shown}", hint="this must not happen: report it")
    return DemoResult(
        cid=shared["cid"],
        files=shared["files"],
        bytes=shared["bytes"],
        links_left_out=len(left_out),
        add_seconds=shared["seconds"],
        get_seconds=got["seconds"],
        fetched_bytes=got["fetched_bytes"],
        share_peak_bytes=share_peak,
        get_peak_bytes=get.peak(),
    )


def links_leading_out(source: Path) -> frozenset[str]:
    """Finds the symbolic links whose target is outside of ``source``, as paths below it: `get` does not write such links."""
    found: set[str] = set()
    for folder, directories, files in os.walk(source):
        for name in [*directories, *files]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, source)
            if os.path.islink(path) and escapes(relative, os.readlink(path)):
                found.add(relative)
    return frozenset(found)


def compare(left: Path, right: Path, left_out: frozenset[str] = frozenset(), path: str = "") -> Iterator[str]:
    """Names each difference between two files or trees: names, kinds, executable bits, targets of links, bytes."""
    first, second = left.lstat(), right.lstat() if os.path.lexists(right) else None
    where = path or "."
    if second is None:
        yield f"{where}: not there"
    elif stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        yield f"{where}: another kind of file"
    elif stat.S_ISLNK(first.st_mode):
        if os.readlink(left) != os.readlink(right):
            yield f"{where}: links to another place"
    elif stat.S_ISDIR(first.st_mode):
        names, others = set(os.listdir(left)), set(os.listdir(right))
        for name in sorted(names | others):
            below = f"{path}/{name}" if path else name
            if name not in names or (below in left_out and name in others):
                yield f"{below}: should not be there"
            elif below not in left_out:
                yield from compare(left / name, right / name, left_out, below)
    elif bool(first.st_mode & 0o100) != bool(second.st_mode & 0o100):
        yield f"{where}: executable in one place only"
    elif first.st_size != second.st_size or not _same_bytes(left, right):
        yield f"{where}: other bytes"


def _same_bytes(left: Path, right: Path) -> bool:
    with left.open("rb") as first, right.open("rb") as second:
        while True:
            piece = first.read(_PIECE)
            if piece != second.read(_PIECE):
                return False
            if not piece:
                return True


class _Process:
    """One run of the command line, whose memory is watched."""

    def __init__(self, process: subprocess.Popen[str], words: str, complaints: IO[str]) -> None:
        self._process = process
        self._words = words
        self._complaints = complaints
        self._peak: int | None = None
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._sample, name=f"memory of {words}", daemon=True)
        self._watch.start()

    def result(self) -> dict[str, Any]:
        """Waits for the one line on its standard output. Raises the error that it ended with instead."""
        if self._process.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise self._failure()
        found = json.loads(line)
        if not isinstance(found, dict):
            raise WherryError(f"`wherry {self._words}` printed {line!r}")
        return found

    def wait(self) -> None:
        """Waits for its end. Raises the error that it ended with."""
        if self._process.wait() != 0:
            raise self._failure()

    def peak(self) -> int | None:
        """Peak of its resident memory so far, in bytes; None where the system does not tell."""
        self._read_peak()
        if self._peak is None and self._process.returncode is not None and sys.platform != "linux":
            unit = 1 if sys.platform == "darwin" else KiB
            return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
        return self._peak

    def stop(self) -> None:
        """Ends it: politely, then not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ended.set()
        self._watch.join()

    def _sample(self) -> None:
        # VmHWM is the process's own peak; what wait4 tells begins with the memory of the process that forked.
        while not self._ended.wait(SAMPLE_S) and self._process.returncode is None:
            self._read_peak()

    def _read_peak(self) -> None:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self._peak = max(self._peak or 0, int(line.split()[1]) * KiB)

    def _failure(self) -> WherryError:
        """Makes the error that the process printed into ours."""
        self._complaints.seek(0)
        lines = self._complaints.read().splitlines()
        try:
            said = json.loads(lines[-1])
            kind = getattr(errors, str(said["error"]), WherryError)
            message, hint = f"`wherry {self._words}`: {said['message']}", said["hint"]
        except (IndexError, ValueError, KeyError, TypeError):
            code, last = self._process.returncode, " ".join(lines[-3:])
            return WherryError(f"`wherry {self._words}` ended with code {code}: {last}")
        return kind(message, hint=hint) if issubclass(kind, WherryError) else WherryError(message, hint=hint)


@contextmanager
def _process(words: list[str], home: Path, config: Path, environ: Mapping[str, str]) -> Iterator[_Process]:
    """Runs the command line in a process of its own; it is ended when the block is left."""
    line = [sys.executable, "-m", "wherry_cli", "--json", "-q", "--home", str(home), "--config", str(config), *words]
    with (home.parent / f"{home.name}.log").open("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=complaints, text=True, env=dict(environ))
        process = _Process(child, words[0], complaints)
        try:
            yield process
        finally:
            process.stop()
            if child.stdout is not None:
                child.stdout.close()
