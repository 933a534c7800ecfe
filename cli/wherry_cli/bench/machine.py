"""What the figures were measured on: they mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
import resource
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.units import GiB, format_size
from wherry.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def machine_facts(folder: Path) -> dict[str, object]:
    """The facts, by name; None for a program that is not installed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "wherry": __version__,
        "processor": f"{_processor()}, {usable_cores()} of {os.cpu_count()} cores usable",
        "memory": f"{memory_bytes('MemTotal') / GiB:.1f} GiB, {memory_bytes('MemAvailable') / GiB:.1f} GiB available",
        "disk": f"{folder} on {_file_system(folder)}, {format_size(free_bytes(folder))} free",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()) + " (1, 5, 15 min, before the first run)",
        "open files": f"{soft} (hard limit {hard})",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "SQLite": sqlite3.sqlite_version,
        "nginx": version_of("nginx", "-v"),
        "curl": version_of("curl", "--version"),
        "rsync": version_of("rsync", "--version"),
    }


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def version_of(*line: str) -> str | None:
    """The version in the first line that a program prints; None if it is not there."""
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return first_version(done.stdout or done.stderr)


def first_version(text: str) -> str:
    """Finds a version number in what a program says about itself; or gives its first line."""
    match = re.search(r"\d+\.\d+[.\d]*", text)
    return match[0] if match else text.split("\n", 1)[0].strip()


def memory_bytes(name: str) -> int:
    """A line of /proc/meminfo in bytes; 0 where the system has none."""
    for line in _lines("/proc/meminfo"):
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0


def free_bytes(folder: Path) -> int:
    """What an ordinary user can still write there."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in _lines("/proc/mounts")]
    return file_system(str(folder.resolve()), [(words[1], words[2]) for words in mounts if len(words) > 2])


def file_system(path: str, mounts: Sequence[tuple[str, str]]) -> str:
    """The type of the last mount that ``path`` lies in, of (mount point, type)."""
    found, longest = "an unknown file system", -1
    for point, kind in mounts:
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
